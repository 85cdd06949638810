//! What a listener allows is what can be agreed on (R5–R8).

use rustls::{AlertDescription, CipherSuite, NamedGroup};

use crate::harness::backend::PAGE;
use crate::harness::capture::{self, SYN};
use crate::harness::client::{Wish, alert_received};
use crate::harness::evidence::sha256_hex;
use crate::harness::site::SMALL_SEGMENT;
use crate::harness::site::port::{self, directed};
use crate::harness::system;

#[test]
fn r06_each_suite_is_agreed_on_and_carries_data() {
    let site = system();
    for (suite, port) in [
        (CipherSuite::TLS13_AES_128_GCM_SHA256, port::HTTP),
        (CipherSuite::TLS13_AES_256_GCM_SHA384, port::HTTP),
        (CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, port::HTTP),
        (
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            port::HTTP,
        ),
        (
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            port::HTTP,
        ),
        (
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            port::HTTP,
        ),
        (
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            port::RSA,
        ),
        (
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            port::RSA,
        ),
        (
            CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            port::RSA,
        ),
    ] {
        let wish = Wish::any(&site.material).suite(suite);
        let mut session = wish.connect(site.address(port)).unwrap();
        assert_eq!(session.suite(), suite);
        assert!(session.ask("/").unwrap().ends_with(PAGE), "{suite:?}");
    }
}

#[test]
fn r06_each_group_is_agreed_on_in_each_version() {
    let site = system();
    for (group, name) in [
        (NamedGroup::X25519, "x25519"),
        (NamedGroup::secp256r1, "secp256r1"),
        (NamedGroup::secp384r1, "secp384r1"),
    ] {
        let wish = Wish::tls13(&site.material).groups(&[group]);
        let mut session = wish.connect(site.address(port::ECHO)).unwrap();
        assert_eq!(session.group(), group);
        session.echo(name.as_bytes()).unwrap();
        assert_eq!(site.handshake(session.port()).value("group"), name);
        // There a certificate with an ECDSA key is on a group that is offered (RFC 8422
        // §5.3); this one's key is of another kind.
        let wish = Wish::tls12(&site.material).groups(&[group]);
        let mut session = wish.connect(site.address(port::RSA)).unwrap();
        assert_eq!(session.group(), group);
        assert!(session.ask("/").unwrap().ends_with(PAGE));
        assert_eq!(site.handshake(session.port()).value("group"), name);
    }
}

#[test]
fn r06_hybrids_are_agreed_on_in_both_modes() {
    let site = system();
    for port in [port::ECHO, directed(port::ECHO)] {
        for (group, name) in [
            (NamedGroup::X25519MLKEM768, "X25519MLKEM768"),
            (NamedGroup::secp256r1MLKEM768, "SecP256r1MLKEM768"),
        ] {
            let wish = Wish::tls13(&site.material).groups(&[group]);
            let mut session = wish.connect(site.address(port)).unwrap();
            assert_eq!(session.group(), group);
            session.echo(name.as_bytes()).unwrap();
            assert_eq!(site.handshake(session.port()).value("group"), name);
        }
        // The one that is off by default.
        let group = NamedGroup::Unknown(0x11ed);
        let wish = Wish::tls13(&site.material).groups(&[group]);
        let alert = alert_received(wish.connect(site.address(port)));
        assert_eq!(alert, AlertDescription::HandshakeFailure);
    }
    for port in [port::HYBRID, directed(port::HYBRID)] {
        // It is asked to retry.
        let groups = [NamedGroup::X25519, NamedGroup::Unknown(0x11ed)];
        let wish = Wish::tls13(&site.material).groups(&groups);
        let mut session = wish.connect(site.address(port)).unwrap();
        assert_eq!(session.group(), groups[1]);
        session.echo(b"ML-KEM-1024").unwrap();
    }
}

#[test]
fn r05_a_client_that_guesses_another_group_is_asked_to_retry() {
    let site = system();
    let groups = [NamedGroup::X25519, NamedGroup::secp384r1];
    let wish = Wish::tls13(&site.material).groups(&groups);
    let mut session = wish.connect(site.address(port::ONE_CHOICE)).unwrap();
    assert_eq!(session.group(), NamedGroup::secp384r1);
    let suite = CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
    assert_eq!(session.suite(), suite);
    assert!(session.ask("/").unwrap().ends_with(PAGE));
}

#[test]
fn r06_a_version_that_the_listener_does_not_allow_is_refused() {
    let site = system();
    let wish = Wish::tls12(&site.material);
    let alert = alert_received(wish.connect(site.address(port::TLS13_ONLY)));
    assert_eq!(alert, AlertDescription::ProtocolVersion);
    let wish = Wish::tls13(&site.material);
    let alert = alert_received(wish.connect(site.address(port::TLS12_ONLY)));
    assert_eq!(alert, AlertDescription::ProtocolVersion);
    let mut session = Wish::any(&site.material)
        .connect(site.address(port::TLS12_ONLY))
        .unwrap();
    assert_eq!(session.version(), "TLSv1.2");
    session.echo(b"the other way round").unwrap();
}

