//! What of a ClientHello rustls answers with handshake_failure, or not at all, and the RFCs
//! and other servers with an alert of its own. Looked at before rustls is. A second hello is,
//! where it lies in one record; else rustls' alert stands.

use alloc::vec;
use alloc::vec::Vec;

use ipc::control::Cause;
use tls::client_hello::{ClientHello, FALLBACK_SCSV};
use tls::codec::{DecodeError, MESSAGE_HEADER, Reader};
use tls::names::UNCOMPRESSED;
use tls::record::{HEADER, Header};
use tls::{Alert, ContentType, ExtensionType, HandshakeType, Version};

/// The alert that is due, and for the report what it does not tell.
pub(crate) type Refused = (Alert, Option<Cause>);

/// The version that the hello in `record` leads to with a server that speaks `versions`;
/// `None` of what is no whole hello.
///
/// # Errors
/// The alert that is due.
pub(crate) fn look(record: &[u8], versions: &[Version]) -> Result<Option<Version>, Refused> {
    // What can't be decoded is rustls' to refuse.
    let looked = hello_in(record).map(|body| check(body, versions));
    looked.and_then(Result::ok).transpose()
}

/// The handshake records at the start of `records` as one, however long that is. Whoever is
/// on the way may cut a hello into several: nothing protects that.
pub(crate) fn joined(records: &[u8]) -> Vec<u8> {
    let mut joined = vec![ContentType::Handshake.number(), 3, 1, 0, 0];
    let mut rest = records;
    while let Some((header, _)) = Header::split_from(rest)
        && header.content_type() == Some(ContentType::Handshake)
        && let Some(record) = rest.get(HEADER..header.record_length())
    {
        joined.extend_from_slice(record);
        rest = rest.get(header.record_length()..).unwrap_or_default();
    }
    joined
}

fn hello_in(record: &[u8]) -> Option<&[u8]> {
    let (header, payload) = record.split_at_checked(HEADER)?;
    let (head, body) = payload.split_first_chunk::<MESSAGE_HEADER>()?;
    let [kind, a, b, c] = *head;
    let is_hello = header.first() == Some(&ContentType::Handshake.number())
        && HandshakeType(kind) == HandshakeType::CLIENT_HELLO
        && u32::from_be_bytes([0, a, b, c]) as usize == body.len();
    is_hello.then_some(body)
}

fn check(body: &[u8], versions: &[Version]) -> Result<Result<Version, Refused>, DecodeError> {
    let hello = ClientHello::parse(body)?;
    let mut extensions = hello.extensions()?;
    let mut offered = (hello.version >= Version::Tls12.number(), false);
    let (mut has_groups, mut has_share, mut has_points) = (false, false, true);
    while let Some((kind, mut content)) = extensions.next_extension()? {
        match kind {
            ExtensionType::SUPPORTED_VERSIONS => {
                let list = content.vec8()?;
                let has = |version: Version| has_number(list, version.number());
                offered = (has(Version::Tls12)?, has(Version::Tls13)?);
            }
            ExtensionType::SUPPORTED_GROUPS => has_groups = true,
            ExtensionType::KEY_SHARE => has_share = true,
            ExtensionType::EC_POINT_FORMATS => {
                has_points = content.vec8()?.rest().contains(&UNCOMPRESSED);
            }
            _ => {}
        }
    }
    let speaks = |version| versions.contains(&version);
    if offered.1 && speaks(Version::Tls13) {
        // RFC 8446 §9.2.
        let is_whole = has_groups && has_share;
        return Ok(match is_whole {
            true => Ok(Version::Tls13),
            false => Err((Alert::MISSING_EXTENSION, None)),
        });
    }
    // RFC 7507 §3.
    let speaks_better = speaks(Version::Tls13) || !offered.0;
    if speaks_better && has_number(hello.cipher_suites, FALLBACK_SCSV)? {
        return Ok(Err((Alert::INAPPROPRIATE_FALLBACK, None)));
    }
    // RFC 8446 §4.2.1.
    if !(offered.0 && speaks(Version::Tls12)) {
        let cause = match offered {
            (false, false) => Cause::OldVersion,
            _ => Cause::Version,
        };
        return Ok(Err((Alert::PROTOCOL_VERSION, Some(cause))));
    }
    // RFC 8422 §5.1.2.
    Ok(match has_points {
        true => Ok(Version::Tls12),
        false => Err((Alert::ILLEGAL_PARAMETER, None)),
    })
}

