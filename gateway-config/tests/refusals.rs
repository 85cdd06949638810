//! What is wrong with each bad file, in its exact words.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "what fails here is a failed test"
)]

use std::fs;

use gateway_config::load;
use ipc::segment::Step;
use time::{Duration, OffsetDateTime};

/// 2027-01-01: the material was made for that day.
fn test_day() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::seconds(1_798_761_600)
}

/// What a text has in place of the steps that can be refused: they are those of the protocol.
const EVERY_STEP: &str = "{every step}";

/// `tests/bad/X.toml` must be refused with the text of `tests/bad/X.err`. With
/// HANDOFF_WRITE_ERR set, the texts are written instead.
#[test]
fn each_bad_file_is_refused_with_its_text() {
    let steps = Step::ALL.map(|step| format!("\"{}\"", step.name()));
    let steps = steps.join(" or ");
    let mut checked = 0;
    let mut wrong = Vec::new();
    for entry in fs::read_dir("tests/bad").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        checked += 1;
        let found = match load(&path, test_day()) {
            Ok(_) => "accepted\n".to_string(),
            Err(problem) => format!("{problem}\n"),
        };
        let found = found.replace(&steps, EVERY_STEP);
        let expected = path.with_extension("err");
        if std::env::var_os("HANDOFF_WRITE_ERR").is_some() {
            fs::write(&expected, &found).unwrap();
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        if found != wanted {
            wrong.push(format!("expected {wanted}found {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 60, "{checked} files");
}
