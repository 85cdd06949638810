//! The header of the PROXY protocol, version 2: tells a backend who the client is, before
//! the first byte of plaintext.
//!
//! Source: "The PROXY protocol", section 2.2 (HAProxy, 2020 and later). The
//! header is made here alone, so nothing that the client sends can pass for it.

use alloc::vec::Vec;
use core::net::SocketAddr;

use ipc::control::{Established, PeerIdentity};
use tls::{Version, is_dns_name};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const VERSION_PROXY: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// What a TLV is of.
mod kind {
    pub(super) const ALPN: u8 = 0x01;
    pub(super) const AUTHORITY: u8 = 0x02;
    pub(super) const SSL: u8 = 0x20;
    pub(super) const SSL_VERSION: u8 = 0x21;
    pub(super) const SSL_CN: u8 = 0x22;
    pub(super) const SSL_CIPHER: u8 = 0x23;
    // 0xE0 to 0xEF are an application's own.
    /// SHA-256 of the client's certificate, 32 bytes.
    pub(super) const FINGERPRINT: u8 = 0xe0;
    /// Its subject (RFC 4514), UTF-8.
    pub(super) const SUBJECT: u8 = 0xe1;
    /// Its subject alternative names, as in [`super::PeerIdentity::names`].
    pub(super) const NAMES: u8 = 0xe2;
}

/// The bits of the first byte of `PP2_TYPE_SSL`.
const CLIENT_SSL: u8 = 1;
const CLIENT_CERT_CONN: u8 = 2;
const CLIENT_CERT_SESS: u8 = 4;

/// The header for a connection between `remote` and our own `local` address,
/// and the session on it, if there is one. Never longer than a kilobyte: every
/// part is bounded.
pub(crate) fn header(
    remote: SocketAddr,
    local: SocketAddr,
    agreed: Option<&Established>,
) -> Vec<u8> {
    let mut body = addresses(remote, local);
    let family = match body.len() {
        12 => TCP_OVER_IPV4,
        _ => TCP_OVER_IPV6,
    };
    if let Some(agreed) = agreed {
        append_session(&mut body, agreed);
    }
    let mut header = Vec::from(SIGNATURE);
    header.extend([VERSION_PROXY, family]);
    header.extend(length(body.len()));
    header.extend(body);
    header
}

fn append_session(body: &mut Vec<u8>, agreed: &Established) {
    if let Some(alpn) = &agreed.alpn {
        append(body, kind::ALPN, alpn);
    }
    // A client chose it: it is a DNS name, or it is not passed on.
    if let Some(name) = agreed.server_name.as_ref().filter(|name| is_dns_name(name)) {
        append(body, kind::AUTHORITY, name.as_bytes());
    }
    append(body, kind::SSL, &ssl(agreed));
    if let Some(peer) = &agreed.peer {
        append(body, kind::FINGERPRINT, &peer.fingerprint);
        append_text(body, kind::SUBJECT, &peer.subject);
        append_text(body, kind::NAMES, &peer.names);
    }
}

/// Source and destination, of one family: an IPv4 address beside an IPv6 one
/// is written as IPv6.
fn addresses(remote: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::new();
    match (remote, local) {
        (SocketAddr::V4(remote), SocketAddr::V4(local)) => {
            bytes.extend(remote.ip().octets());
            bytes.extend(local.ip().octets());
        }
        _ => {
            for address in [remote, local] {
                let v6 = match address {
                    SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped(),
                    SocketAddr::V6(v6) => *v6.ip(),
                };
                bytes.extend(v6.octets());
            }
        }
    }
    bytes.extend(remote.port().to_be_bytes());
    bytes.extend(local.port().to_be_bytes());
    bytes
}

/// The value of `PP2_TYPE_SSL`.
fn ssl(agreed: &Established) -> Vec<u8> {
    let mut client = CLIENT_SSL;
    if agreed.peer.is_some() {
        client |= CLIENT_CERT_SESS;
        // On this connection, not on one that was resumed.
        if !agreed.resumed {
            client |= CLIENT_CERT_CONN;
        }
    }
    // A certificate that was not verified never gets here.
    let verify = u32::from(agreed.peer.is_none());
    let mut value = Vec::from([client]);
    value.extend(verify.to_be_bytes());
    let version: &[u8] = match agreed.version {
        Version::Tls12 => b"TLSv1.2",
        Version::Tls13 => b"TLSv1.3",
    };
    append(&mut value, kind::SSL_VERSION, version);
    append(&mut value, kind::SSL_CIPHER, agreed.suite.name().as_bytes());
    if let Some(PeerIdentity { common_name, .. }) = &agreed.peer {
        append_text(&mut value, kind::SSL_CN, common_name);
    }
    value
}

