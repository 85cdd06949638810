//! Who starts a handshake, what comes of it, and what becomes of the session
//! (R1, R4, R9, R10, R32, R33).

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use ipc::stats;
use rustls::CipherSuite;

use crate::harness::backend::PAGE;
use crate::harness::capture;
use crate::harness::client::Wish;
use crate::harness::evidence::sha256_hex;
use crate::harness::site::port;
use crate::harness::{PATIENCE, alone, system};

const APPLICATION_DATA: u8 = 23;

#[test]
fn r01_every_handshake_was_started_by_the_shim_and_done_by_the_offload_component() {
    let site = alone();
    let before = site.counters().unwrap();
    let count = 5;
    for _ in 0..count {
        let mut session = Wish::any(&site.material)
            .connect(site.address(port::ECHO))
            .unwrap();
        session.echo(b"x").unwrap();
    }
    let after = site.counters().unwrap();
    // Asking for the counters is a session too.
    for counter in [
        stats::shim::STARTED,
        stats::offload::STARTED,
        stats::offload::FINISHED,
        stats::keystore::SIGNED,
    ] {
        let grown = after.of(counter) - before.of(counter);
        assert_eq!(grown, count + 1, "{}", counter.name);
    }
}

#[test]
fn r04_the_shim_does_not_run_between_start_and_completion() {
    let site = alone();
    // Other connections wake it too: wait for the last to be closed, and close
    // none here before the end.
    thread::sleep(Duration::from_secs(2));
    let mut held = Vec::new();
    for wish in [Wish::tls13(&site.material), Wish::tls12(&site.material)] {
        let mut session = wish.connect(site.address(port::ECHO)).unwrap();
        session.echo(b"x").unwrap();
        let handshake = site.handshake(session.port());
        assert_eq!(handshake.value("shim_wakeups"), "0", "{handshake:?}");
        assert_eq!(handshake.agreed()[2], "autonomous");
        held.push(session);
    }
}

#[test]
fn r09_a_handshake_completes_once_whether_it_succeeds_or_fails() {
    let site = system();
    let start = site.mark();
    let mut session = Wish::any(&site.material)
        .connect(site.address(port::ECHO))
        .unwrap();
    session.echo(b"x").unwrap();
    let good = session.port();
    assert!(site.handshake_since(start, good).done);
    let stream = crate::harness::client::tcp(site.address(port::ECHO)).unwrap();
    let bad = stream.local_addr().unwrap().port();
    // No hello at all is no handshake, and not each one is in the log.
    (&stream).write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    drop(stream);
    assert!(!site.handshake_since(start, bad).done);
    // A second completion would follow within the time of another handshake.
    let mut another = Wish::any(&site.material)
        .connect(site.address(port::ECHO))
        .unwrap();
    another.echo(b"x").unwrap();
    site.handshake_since(start, another.port());
    assert_eq!(site.handshakes_since(start, good).len(), 1);
    assert_eq!(site.handshakes_since(start, bad).len(), 1);
}

#[test]
fn r10_the_completion_tells_what_the_peer_saw() {
    let site = system();
    let mut identifiers = Vec::new();
    for (suite, name) in [
        (
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            "TLS_AES_128_GCM_SHA256",
        ),
        (
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
            "TLS_CHACHA20_POLY1305_SHA256",
        ),
        (
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        ),
        (
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ),
    ] {
        let wish = Wish::any(&site.material).suite(suite);
        let session = wish.connect(site.address(port::EXPOSED)).unwrap();
        let handshake = site.handshake(session.port());
        assert_eq!(handshake.agreed(), [session.version(), name, "autonomous"]);
        assert_eq!(handshake.value("keyring"), "p256");
        assert_eq!(handshake.value("server_name"), "localhost");
        identifiers.push(handshake.value("session").to_string());
        let (out, inward) = handshake.both::<String>("keys");
        let [sent_with, received_with] = session.keys();
        assert_eq!(out, sha256_hex(&sent_with)[..16], "{name}");
        assert_eq!(inward, sha256_hex(&received_with)[..16], "{name}");
    }
    identifiers.sort_unstable();
    identifiers.dedup();
    assert_eq!(identifiers.len(), 4, "a session's name is used twice");
}

