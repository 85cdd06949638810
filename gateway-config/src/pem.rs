//! PEM files (RFC 7468), read so that nothing in them is lost without a word: what looks
//! like the start or the end of a section is one, or the file is refused with the line.

use rustls_pki_types::pem::{Error, PemObject, SectionKind};
use zeroize::Zeroizing;

use crate::problem::Complaint;

/// What stands beside keys and certificates in many files, and is nothing to lose.
const PARAMETERS: [&str; 2] = ["EC PARAMETERS", "DH PARAMETERS"];
/// A marker of a section is about one of these.
const THINGS: [&[u8]; 6] = [
    b"CERTIFICATE",
    b"KEY",
    b"CRL",
    b"PARAMETERS",
    b"PKCS",
    b"CMS",
];
/// A line of base64 as long as that is no remark.
const CONTENT: usize = 48;

/// One section, from its first line to its last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section<'a> {
    /// The file's name.
    name: &'a str,
    /// What its first and last line say that it is.
    pub(crate) label: &'a str,
    /// Its first line, from 1.
    pub(crate) line: usize,
    text: &'a [u8],
}

impl Section<'_> {
    /// Its content; empty where its label says nothing to the library.
    pub(crate) fn decode(&self) -> Result<(SectionKind, Zeroizing<Vec<u8>>), Complaint> {
        <(SectionKind, Vec<u8>)>::from_pem_slice(self.text)
            .map(|(kind, content)| (kind, Zeroizing::new(content)))
            .map_err(|error| match error {
                Error::Base64Decode(_) => self.complain(
                    "its content is not base64",
                    "export it again; a key with a passphrase has to be unlocked first",
                ),
                _ => self.complain("it can't be read", "export it again"),
            })
    }

    /// Says what is wrong with it.
    pub(crate) fn complain(&self, what: &str, remedy: impl Into<String>) -> Complaint {
        let (name, line, label) = (self.name, self.line, self.label);
        Complaint::new(
            format!("{name}, line {line}: section \"{label}\": {what}"),
            remedy,
        )
    }

    /// Refuses it; but for what is of no use.
    pub(crate) fn is_unwanted(&self, also: &[&str]) -> Result<(), Complaint> {
        if PARAMETERS.contains(&self.label) || also.contains(&self.label) {
            return Ok(());
        }
        Err(match self.label {
            "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => self.complain(
                "this form of a certificate is not read",
                "write it as \"CERTIFICATE\": openssl x509 -in FILE -out NEW",
            ),
            _ => self.complain("it does not belong here", "take it out of the file"),
        })
    }
}

