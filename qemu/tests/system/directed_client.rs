//! Directed mode in the client's role on the booted image: TLS to backends,
//! driven by the shim (R3, R17); [`crate::matrix`] has the cells.

use crate::harness::client::Wish;
use crate::harness::evidence::Handshake;
use crate::harness::site::port::{self, directed};
use crate::harness::system;
use crate::upstream::ask;

#[test]
fn r03_a_session_is_directed_on_both_sides_of_the_gateway() {
    let site = system();
    let upstream = &site.upstreams[0];
    let start = site.mark();
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
    for (listener, alert, reason) in [
        (port::WRONG_NAME, "bad_certificate", "name"),
        (port::EXPIRED, "certificate_expired", "expired"),
        (port::REVOKED, "certificate_revoked", "revoked"),
        (port::UNKNOWN_AUTHORITY, "unknown_ca", "issuer"),
    ] {
        let listener = directed(listener);
        let start = site.mark();
        assert_eq!(ask(&site, listener), "", "{listener}");
        let made = site.handshake_at(start, listener).unwrap();
        assert!(!made.done, "{listener}: {made:?}");
        let told = format!("peer: alert sent: {alert} role=client reason=certificate_{reason}");
        assert_eq!(made.rest, told);
    }
}
