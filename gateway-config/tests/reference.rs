//! What the reference says of keys is what the checks do.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gateway_config::reference::{FILE, Key, Need, Table};
use gateway_config::{Config, EXAMPLE, Problems, load};
use time::{Duration, OffsetDateTime};
use toml::Value;

/// A small configuration with each table in it.
const SMALL: &str = r#"
[network]
address = "10.0.2.15/24"
[[keyring]]
label = "web"
chain = "p256.pem"
key = "p256-key.pem"
trust = "ca.pem"
[[keyring]]
label = "backends"
trust = "ca.pem"
[[listener]]
name = "web"
listen = 443
tls = { role = "server", keyring = "web" }
backend = { connect = "10.0.2.2:8080" }
limits = {}
[[listener]]
name = "ruled"
listen = 444
[listener.backend]
connect = "10.0.2.2:8080"
tls = { role = "client", keyring = "backends", server_name = "backend.test" }
[[listener.rule]]
tls = { role = "server", keyring = "web" }
[[application]]
client = 2
listen = [445]
keyring = "web"
mode = "directed"
[log]
[rotation]
signer = "signer-public.pem"
"#;

/// 2027-01-01: the material was made for that day.
fn test_day() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::seconds(1_798_761_600)
}

fn scratch(name: &str) -> PathBuf {
    let folder = Path::new("../target/tmp").join(name);
    fs::create_dir_all(&folder).unwrap();
    folder.canonicalize().unwrap()
}

/// Loads `text` as if it lay beside the material.
fn load_text(name: &str, text: &str) -> Result<Config, Problems> {
    let folder = scratch("reference");
    for file in fs::read_dir("tests/material").unwrap() {
        let file = file.unwrap();
        let there = folder.join(file.file_name());
        if !there.exists() {
            fs::copy(file.path(), there).unwrap();
        }
    }
    let file = folder.join(format!("{name}.toml"));
    fs::write(&file, text).unwrap();
    load(&file, test_day())
}

/// [`SMALL`] with one key more, with another value for it, or without it.
fn with(table: &Table, key: &Key, value: Option<Value>) -> String {
    let file: toml::Table = SMALL.parse().unwrap();
    let path: &[&str] = match table.name {
        "the file" => &[],
        "[network]" => &["network"],
        "[[keyring]]" => &["keyring", "0"],
        "[[listener]]" if key.name == "rule" => &["listener", "1"],
        "[[listener]]" => &["listener", "0"],
        "tls" if key.name == "server_name" => &["listener", "1", "backend", "tls"],
        "tls" => &["listener", "0", "tls"],
        "limits" => &["listener", "0", "limits"],
        "backend" => &["listener", "0", "backend"],
        "[[listener.rule]]" => &["listener", "1", "rule", "0"],
        "[[application]]" => &["application", "0"],
        "[log]" => &["log"],
        "[rotation]" => &["rotation"],
        other => panic!("no place for {other}"),
    };
    let mut place = Value::Table(file);
    let mut inner = &mut place;
    for step in path {
        inner = match inner {
            Value::Array(items) => items.get_mut(step.parse::<usize>().unwrap()).unwrap(),
            other => &mut other[*step],
        };
    }
    let table = inner.as_table_mut().unwrap();
    match key.name {
        "status" => drop(table.remove("connect")),
        "request_timeout_ms" => {
            table.insert("backend".into(), "{ status = true }".parse().unwrap());
        }
        _ => {}
    }
    table.remove(key.name);
    table.extend(value.map(|value| (key.name.to_string(), value)));
    place.as_table().unwrap().to_string()
}

fn every_key() -> impl Iterator<Item = (&'static Table, &'static Key)> {
    let tables = FILE.every().into_iter();
    tables.flat_map(|table| table.keys.iter().map(move |key| (table, key)))
}

#[test]
fn every_key_has_words_and_an_example() {
    assert!(every_key().count() > 45, "{}", every_key().count());
    for (table, key) in every_key() {
        let name = format!("{} of {}", key.name, table.name);
        assert!(key.meaning.ends_with('.'), "{name}: {}", key.meaning);
        assert!(!key.example.is_empty(), "{name}");
        assert!(table.about.ends_with('.'), "{}", table.name);
    }
}