/// The sections of a file; text between them is skipped.
pub(crate) fn sections<'a>(name: &'a str, file: &'a [u8]) -> Result<Vec<Section<'a>>, Complaint> {
    let at = |line: usize, what: &str, remedy: &str| {
        Complaint::new(format!("{name}, line {line}: {what}"), remedy)
    };
    if [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff"]
        .iter()
        .any(|mark| file.starts_with(mark))
    {
        return Err(at(
            1,
            "it begins with a byte order mark",
            "save the file as plain ASCII, without one",
        ));
    }
    let mut found = Vec::new();
    let mut open: Option<(Section<'a>, usize)> = None;
    let mut start = 0;
    for (index, raw) in file.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let (line, from) = (index + 1, start);
        start += raw.len();
        match (mark(raw), open) {
            (Mark::None, None) if is_content(raw) => {
                return Err(at(
                    line,
                    "base64 that is in no section",
                    "put a line -----BEGIN CERTIFICATE----- before it and an END after it, \
                     or take it out",
                ));
            }
            (Mark::None, _) => {}
            (Mark::Malformed, _) => {
                return Err(at(
                    line,
                    "the first or last line of a section is malformed",
                    "let it be a line of its own without anything before or after it, like \
                     -----BEGIN CERTIFICATE-----",
                ));
            }
            (Mark::Begin(label), None) => {
                let section = Section {
                    name,
                    label,
                    line,
                    text: &[],
                };
                open = Some((section, from));
            }
            (Mark::Begin(_), Some((section, _))) => {
                return Err(section.complain(
                    &format!("another begins at line {line}, before its end"),
                    "put its line -----END …----- there",
                ));
            }
            (Mark::End(label), Some((section, from))) if section.label == label => {
                let text = file.get(from..start).unwrap_or_default();
                found.push(Section { text, ..section });
                open = None;
            }
            (Mark::End(label), _) => {
                return Err(at(
                    line,
                    &format!("the end of a section \"{label}\" that did not begin"),
                    "put its line -----BEGIN …----- before its content",
                ));
            }
        }
    }
    match open {
        None => Ok(found),
        Some((section, _)) => {
            Err(section.complain("it has no end", "the file may be cut; export it again"))
        }
    }
}

/// What a line says of sections.
enum Mark<'a> {
    None,
    Begin(&'a str),
    End(&'a str),
    /// It looks like one of them, and readers would skip it.
    Malformed,
}

fn mark(line: &[u8]) -> Mark<'_> {
    let line = line.trim_ascii_end();
    let letters = line.iter().filter(|byte| !byte.is_ascii_whitespace());
    let letters: Vec<u8> = letters.map(u8::to_ascii_uppercase).collect();
    let has = |word: &[u8]| letters.windows(word.len()).any(|found| found == word);
    let is_like_one = has(b"--BEGIN") || has(b"--END");
    if !is_like_one || !THINGS.iter().any(|thing| has(thing)) {
        return Mark::None;
    }
    let label = |start: &[u8]| {
        let label = line.strip_prefix(start)?.strip_suffix(b"-----")?;
        let label = str::from_utf8(label).ok()?;
        let is_plain = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit();
        let mut words = label.split(' ');
        words
            .all(|word| !word.is_empty() && word.chars().all(is_plain))
            .then_some(label)
    };
    match (label(b"-----BEGIN "), label(b"-----END ")) {
        (Some(label), _) => Mark::Begin(label),
        (_, Some(label)) => Mark::End(label),
        (None, None) => Mark::Malformed,
    }
}

fn is_content(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    // Not a fingerprint, and no line that is drawn.
    let is_number = line.iter().all(u8::is_ascii_hexdigit);
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let line = line.strip_suffix(b"=").unwrap_or(line);
    let line = line.strip_suffix(b"=").unwrap_or(line);
    let has_letter = line.iter().any(u8::is_ascii_alphanumeric);
    line.len() >= CONTENT && !is_number && has_letter && line.iter().all(is_base64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    fn count(before: &str) -> Option<usize> {
        let file = format!("{before}\n{BLOCK}");
        Some(sections("a.pem", file.as_bytes()).ok()?.len())
    }

    #[test]
    fn remarks_between_sections_are_skipped() {
        for remark in [
            "Hellenic Academic and Research Institutions RootCA 2015",
            "=======================================================",
            "////////////////////////////////////////////////////////",
            "# --- Vendor CA ---",
            "-- end of chain --",
            "subject=CN = xn--fsq-backend.example",
            "    Signature Algorithm: ecdsa-with-SHA256",
            "# SHA256 Fingerprint: AA:BB",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "",
        ] {
            assert_eq!(count(remark), Some(1), "{remark}");
        }
    }

    #[test]
    fn what_looks_like_a_part_of_a_section_is_refused() {
        for part in [
            "  -----BEGIN CERTIFICATE-----",
            "----BEGIN CERTIFICATE----",
            "-----begin certificate-----",
            "# -----END CERTIFICATE-----",
            "-----END CERTIFICATE----------BEGIN CERTIFICATE-----",
            "----- BEGIN CERTIFICATE -----",
            "-----BEGIN CERTIFICATE-----",
            "-----END CERTIFICATE-----",
            "MIIBszCCAVmgAwIBAgIUbwRk0Zq1j2m0X5k5q3nq0ylw4m8wCgYIKoZIzj0EAwIw",
            "MIIBszCCAVmgAwIBAgIUbwRk0Zq1j2m0X5k5q3nq0ylw4m8wCgYIKoZIzj0EAw==",
        ] {
            assert_eq!(count(part), None, "{part}");
        }
    }
}
