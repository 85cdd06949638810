//! The peer's identity, as reported to the application and the backend (R10).

use std::io::{BufRead, BufReader, Read, Write};

use crate::harness::client::{Session, Wish};
use crate::harness::evidence::sha256_hex;
use crate::harness::site::port;
use crate::harness::system;

/// The body of the PROXY header that the backend got, in hex.
fn introduction(session: &mut Session) -> String {
    let mut line = String::new();
    session.0.flush().unwrap();
    BufReader::with_capacity(1, &mut session.0)
        .read_line(&mut line)
        .unwrap();
    line.trim_end().to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A TLV in the header.
fn tlv(kind: u8, value: &[u8]) -> String {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    hex(&[&[kind][..], &length, value].concat())
}

#[test]
fn r10_the_verified_identity_reaches_the_application() {
    let site = system();
    for wish in [Wish::tls13(&site.material), Wish::tls12(&site.material)] {
        let session = wish
            .certificate("client")
            .connect(site.address(port::CERTIFICATE_REQUESTED))
            .unwrap();
        let handshake = site.handshake(session.port());
        assert_eq!(handshake.value("names"), "DNS:client.test");
        let subject = &handshake.rest;
        assert!(subject.contains(" subject=CN=client"), "{subject}");
    }
}

#[test]
fn r10_the_backend_is_told_by_a_proxy_header_who_the_client_is() {
    let site = system();
    for wish in [Wish::tls13(&site.material), Wish::tls12(&site.material)] {
        let wish = wish.certificate("client").alpn(&["x"]);
        let mut session = wish.connect(site.address(port::INTRODUCED)).unwrap();
        let found = introduction(&mut session);
        // Source: QEMU's address for this host, and the client's own port,
        // which user networking keeps from the guest.
        assert!(found.starts_with("0a000202"), "{found}");
        let certificate = &site.material.chain("client")[0];
        let fingerprint = sha256_hex(certificate);
        for part in [
            tlv(0x01, b"x"),
            tlv(0x02, b"localhost"),
            tlv(0x21, session.version().as_bytes()),
            tlv(0x22, b"client"),
            format!("e00020{fingerprint}"),
            tlv(0xe2, b"DNS:client.test"),
        ] {
            assert!(found.contains(&part), "no {part} in {found}");
        }
        // Over TLS, with a certificate on this connection, verified.
        assert!(found.contains("0700000000"), "{found}");
        // And then the client's own bytes, one for one.
        assert_eq!(session.echo(b"mine").unwrap(), b"mine");
    }
}

#[test]
fn a_client_can_not_introduce_itself_as_another() {
    let site = system();
    let mut session = Wish::tls13(&site.material)
        .connect(site.address(port::INTRODUCED))
        .unwrap();
    let forged = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x01\x0a\0\0\x02\0\x01\0\x02";
    session.0.write_all(forged).unwrap();
    let found = introduction(&mut session);
    assert!(found.starts_with("0a000202"), "{found}");
    // No certificate: over TLS, nothing else, not verified.
    assert!(found.contains("0100000001"), "{found}");
    assert!(!found.contains("e00020"), "{found}");
    let mut echoed = vec![0; forged.len()];
    session.0.read_exact(&mut echoed).unwrap();
    assert_eq!(echoed, forged);
}
