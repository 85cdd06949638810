//! The gateway as a client of its backends: TLS out, with what it accepts and what it
//! refuses (R6, R7, R17, R22 in autonomous mode).

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::harness::client::{Wish, tcp};
use crate::harness::evidence::{Handshake, sha256_hex};
use crate::harness::site::{Site, port};
use crate::harness::system;

const REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";

/// Asks without TLS; the answer, or nothing where the gateway closed.
pub(crate) fn ask(site: &Site, port: u16) -> String {
    let mut stream: TcpStream = tcp(site.address(port)).unwrap();
    stream.write_all(REQUEST).unwrap();
    let mut answer = Vec::new();
    // A reset is an answer too: an empty one.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn r07_a_session_is_encrypted_again_to_its_backend() {
    let site = system();
    let upstream = &site.upstreams[0];
    let start = site.mark();
    for wish in [Wish::tls13(&site.material), Wish::tls12(&site.material)] {
        let mut session = wish.connect(site.address(port::REENCRYPTED)).unwrap();
        let answer = session.ask("/").unwrap();
        assert!(answer.contains("s_server"), "{answer}");
    }
    let at_upstream = |h: &Handshake| h.rest.contains(" role=client ");
    let made = site.handshakes_at(start, port::REENCRYPTED);
    let made = made.into_iter().find(at_upstream).unwrap();
    assert_eq!(made.value("role"), "client");
    assert_eq!(made.agreed()[2], "autonomous");
    assert_eq!(made.value("server_name"), "localhost");
    let fingerprint = sha256_hex(&site.material.chain(upstream.label)[0]);
    assert_eq!(made.value("peer"), fingerprint);
    assert_eq!(made.value("keyring"), "backends");
}

#[test]
fn r17_a_backend_that_can_not_be_believed_is_refused_with_the_alert_for_it() {
    let site = system();
    let (good, expired) = (site.upstreams[0].port, site.upstreams[6].port);
    let revoked = site.upstreams[8].port;
    for (listener, upstream, alerts, reason) in [
        (
            port::WRONG_NAME,
            good,
            ["bad_certificate", "certificate_unknown"],
            "name",
        ),
        (
            port::EXPIRED,
            expired,
            ["certificate_expired"; 2],
            "expired",
        ),
        (
            port::REVOKED,
            revoked,
            ["certificate_revoked"; 2],
            "revoked",
        ),
        (port::UNKNOWN_AUTHORITY, good, ["unknown_ca"; 2], "issuer"),
    ] {
        let start = site.mark();
        assert_eq!(ask(&site, listener), "", "{listener}");
        let made = site.handshake_at(start, listener).unwrap();
        assert!(!made.done, "{listener}: {made:?}");
        let told =
            |alert| format!("peer: alert sent: {alert} role=client reason=certificate_{reason}");
        let is_one = alerts.iter().any(|alert| made.rest == told(*alert));
        assert!(is_one, "{listener} at {upstream}: {made:?}");
    }
}

#[test]
fn a_backend_without_tls_is_not_talked_to_in_plaintext() {
    let site = system();
    // It echoes: what came back would be our own request.
    assert_eq!(ask(&site, port::NOT_TLS), "");
}

#[test]
fn plaintext_is_carried_over_tls_in_both_directions_to_its_end() {
    let site = system();
    let mut stream = tcp(site.address(port::SENT)).unwrap();
    stream.write_all(REQUEST).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    // Ends without an error only after the backend's own close_notify.
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.trim_end().ends_with("</html>") || answer.contains("</pre>"),
        "{answer}"
    );
}
