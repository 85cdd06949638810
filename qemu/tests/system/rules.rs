//! Rules of a listener: by address, name and ALPN (R5, R6, R7).

use std::io::Write;
use std::time::Instant;

use rustls::AlertDescription;

use crate::harness::client::{Ending, Wish, alert_received, ending, tcp};
use crate::harness::site::{HURRY, port};
use crate::harness::system;

#[test]
fn r05_the_first_rule_that_matches_says_what_the_handshake_uses() {
    let site = system();
    let address = site.address(port::RULES);
    for (wish, ring, version) in [
        (
            Wish::any(&site.material).name("alpha.test"),
            "alpha",
            "TLSv1.3",
        ),
        // The same in records of a few bytes.
        (
            Wish::any(&site.material).name("alpha.test").fragment(40),
            "alpha",
            "TLSv1.3",
        ),
        (
            Wish::any(&site.material).name("beta.test").alpn(&["y"]),
            "beta",
            "TLSv1.2",
        ),
    ] {
        let mut session = wish.connect(address).unwrap();
        assert_eq!(session.echo(b"by a rule").unwrap(), b"by a rule");
        let made = site.handshake(session.port());
        assert_eq!(made.value("keyring"), ring);
        assert_eq!(made.agreed()[0], version);
    }
}

#[test]
fn r06_what_no_rule_matches_is_refused_with_the_alert_for_it() {
    let site = system();
    let address = site.address(port::RULES);
    let any = || Wish::any(&site.material);
    for (wish, alert) in [
        (any(), AlertDescription::UnrecognisedName),
        (any().name("c.b.test"), AlertDescription::UnrecognisedName),
        (
            any().name("beta.test").alpn(&["z"]),
            AlertDescription::NoApplicationProtocol,
        ),
        // A rule matches, and its versions don't.
        (
            Wish::tls12(&site.material).name("alpha.test"),
            AlertDescription::ProtocolVersion,
        ),
    ] {
        assert_eq!(alert_received(wish.connect(address)), alert);
    }
}

#[test]
fn a_client_from_elsewhere_is_refused_without_a_word() {
    let site = system();
    let start = site.mark();
    let mut stream = tcp(site.address(port::ELSEWHERE)).unwrap();
    // It is not offered before it has sent something.
    stream.write_all(b"hello").unwrap();
    assert_eq!(ending(&mut stream).unwrap(), Ending::Closed);
    let made = site.handshake_at(start, port::ELSEWHERE).unwrap();
    assert_eq!(
        (made.done, &*made.rest),
        (false, "policy: NoRule reason=no_rule")
    );
}

#[test]
fn what_is_no_hello_is_refused_and_silence_is_cut_off() {
    let site = system();
    let mut stream = tcp(site.address(port::RULES)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(ending(&mut stream).unwrap(), Ending::Alert(50));
    let began = Instant::now();
    let mut stream = tcp(site.address(port::RULES)).unwrap();
    stream.write_all(&[22, 3, 1, 0]).unwrap();
    assert_eq!(ending(&mut stream).unwrap(), Ending::Closed);
    assert!(began.elapsed() >= HURRY / 2, "{:?}", began.elapsed());
}
