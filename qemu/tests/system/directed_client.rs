//! Directed mode in the client's role on the booted image: TLS to backends,
//! driven by the shim (R12, R17, R22, R24, R26, R28).

use crate::harness::client::Wish;
use crate::harness::evidence::{Handshake, sha256_hex};
use crate::harness::site::port::{self, directed};
use crate::harness::site::{UPSTREAMS, sending_port};
use crate::harness::system;
use crate::harness::upstream::Program;
use crate::upstream::ask;

#[test]
fn r12_r17_r22_r24_r26_r28_pages_of_openssl_and_gnutls_backends_with_every_kind_of_key() {
    let site = system();
    for (place, (program, label)) in UPSTREAMS.iter().take(6).enumerate() {
        let fingerprint = sha256_hex(&site.material.chain(label)[0]);
        for is_tls13 in [false, true] {
            for has_certificate in [false, true] {
                let port = directed(sending_port(place, is_tls13, has_certificate));
                let start = site.guest.log().end();
                let answer = ask(&site, port);
                let case = format!("{program:?} {label} 1.3={is_tls13} shows={has_certificate}");
                let made = site.handshake_at(start, port).unwrap();
                assert!(made.done, "{case}: {made:?}");
                let version = if is_tls13 { "TLSv1.3" } else { "TLSv1.2" };
                assert_eq!(made.agreed()[0], version, "{case}");
                assert_eq!(made.agreed()[2], "directed", "{case}");
                assert_eq!(made.value("peer"), fingerprint, "{case}");
                assert!(answer.starts_with("HTTP/1.0 200"), "{case}: {answer}");
                if *program == Program::OpenSsl {
                    let is_seen = !answer.contains("no client certificate available");
                    assert_eq!(is_seen, has_certificate, "{case}");
                }
            }
        }
    }
}

#[test]
fn r03_a_session_is_directed_on_both_sides_of_the_gateway() {
    let site = system();
    let upstream = &site.upstreams[0];
    let start = site.guest.log().end();
    for wish in [Wish::tls13(&site.material), Wish::tls12(&site.material)] {
        let address = site.address(directed(port::REENCRYPTED));
        let mut session = wish.connect(address).unwrap();
        let answer = session.ask("/").unwrap();
        assert!(answer.contains("s_server"), "{answer}");
    }
    let at_upstream = |h: &Handshake| h.rest.contains(" role=client ");
    let made = site.handshakes_since(start, upstream.port);
    let made = made.into_iter().find(at_upstream).unwrap();
    assert_eq!(made.agreed()[2], "directed");
    assert_eq!(made.value("server_name"), "localhost");
    assert_eq!(made.value("keyring"), "backends");
}

#[test]
fn r17_a_backend_that_can_not_be_believed_is_refused_with_the_alert_for_it() {
    let site = system();
    for (listener, alert) in [
        (port::WRONG_NAME, "bad_certificate"),
        (port::EXPIRED, "certificate_expired"),
        (port::UNKNOWN_AUTHORITY, "unknown_ca"),
    ] {
        let listener = directed(listener);
        let start = site.guest.log().end();
        assert_eq!(ask(&site, listener), "", "{listener}");
        let made = site.handshake_at(start, listener).unwrap();
        assert!(!made.done, "{listener}: {made:?}");
        assert_eq!(made.rest, format!("peer: alert sent: {alert}"));
    }
}