fn has_number(mut list: Reader<'_>, wanted: u16) -> Result<bool, DecodeError> {
    let mut is_there = false;
    while let Some(number) = list.next_u16()? {
        is_there |= number == wanted;
    }
    Ok(is_there)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn refusal(record: &[u8], versions: &[Version]) -> Option<Alert> {
        look(record, versions).err().map(|(alert, _)| alert)
    }

    const BOTH: [Version; 2] = [Version::Tls13, Version::Tls12];
    const GROUPS: &[u8] = &[0, 10, 0, 4, 0, 2, 0, 29];
    const SHARE: &[u8] = &[0, 51, 0, 2, 0, 0];
    const NEW: &[u8] = &[0, 43, 0, 5, 4, 3, 4, 3, 3];

    fn hello(version: [u8; 2], suite: [u8; 2], extensions: &[&[u8]]) -> Vec<u8> {
        let extensions = extensions.concat();
        let mut body = [&version[..], &[7; 32], &[0, 0, 2], &suite, &[1, 0]].concat();
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend(extensions);
        let length = u8::try_from(body.len()).unwrap();
        [&[22, 3, 1, 0, length + 4, 1, 0, 0, length], &body[..]].concat()
    }

    fn new(extensions: &[&[u8]]) -> Option<Alert> {
        let extensions = [&[NEW], extensions].concat();
        refusal(&hello([3, 3], [0x13, 1], &extensions), &BOTH)
    }

    #[test]
    fn the_version_that_a_hello_leads_to_is_known_before_rustls_sees_it() {
        let whole = hello([3, 3], [0x13, 1], &[NEW, GROUPS, SHARE]);
        assert_eq!(look(&whole, &BOTH), Ok(Some(Version::Tls13)));
        assert_eq!(look(&whole, &[Version::Tls12]), Ok(Some(Version::Tls12)));
        assert_eq!(look(&whole[..whole.len() - 1], &BOTH), Ok(None));
        let old = hello([3, 3], [0xc0, 0x2b], &[GROUPS]);
        assert_eq!(look(&old, &BOTH), Ok(Some(Version::Tls12)));
    }

    #[test]
    fn a_hello_of_tls_1_3_has_groups_and_shares() {
        assert_eq!(new(&[GROUPS, SHARE]), None);
        assert_eq!(new(&[GROUPS]), Some(Alert::MISSING_EXTENSION));
        assert_eq!(new(&[SHARE]), Some(Alert::MISSING_EXTENSION));
    }

    #[test]
    fn a_client_is_told_that_no_version_is_in_common() {
        let old = |version, versions: &[Version]| {
            refusal(&hello(version, [0xc0, 0x2b], &[GROUPS]), versions)
        };
        assert_eq!(old([3, 3], &BOTH), None);
        assert_eq!(old([3, 2], &BOTH), Some(Alert::PROTOCOL_VERSION));
        assert_eq!(
            old([3, 3], &[Version::Tls13]),
            Some(Alert::PROTOCOL_VERSION)
        );
        let new = hello([3, 3], [0x13, 1], &[&[0, 43, 0, 3, 2, 3, 4]]);
        assert_eq!(
            refusal(&new, &[Version::Tls12]),
            Some(Alert::PROTOCOL_VERSION)
        );
    }

    #[test]
    fn a_client_that_fell_back_is_told_so_where_it_need_not_have() {
        let fallback = hello([3, 3], [0x56, 0], &[GROUPS]);
        let alert = Some(Alert::INAPPROPRIATE_FALLBACK);
        assert_eq!(refusal(&fallback, &BOTH), alert);
        assert_eq!(refusal(&fallback, &[Version::Tls12]), None);
        let older = hello([3, 2], [0x56, 0], &[GROUPS]);
        assert_eq!(refusal(&older, &[Version::Tls12]), alert);
    }

    #[test]
    fn a_hello_is_looked_at_in_however_many_records_it_comes() {
        assert_eq!(joined(&[21, 3, 3, 0, 2, 1, 0]).len(), HEADER);
        let fallback = hello([3, 3], [0x56, 0], &[GROUPS]);
        for size in [1, 7, 100] {
            let mut records = Vec::new();
            for part in fallback[HEADER..].chunks(size) {
                records.extend([22, 3, 1, 0, part.len() as u8]);
                records.extend_from_slice(part);
            }
            let whole = joined(&records);
            assert_eq!(whole[HEADER..], fallback[HEADER..]);
            let alert = Some(Alert::INAPPROPRIATE_FALLBACK);
            assert_eq!(refusal(&whole, &BOTH), alert, "{size}");
            assert!(joined(&records[..records.len() - 1]).len() < whole.len());
        }
    }

    #[test]
    fn points_are_uncompressed() {
        let points = |format| {
            let points = [0, 11, 0, 2, 1, format];
            refusal(&hello([3, 3], [0xc0, 0x2b], &[&points]), &BOTH)
        };
        assert_eq!(points(0), None);
        assert_eq!(points(1), Some(Alert::ILLEGAL_PARAMETER));
    }

    #[test]
    fn what_can_not_be_read_is_left_to_rustls() {
        let whole = hello([3, 3], [0x13, 1], &[NEW]);
        for length in 0..whole.len() {
            assert_eq!(refusal(&whole[..length], &BOTH), None, "{length}");
        }
        let mut other = whole;
        other[5] = 2;
        assert_eq!(refusal(&other, &BOTH), None);
    }
}