#[test]
fn r10_keys_reach_the_application_where_expose_keys_says_so_and_nowhere_else() {
    let site = system();
    for (port, exposed) in [(port::EXPOSED, "yes"), (port::ECHO, "no")] {
        for wish in [Wish::tls13(&site.material), Wish::tls12(&site.material)] {
            let mut session = wish.connect(site.address(port)).unwrap();
            assert_eq!(session.echo(b"exposed?").unwrap(), b"exposed?");
            let handshake = site.handshake(session.port());
            assert_eq!(handshake.value("exposed"), exposed);
        }
    }
}

#[test]
fn r10_the_record_numbers_of_the_completion_are_those_of_the_wire() {
    let site = system();
    // In TLS 1.2 the Finished messages took number 0 (RFC 5246 §6.1); in
    // TLS 1.3 the application keys start at 0, and tickets may have gone out.
    let session = Wish::tls12(&site.material)
        .connect(site.address(port::ECHO))
        .unwrap();
    let handshake = site.handshake(session.port());
    assert_eq!(handshake.both::<u64>("sequence"), (1, 1));
    let session = Wish::tls13(&site.material)
        .connect(site.address(port::ECHO))
        .unwrap();
    let (_, inward) = site.handshake(session.port()).both::<u64>("sequence");
    assert_eq!(inward, 0);
}

#[test]
fn r32_the_first_protected_record_leaves_at_the_sequence_number_of_the_completion() {
    let site = system();
    for wish in [Wish::tls13(&site.material), Wish::tls12(&site.material)] {
        let mut session = wish.connect(site.address(port::ECHO)).unwrap();
        session.echo(b"numbered").unwrap();
        let peer = session.port();
        let (next, _) = site.handshake(peer).both::<u32>("tcp");
        let file = site.guest.capture().unwrap();
        let segments = capture::connection(file, port::ECHO, peer);
        let records = capture::records_from_guest(&segments);
        let at = records.iter().find(|record| record.sequence == next);
        let Some(record) = at else {
            panic!("no record begins at {next}: {records:?}");
        };
        assert_eq!(record.kind, APPLICATION_DATA, "{records:?}");
        let begins = |segment: &capture::Segment| segment.sequence == next;
        let own = segments.iter().filter(|segment| segment.from_guest);
        assert!(own.filter(|s| !s.payload.is_empty()).any(begins));
    }
}

#[test]
fn half_close_is_carried_through_both_ways() {
    let site = system();
    let message = vec![7; 100_000];
    for wish in [Wish::tls13(&site.material), Wish::tls12(&site.material)] {
        let mut session = wish.connect(site.address(port::ECHO)).unwrap();
        let mut received = Vec::new();
        session.0.write_all(&message).unwrap();
        session.end().unwrap();
        // Ends without an error only after the gateway's own close_notify.
        session.0.read_to_end(&mut received).unwrap();
        assert!(received == message, "{} bytes came back", received.len());
    }
}

#[test]
fn r33_a_key_update_in_mid_session_loses_nothing() {
    let site = system();
    let mut session = Wish::tls13(&site.material)
        .connect(site.address(port::ECHO))
        .unwrap();
    for round in 0..4u8 {
        let message = [round; 3000];
        assert_eq!(session.echo(&message).unwrap(), message);
        session.0.conn.refresh_traffic_keys().unwrap();
    }
    assert_eq!(session.echo(b"still there").unwrap(), b"still there");
}

#[test]
fn a_connection_cut_without_close_notify_is_counted_as_truncated() {
    let site = alone();
    let before = site.counters().unwrap().of(stats::record::TRUNCATED);
    let mut session = Wish::any(&site.material)
        .connect(site.address(port::ECHO))
        .unwrap();
    session.echo(b"x").unwrap();
    session.0.sock.shutdown(std::net::Shutdown::Write).unwrap();
    drop(session);
    let deadline = Instant::now() + PATIENCE;
    while site.counters().unwrap().of(stats::record::TRUNCATED) == before {
        assert!(Instant::now() < deadline, "not counted");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_backend_that_is_not_there_ends_the_session_and_nothing_else() {
    let site = system();
    let mut session = Wish::any(&site.material)
        .connect(site.address(port::NO_BACKEND))
        .unwrap();
    let mut received = Vec::new();
    // A clean end would tell the client that this was all there is.
    assert!(session.0.read_to_end(&mut received).is_err());
    assert!(received.is_empty());
    let mut session = Wish::any(&site.material)
        .connect(site.address(port::HTTP))
        .unwrap();
    assert!(session.ask("/").unwrap().ends_with(PAGE));
}