fn append_text(to: &mut Vec<u8>, kind: u8, text: &str) {
    if !text.is_empty() {
        append(to, kind, text.as_bytes());
    }
}

fn append(to: &mut Vec<u8>, kind: u8, value: &[u8]) {
    to.push(kind);
    to.extend(length(value.len()));
    to.extend(value);
}

/// All values here are bounded far below 64 KiB.
fn length(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(0).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use ipc::bounded::{Bytes, Text};
    use ipc::clock::Instant;
    use ipc::net::TcpPosition;
    use tls::CipherSuite;

    use super::*;

    fn agreed(peer: Option<PeerIdentity>) -> Established {
        Established {
            version: Version::Tls13,
            suite: CipherSuite::Aes128GcmSha256,
            group: None,
            sequence: (0, 0),
            key_check: None,
            keys: None,
            peer,
            alpn: Some(Bytes::from_slice(b"h2").unwrap()),
            server_name: Some(Text::from_text("a.test").unwrap()),
            keyring: Text::from_text("web").unwrap(),
            resumed: false,
            peer_scheme: None,
            tcp: TcpPosition::default(),
            first_byte: Instant::from_millis(0),
            installed: Instant::from_millis(0),
        }
    }

    fn peer() -> PeerIdentity {
        PeerIdentity {
            fingerprint: [7; 32],
            certificate_len: 300,
            subject: Text::from_text("CN=c").unwrap(),
            common_name: Text::from_text("c").unwrap(),
            names: Text::default(),
        }
    }

    #[test]
    fn a_header_without_certificate_is_as_the_specification_writes_it() {
        let remote = "10.0.2.2:40000".parse().unwrap();
        let local = "10.0.2.15:443".parse().unwrap();
        let mut expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x45".to_vec();
        expected.extend([10, 0, 2, 2, 10, 0, 2, 15, 0x9c, 0x40, 1, 0xbb]);
        expected.extend(b"\x01\0\x02h2\x02\0\x06a.test");
        expected.extend(b"\x20\0\x28\x01\0\0\0\x01");
        expected.extend(b"\x21\0\x07TLSv1.3\x23\0\x16TLS_AES_128_GCM_SHA256");
        assert_eq!(header(remote, local, Some(&agreed(None))), expected);
    }

    #[test]
    fn a_name_that_is_no_dns_name_is_not_passed_on() {
        let remote = "10.0.2.2:40000".parse().unwrap();
        let local = "10.0.2.15:443".parse().unwrap();
        let has_authority = |name: &str| {
            let mut agreed = agreed(None);
            agreed.server_name = Some(Text::from_text(name).unwrap());
            let found = header(remote, local, Some(&agreed));
            // After the addresses and the ALPN name.
            found[16 + 12 + 5] == kind::AUTHORITY
        };
        assert!(has_authority("a.test"));
        for name in [
            "a.test\r\nX-Role: admin",
            "a test",
            "a\0",
            "10.0.2.2",
            "::1",
            "",
            "a.",
        ] {
            assert!(!has_authority(name), "{name:?}");
        }
    }

    #[test]
    fn a_verified_client_is_named_and_told_from_a_resumed_one() {
        let remote = "[fe80::2]:40000".parse().unwrap();
        let local = "10.0.2.15:443".parse().unwrap();
        let mut with = agreed(Some(peer()));
        let found = header(remote, local, Some(&with));
        assert_eq!(found[13], TCP_OVER_IPV6);
        let ssl = 16 + 36 + 5 + 9 + 3;
        assert_eq!(found[ssl..ssl + 5], [7, 0, 0, 0, 0]);
        let has = |part: &[u8]| found.windows(part.len()).any(|w| w == part);
        assert!(has(b"\x22\0\x01c") && has(b"\xe1\0\x04CN=c"));
        let mut fingerprint = vec![0xe0, 0, 32];
        fingerprint.extend([7; 32]);
        assert!(has(&fingerprint));
        assert!(!has(&[0xe2]), "no names, no TLV");
        with.resumed = true;
        assert_eq!(header(remote, local, Some(&with))[ssl], 5);
    }
}
