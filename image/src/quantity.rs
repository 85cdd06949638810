//! Numbers that a description or a policy writes as words: sizes and badges.

use ipc::badge::Badge;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

/// A number of bytes, or "64K", "2M".
pub(crate) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match NumberOrText::deserialize(deserializer)? {
        NumberOrText::Number(bytes) => Ok(bytes),
        NumberOrText::Text(text) => parse_size(&text)
            .ok_or_else(|| D::Error::custom(format!("\"{text}\" is no size; write 64K or 2M"))),
    }
}

pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (digits, unit) = if let Some(digits) = text.strip_suffix('K') {
        (digits, 1024)
    } else {
        (text.strip_suffix('M')?, 1024 * 1024)
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// A client number, or "control": the badge's word.
pub(crate) fn badge<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match NumberOrText::deserialize(deserializer)? {
        NumberOrText::Number(number @ 1..=4095) => Ok(Badge::Client(number as u16).to_word()),
        NumberOrText::Text(text) if text == "control" => Ok(Badge::Control.to_word()),
        _ => Err(D::Error::custom(
            "a badge is a client number, 1 to 4095, or \"control\"",
        )),
    }
}
