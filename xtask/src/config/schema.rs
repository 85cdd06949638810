//! The reference of `gateway.toml` as a JSON Schema (draft 2020-12).

use gateway_config::reference::{FILE, Key, Kind, Need, Table};
use serde_json::{Map, Value, json};

/// The schema of the whole file.
pub(super) fn schema() -> Value {
    let mut schema = table(&FILE);
    if let Some(object) = schema.as_object_mut() {
        let draft = "https://json-schema.org/draft/2020-12/schema";
        object.insert("$schema".into(), json!(draft));
        object.insert("title".into(), json!("gateway.toml of Handoff"));
    }
    schema
}

fn table(table: &Table) -> Value {
    let keys = table.keys.iter();
    let properties: Map<String, Value> = keys
        .clone()
        .map(|key| (key.name.to_string(), property(key)))
        .collect();
    let required: Vec<&str> = keys
        .filter(|key| matches!(key.need, Need::Required))
        .map(|key| key.name)
        .collect();
    json!({
        "type": "object",
        "description": table.about,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let mut property = kind(key.kind);
    let Some(object) = property.as_object_mut() else {
        return property;
    };
    let mut description = key.meaning.to_string();
    if let Need::Depends(what) = key.need {
        description = format!("{description} Without it: {what}.");
    }
    object.insert("description".into(), json!(description));
    // TOML's texts, numbers, flags and lists of them are JSON's.
    if let Need::Default(default) = key.need
        && let Ok(value) = serde_json::from_str::<Value>(&default())
    {
        object.insert("default".into(), value);
    }
    property
}

fn kind(kind: Kind) -> Value {
    let one_or_more = |one: Value, most: usize, once: bool| {
        let list = json!({
            "type": "array",
            "items": one,
            "minItems": 1,
            "maxItems": most,
            "uniqueItems": once,
        });
        json!({ "anyOf": [one, list] })
    };
    let number =
        |least: u32, most: u32| json!({ "type": "integer", "minimum": least, "maximum": most });
    match kind {
        Kind::Text { most } => json!({ "type": "string", "minLength": 1, "maxLength": most }),
        Kind::File => json!({ "type": "string", "minLength": 1 }),
        Kind::Files { count } => {
            one_or_more(json!({ "type": "string", "minLength": 1 }), count, false)
        }
        Kind::Number { least, most, .. } => number(least, most),
        Kind::Numbers { least, most, .. } => {
            json!({ "type": "array", "items": number(least, most), "uniqueItems": true })
        }
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Choice(names) => json!({ "enum": names() }),
        Kind::Choices(names) => one_or_more(json!({ "enum": names() }), names().len(), true),
        Kind::Texts { most, count } => one_or_more(
            json!({ "type": "string", "minLength": 1, "maxLength": most }),
            count,
            false,
        ),
        Kind::Table(inner) => table(inner),
        Kind::Tables {
            table: inner,
            count,
        } => json!({ "type": "array", "items": table(inner), "minItems": 1, "maxItems": count }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// As much of JSON Schema as is used above; why `value` is none of `schema`'s.
    fn refused(schema: &Value, value: &toml::Value) -> Option<String> {
        let shown = || Some(format!("{value} is not {schema}"));
        if let Some(any) = schema["anyOf"].as_array() {
            let fits = any.iter().any(|schema| refused(schema, value).is_none());
            return if fits { None } else { shown() };
        }
        if let Some(names) = schema["enum"].as_array() {
            let found = names.iter().any(|name| name.as_str() == value.as_str());
            return if found { None } else { shown() };
        }
        match (schema["type"].as_str().unwrap(), value) {
            ("object", toml::Value::Table(table)) => {
                let missing = schema["required"].as_array().unwrap().iter();
                let mut missing =
                    missing.filter(|name| !table.contains_key(name.as_str().unwrap()));
                if let Some(name) = missing.next() {
                    return Some(format!("{name} is missing"));
                }
                table
                    .iter()
                    .find_map(|(name, value)| match schema["properties"].get(name) {
                        Some(schema) => refused(schema, value),
                        None => Some(format!("{name} is unknown")),
                    })
            }
            ("array", toml::Value::Array(items)) => {
                let most = schema["maxItems"].as_u64();
                if most.is_some_and(|most| items.len() as u64 > most) {
                    return shown();
                }
                items
                    .iter()
                    .find_map(|item| refused(&schema["items"], item))
            }
            ("integer", toml::Value::Integer(number)) => {
                let range =
                    schema["minimum"].as_i64().unwrap()..=schema["maximum"].as_i64().unwrap();
                if range.contains(number) {
                    None
                } else {
                    shown()
                }
            }
            ("string", toml::Value::String(text)) => {
                let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
                let fits = (1..=most).contains(&(text.len() as u64));
                if fits { None } else { shown() }
            }
            ("boolean", toml::Value::Boolean(_)) => None,
            _ => shown(),
        }
    }

    fn read(text: &str) -> toml::Value {
        toml::Value::Table(text.parse().unwrap())
    }

    #[test]
    fn good_files_are_of_the_schema() {
        let mut files = 0;
        for file in fs::read_dir("../gateway-config/tests/good").unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|end| end == "toml") {
                let text = fs::read_to_string(&path).unwrap();
                assert_eq!(refused(&schema(), &read(&text)), None, "{}", path.display());
                files += 1;
            }
        }
        assert!(files > 5, "{files}");
        assert_eq!(refused(&schema(), &read(gateway_config::EXAMPLE)), None);
    }

    #[test]
    fn what_an_editor_can_see_is_refused() {
        let bad = [
            "word-unknown-in-tls",
            "listener-port-large",
            "mtu-small",
            "mtu-text",
            "tls-suite-unknown",
            "keyring-label-long",
            "application-without-listen",
            "tls-client-auth-unknown",
        ];
        for name in bad {
            let file = format!("../gateway-config/tests/bad/{name}.toml");
            let text = fs::read_to_string(file).unwrap();
            assert_ne!(refused(&schema(), &read(&text)), None, "{name}");
        }
    }

    #[test]
    fn a_default_is_of_its_key_s_kind() {
        for key in FILE.every().into_iter().flat_map(|table| table.keys) {
            if let Need::Default(default) = key.need {
                let text = format!("x = {}", default());
                assert_eq!(refused(&kind(key.kind), &read(&text)["x"]), None, "{text}");
                assert!(property(key).get("default").is_some(), "{text}");
            }
        }
    }
}
