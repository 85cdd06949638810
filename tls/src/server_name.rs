//! Server names (RFC 6066 §3).

use crate::codec::{DecodeError, Reader};

/// NameType (RFC 6066 §3): a DNS name.
pub const HOST_NAME: u8 = 0;

/// The next name of a ServerNameList and its type, or the end of the list.
///
/// # Errors
/// It is cut off.
pub fn next_name<'a>(list: &mut Reader<'a>) -> Result<Option<(u8, &'a [u8])>, DecodeError> {
    if list.is_empty() {
        return Ok(None);
    }
    let kind = list.u8()?;
    Ok(Some((kind, list.vec16()?.rest())))
}

/// Whether `name` is a DNS name as RFC 1035 §2.3.1 and RFC 5890 §2.3.1 write it, with
/// underscores, which are in use: labels of 1 to 63 letters, digits, hyphens and
/// underscores that neither begin nor end with a hyphen, the last one no number; 253
/// bytes in all; no dot at the end (RFC 6066 §3).
pub fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(is_of_name)
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    // An IPv4 address is no name.
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= 253 && !is_number && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dns_name_is_told_from_what_could_forge_a_line() {
        for name in [
            "a",
            "a.test",
            "xn--bcher-kva.example",
            "_sip.a.test",
            "1.a",
            "A-b.C",
        ] {
            assert!(is_dns_name(name), "{name}");
        }
        let long_label = ["a".repeat(64).as_str(), ".test"].concat();
        let long = ["a".repeat(63).as_str(); 4].join(".");
        for name in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a.test",
            "a-.test",
            "10.0.2.2",
            "1",
            "::1",
            "a b",
            "a\nhandshake ok",
            "a\"",
            "a=b",
            "a\0",
            "ä.test",
            "a/b",
            "*.test",
            &long_label,
            &long,
        ] {
            assert!(!is_dns_name(name), "{name:?}");
        }
    }
}
