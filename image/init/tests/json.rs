//! What the monitor makes of lines where the log is in JSON: whatever a domain writes, an
//! object of which a parser makes the same.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use init::json::{MOST, line};
use ipc::log_ring::LINE;
use serde_json::{Map, Value, json};

fn object(domain: &str, text: &str) -> Map<String, Value> {
    let mut buffer = [0; MOST];
    let time = b"2026-11-30T04:24:48.041436Z ";
    let line = line(&mut buffer, time, domain.as_bytes(), text.as_bytes());
    let line = core::str::from_utf8(line).unwrap();
    assert!(line.ends_with("}\n") && line.lines().count() == 1, "{line}");
    let Value::Object(object) = serde_json::from_str(line).unwrap() else {
        panic!("{line}");
    };
    assert_eq!(object["time"], "2026-11-30T04:24:48.041436Z");
    assert_eq!(object["domain"], domain);
    object
}

fn members(text: &str) -> Value {
    let mut object = object("gateway", text);
    object.remove("time");
    object.remove("domain");
    Value::Object(object)
}

#[test]
fn the_last_words_with_a_name_are_members_and_the_others_a_message() {
    let all = members("session ended listener=web up:=78 resumed:=false server_name=a.test");
    assert_eq!(
        all,
        json!({"message": "session ended", "listener": "web", "up": 78, "resumed": false,
               "server_name": "a.test"})
    );
    assert_eq!(members("ready"), json!({"message": "ready"}));
    assert_eq!(members(""), json!({"message": ""}));
    assert_eq!(members("a=b"), json!({"message": "", "a": "b"}));
    assert_eq!(members("x a=b y"), json!({"message": "x a=b y"}));
    assert_eq!(
        members("x a= b=="),
        json!({"message": "x", "a": "", "b": "="})
    );
    // A digit, and what is no name.
    assert_eq!(members("x A=b 1=2 =3"), json!({"message": "x A=b 1=2 =3"}));
}

#[test]
fn a_value_is_what_it_was_before_it_was_escaped() {
    let original = "a\"b\\c'd\ne\tf\u{1b}g\u{2028}h\u{1f600}i";
    let text = format!("x subject={}", original.escape_default());
    assert_eq!(members(&text)["subject"], original);
    // What nobody made stays as it is.
    for odd in [
        "\\",
        "\\x",
        "\\u",
        "\\u{",
        "\\u{}",
        "\\u{110000}",
        "\\u{d800}",
        "\\u{12",
    ] {
        assert_eq!(members(&format!("x a={odd}"))["a"], odd, "{odd}");
    }
    assert_eq!(members("say \"\\n\"")["message"], "say \"\\n\"");
}

#[test]
fn a_number_is_one_only_if_it_can_be_no_string() {
    for (text, expected) in [
        ("0", json!(0)),
        ("1", json!(1)),
        ("9999999999999999999", json!(9_999_999_999_999_999_999_u64)),
        ("10000000000000000000", json!("10000000000000000000")),
        ("01", json!("01")),
        ("-1", json!("-1")),
        ("1e3", json!("1e3")),
        ("", json!("")),
        ("null", json!("null")),
        ("true", json!(true)),
    ] {
        assert_eq!(members(&format!("x a:={text}"))["a"], expected);
    }
    assert_eq!(members("x a=1")["a"], json!("1"));
}

#[test]
fn no_domain_says_when_it_was_or_who_it_is_or_one_thing_twice() {
    let told = members("x time=0 domain=init message=y");
    assert_eq!(told, json!({"message": "x time=0 domain=init message=y"}));
    let told = members("x why=closed by=client why=reset");
    assert_eq!(
        told,
        json!({"message": "x", "why": "closed", "by": "client"})
    );
}

#[test]
fn the_longest_line_of_any_printable_text_is_one_object() {
    let longest = LINE + 128;
    for piece in [
        "\"",
        "\\",
        "a=",
        " a=",
        "\\u{1} ",
        "a=\\u{1} ",
        "a:=0 ",
        "{",
        ",",
        " ",
    ] {
        let text: String = piece.chars().cycle().take(longest).collect();
        object("offload-server", &text);
    }
    // Each member once: names of letters, as short as they come.
    let letters = || b'a'..=b'z';
    let names: Vec<_> =
        letters()
            .map(|a| format!("{}=", char::from(a)))
            .chain(letters().flat_map(|a| {
                letters().map(move |b| format!("{}{}=", char::from(a), char::from(b)))
            }))
            .collect();
    let text: String = names.join(" ").chars().take(longest).collect();
    let (text, _cut) = text.rsplit_once(' ').unwrap();
    // The others stay in the message.
    assert_eq!(object("offload-server", text).len(), 3 + 48);
    let mut state = 7_u64;
    for _ in 0..2_000 {
        let mut text = String::new();
        while text.len() < longest {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let pieces = [
                "\\", "\"", "u{", "1f", "}", "=", ":=", " ", "a", "_", "0", "'", "{",
            ];
            text += pieces[(state >> 33) as usize % pieces.len()];
        }
        object("gateway", &text[..longest]);
    }
}