#[test]
fn r06_a_suite_that_the_listener_does_not_allow_is_refused() {
    let site = system();
    let wish = Wish::tls13(&site.material).suite(CipherSuite::TLS13_AES_128_GCM_SHA256);
    let alert = alert_received(wish.connect(site.address(port::ONE_CHOICE)));
    assert_eq!(alert, AlertDescription::HandshakeFailure);
}

#[test]
fn r05_alpn_is_agreed_on_or_refused() {
    let site = system();
    let wish = Wish::any(&site.material).alpn(&["h2", "http/1.1"]);
    let session = wish.connect(site.address(port::HTTP)).unwrap();
    assert_eq!(session.0.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(site.handshake(session.port()).value("alpn"), "http/1.1");
    let wish = Wish::any(&site.material).alpn(&["h2"]);
    let alert = alert_received(wish.connect(site.address(port::HTTP)));
    assert_eq!(alert, AlertDescription::NoApplicationProtocol);
}

#[test]
fn r07_the_name_asked_for_chooses_the_key_ring() {
    let site = system();
    for (name, ring) in [
        ("alpha.test", "alpha"),
        ("beta.test", "beta"),
        ("localhost", "p256"),
    ] {
        let wish = Wish::any(&site.material).name(name);
        let session = wish.connect(site.address(port::NAMES)).unwrap();
        let shown = &session.0.conn.peer_certificates().unwrap()[0];
        assert_eq!(*shown, site.material.chain(ring)[0]);
        assert_eq!(site.handshake(session.port()).value("keyring"), ring);
    }
}

#[test]
fn r07_clients_are_authenticated_by_the_trust_anchors_of_the_key_ring() {
    let site = system();
    let fingerprint = sha256_hex(&site.material.chain("client")[0]);
    for listener in [port::CERTIFICATE_REQUIRED, port::CERTIFICATE_REQUESTED] {
        for wish in [Wish::tls13(&site.material), Wish::tls12(&site.material)] {
            let wish = wish.certificate("client");
            let mut session = wish.connect(site.address(listener)).unwrap();
            assert!(session.ask("/").unwrap().ends_with(PAGE));
            let handshake = site.handshake(session.port());
            assert_eq!(handshake.value("peer"), fingerprint);
        }
    }
}

#[test]
fn r07_a_client_without_a_certificate_passes_where_it_is_only_requested() {
    let site = system();
    for wish in [Wish::tls13(&site.material), Wish::tls12(&site.material)] {
        let mut session = wish
            .connect(site.address(port::CERTIFICATE_REQUESTED))
            .unwrap();
        assert!(session.ask("/").unwrap().ends_with(PAGE));
    }
}

#[test]
fn r07_a_client_with_no_certificate_or_a_stranger_s_reaches_nothing() {
    let site = system();
    let address = site.address(port::CERTIFICATE_REQUIRED);
    for version in [Wish::tls13, Wish::tls12] {
        let alone = version(&site.material);
        let stranger = version(&site.material).certificate("stranger");
        for (wish, alerts) in [
            (
                alone,
                [
                    AlertDescription::CertificateRequired,
                    AlertDescription::HandshakeFailure,
                ],
            ),
            (
                stranger,
                [
                    AlertDescription::UnknownCA,
                    AlertDescription::BadCertificate,
                ],
            ),
        ] {
            // A client of TLS 1.3 gets the alert with the first answer.
            let outcome = wish.connect(address).and_then(|mut s| s.ask("/"));
            let alert = alert_received(outcome);
            assert!(alerts.contains(&alert), "{alert:?}");
        }
    }
}

#[test]
fn r08_handshake_segments_are_short_and_numbered_without_a_gap() {
    let site = system();
    for wish in [Wish::tls13(&site.material), Wish::tls12(&site.material)] {
        let mut session = wish.connect(site.address(port::SMALL_SEGMENTS)).unwrap();
        session.echo(b"x").unwrap();
        let peer = session.port();
        let (end, _) = site.handshake(peer).both::<u32>("tcp");
        let file = site.guest.capture().unwrap();
        let segments = capture::connection(file, port::SMALL_SEGMENTS, peer);
        let sent = || segments.iter().filter(|segment| segment.from_guest);
        let syn = sent().find(|segment| segment.flags & SYN != 0).unwrap();
        let first = syn.sequence.wrapping_add(1);
        let whole = end.wrapping_sub(first);
        let mut next = 0;
        for segment in sent().filter(|segment| !segment.payload.is_empty()) {
            let at = segment.sequence.wrapping_sub(first);
            if at >= whole {
                continue;
            }
            assert!(segment.payload.len() <= SMALL_SEGMENT, "{segment:?}");
            assert!(at <= next, "a gap before {segment:?}");
            next = next.max(at + segment.payload.len() as u32);
        }
        assert_eq!(next, whole);
        assert!(whole as usize > 5 * SMALL_SEGMENT);
    }
}
