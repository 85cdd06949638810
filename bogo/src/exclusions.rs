//! What is not run, and why: `bogo/config.json`.

use anyhow::{Context, Result};
use serde_json::Value;

/// A test that is not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Excluded {
    /// The class of its reason.
    pub(crate) class: String,
    /// What of it.
    pub(crate) what: String,
}

impl Excluded {
    /// It needs what is still to be built.
    pub(crate) fn planned(what: &str) -> Self {
        Self::new("planned", what)
    }

    pub(crate) fn new(class: &str, what: &str) -> Self {
        Self {
            class: class.to_string(),
            what: what.to_string(),
        }
    }
}

/// The list.
pub(crate) struct Exclusions(Value);

impl Exclusions {
    pub(crate) fn shipped() -> Result<Self> {
        let list = serde_json::from_str(include_str!("../config.json"));
        list.map(Self).context("bogo/config.json")
    }

    /// The reason to leave out the test of that name.
    pub(crate) fn test(&self, protocol: &str, name: &str) -> Option<Excluded> {
        if protocol != "tls" {
            return Some(Excluded::new("protocol", "DTLS and QUIC"));
        }
        let patterns = self.0.get("tests")?.as_object()?;
        let (pattern, class) = patterns
            .iter()
            .find(|(pattern, _)| matches(pattern, name))?;
        Some(Excluded::new(class.as_str()?, pattern))
    }

    /// The reason to leave out tests with this word.
    pub(crate) fn flag(&self, flag: &str) -> Option<Excluded> {
        let class = self.0.get("flags")?.get(flag)?.as_str()?;
        Some(Excluded::new(class, flag))
    }

    /// The reason to leave out tests with this word and value.
    pub(crate) fn value(&self, flag: &str, value: &str) -> Option<Excluded> {
        let values = self.0.get("values")?.get(flag)?.as_object()?;
        let (pattern, class) = values.iter().find(|(pattern, _)| matches(pattern, value))?;
        Some(Excluded::new(class.as_str()?, &format!("{flag} {pattern}")))
    }
}

/// Whether a name is as the pattern says; `*` stands for any part of it.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut left) = name.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = left.split_once(part) else {
            return false;
        };
        left = after;
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_any_part_of_a_name() {
        assert!(matches("*", "Basic"));
        assert!(matches("Basic", "Basic"));
        assert!(matches("*-TLS1", "Basic-Client-TLS1"));
        assert!(matches("EarlyData*-TLS13*", "EarlyData-Server-TLS13-Sync"));
        assert!(!matches("*-TLS1", "Basic-Client-TLS13"));
        assert!(!matches("Basic", "Basic2"));
        assert!(!matches("A*B*C", "AxCxB"));
    }

    #[test]
    fn every_reason_is_of_a_class_that_is_explained() {
        let list: Value = serde_json::from_str(include_str!("../config.json")).unwrap();
        let classes = list["classes"].as_object().unwrap();
        let values = list["values"].as_object().unwrap();
        let tables = ["flags", "tests"].map(|table| &list[table]);
        for table in tables.into_iter().chain(values.values()) {
            for (what, class) in table.as_object().unwrap() {
                assert!(classes.contains_key(class.as_str().unwrap()), "{what}");
            }
        }
        assert!(classes.contains_key("planned") && classes.contains_key("protocol"));
    }
}