#[test]
fn a_key_that_is_left_out_is_the_default_that_the_reference_tells() {
    let parts = |text: &str| {
        let config = load_text("default", text);
        let config = config.unwrap_or_else(|problems| panic!("{text}\n{problems}"));
        (config.listeners, config.address, config.mtu)
    };
    let mut compared = 0;
    for (table, key) in every_key() {
        let Need::Default(default) = key.need else {
            continue;
        };
        let value: Value = default().parse().unwrap();
        let said = with(table, key, Some(value));
        let silent = with(table, key, None);
        assert_ne!(said, silent, "{}", key.name);
        assert_eq!(parts(&said), parts(&silent), "{}", key.name);
        compared += 1;
    }
    assert!(compared >= 15, "{compared}");
}

/// So it is read, and the problem names it.
#[test]
fn every_key_is_refused_with_a_value_of_another_type() {
    for (table, key) in every_key() {
        let date = Value::Datetime("1979-05-27".parse().unwrap());
        let text = with(table, key, Some(date));
        let problems = load_text("type", &text).err();
        let list = problems.as_ref().map_or(&[][..], Problems::list);
        let named = list.iter().any(|problem| {
            let last = problem.key.rsplit('.').next();
            last == Some(key.name) && problem.reason.contains("of type datetime")
        });
        assert!(named, "{} of {}:\n{list:?}", key.name, table.name);
    }
}

#[test]
fn all_problems_are_told_by_line_with_their_keys() {
    let file = Path::new("tests/bad/many.toml");
    let problems = load(file, test_day()).err().unwrap();
    let found: Vec<(usize, &str)> = problems
        .list()
        .iter()
        .map(|problem| (problem.line, &*problem.key))
        .collect();
    let wanted = [
        (3, "network.address"),
        (4, "network.mtu"),
        (9, "keyring[0].chain"),
        (10, "keyring[0].key"),
        (14, "listener[0].listen"),
        // Nothing of its key ring: what is wrong with that one was said.
        (15, "listener[0].tls.alpn[1]"),
        (15, "listener[0].tls.colour"),
        (16, "listener[0].backend.connect"),
        (18, "listener[1]"),
        (21, "listener[1].tls.keyring"),
    ];
    assert_eq!(found, wanted, "{problems}");
}

/// The commands that the example shows, and what it is then.
#[test]
fn the_example_works_as_it_is_and_with_each_of_its_comments() {
    let folder = scratch("example");
    let _ = fs::remove_dir_all(&folder);
    let folder = scratch("example");
    let commands = EXAMPLE.lines().filter_map(|line| line.strip_prefix("#   "));
    for command in commands.filter(|command| !command.starts_with("cargo ")) {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(&folder);
        let done = shell.output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{command}: {said}");
    }
    let file = folder.join("gateway.toml");
    let try_it = |text: &str| {
        fs::write(&file, text).unwrap();
        if let Err(problems) = load(&file, OffsetDateTime::now_utc()) {
            panic!("{problems}\n{text}");
        }
    };
    try_it(EXAMPLE);
    // A comment with a key is one that can be said; a table's are said together.
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    let said = |line: &str| line.strip_prefix("# ").map(str::to_string);
    let is_key = |line: &str| {
        let name = said(line).and_then(|said| Some(said.split_once(" = ")?.0.to_string()));
        name.is_some_and(|name| every_key().any(|(_, key)| key.name == name))
    };
    let mut tried = 0;
    for (index, line) in lines.iter().enumerate() {
        let is_table = line.starts_with("# [[");
        if !is_table && !is_key(line) {
            continue;
        }
        let mut text: Vec<String> = lines.iter().map(|line| (*line).to_string()).collect();
        let block = lines[index..]
            .iter()
            .take_while(|line| is_table && line.starts_with("# "));
        for place in index..index + block.count().max(1) {
            text[place] = said(lines[place]).unwrap();
        }
        let in_a_table = lines[..index].iter().rev();
        let in_a_table = in_a_table.take_while(|line| line.starts_with("# "));
        if in_a_table.clone().any(|line| line.starts_with("# [[")) {
            continue;
        }
        try_it(&text.join("\n"));
        tried += 1;
    }
    assert!(tried >= 18, "{tried}");
}

#[test]
fn the_example_has_every_key() {
    for (table, key) in every_key() {
        let named = EXAMPLE.lines().any(|line| {
            let line = line.trim_start_matches("# ");
            let name = key.name;
            line.starts_with(&format!("{name} = "))
                || line.contains(&format!("[{name}]"))
                || line.contains(&format!(".{name}]"))
                || line.contains(&format!("{{ {name} = "))
                || line.contains(&format!(", {name} = "))
        });
        assert!(named, "{} of {}", key.name, table.name);
    }
}
