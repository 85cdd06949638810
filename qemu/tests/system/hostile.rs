//! Clients that take all that there is and give nothing: the others are served, and no
//! domain is restarted.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ipc::stats;
use ipc::stats::gateway as counters;
use rustls::crypto::ring;
use rustls::{ServerConfig, ServerConnection, Stream};

use crate::harness::capture;
use crate::harness::client::{Wish, tcp};
use crate::harness::site::{Site, port};
use crate::harness::{own, system};

/// Quiet connections, more than any table holds.
const FLOOD: usize = 1000;
/// Of those, so many are there at the same moment at the least: each stays ten seconds.
const HELD_AT_ONCE: u64 = 200;
/// Unfinished requests: as many sessions as one address may have, but for a few.
const UNFINISHED: usize = 515;
/// Flags of a TCP segment (RFC 9293 §3.1).
const FIN: u8 = 1;
const RST: u8 = 4;
/// QEMU's own queue of new connections is one place long.
const PAUSE: Duration = Duration::from_millis(20);

#[track_caller]
fn assert_served(site: &Site) {
    let mut session = Wish::any(&site.material)
        .connect(site.address(port::ECHO))
        .unwrap();
    assert_eq!(session.echo(b"honest").unwrap(), b"honest");
}

fn silent(site: &Site) -> Option<TcpStream> {
    thread::sleep(PAUSE);
    // One that is refused at once counts as a quiet one too.
    tcp(site.address(port::ECHO)).ok()
}

#[test]
fn unfinished_requests_of_every_session_harm_nobody() {
    let site = own("unfinished");
    let head = [&b"GET / HTTP/1.1\r\nx: "[..], &[b'a'; 8000]].concat();
    let held: Vec<_> = (0..UNFINISHED)
        .map(|_| {
            let wish = Wish::any(&site.material);
            let mut session = wish.connect(site.address(port::PATIENT)).unwrap();
            session.0.write_all(&head).unwrap();
            session.0.flush().unwrap();
            session
        })
        .collect();
    let before = site.counters().unwrap();
    assert!(before.of(counters::SESSIONS) >= UNFINISHED as u64);
    for _ in 0..5 {
        assert_served(&site);
    }
    let after = site.counters().unwrap();
    assert_eq!(after.of(counters::HEAP), before.of(counters::HEAP));
    assert_eq!(after.of(counters::RESTARTS), 0);
    drop(held);
    site.assert_unharmed();
}

#[test]
fn an_honest_client_is_served_while_a_thousand_silent_connections_are_held_against_it() {
    let site = own("silent");
    let held: Vec<_> = (0..FLOOD).map(|_| silent(&site)).collect();
    for _ in 0..5 {
        assert_served(&site);
    }
    // They are in nobody's way, and nobody was evicted: but for those whose time was over
    // they are all there.
    let there = site.counters().unwrap().of(stats::netstack::CONNECTIONS);
    assert!(there > HELD_AT_ONCE, "{there}");
    site.assert_unharmed();
    drop(held);
    // The limits of an address are those of the listener that it connects to. A client
    // that sends nothing would be evicted for the next.
    let few = (0..2).map(|_| {
        let wish = Wish::any(&site.material);
        wish.connect(site.address(port::FEW)).unwrap()
    });
    let few: Vec<_> = few.collect();
    for _ in 0..20 {
        let mut refused = tcp(site.address(port::FEW)).unwrap();
        let ended = refused.read(&mut [0; 1]).map_err(|error| error.kind());
        assert!(
            matches!(ended, Ok(0) | Err(ErrorKind::ConnectionReset)),
            "{ended:?}"
        );
    }
    let away = site.counters().unwrap().of(counters::AWAY_CONNECTIONS);
    assert!(away >= 20, "{away}");
    let told = |line: &String| line.starts_with("gateway: turned away at-");
    let lines = site.said_since(qemu::log::Cursor::default());
    let told = lines.iter().filter(|line| told(line)).count();
    // One a second for each reason, however many there were.
    assert!(told > 0 && (told as u64) < away, "{told} of {away}");
    assert_served(&site);
    drop(few);
}

/// The flood ends with this value, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn honest_clients_are_served_while_silent_connections_never_stop_coming() {
    let site = own("stream");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _flood = Ends(&is_over);
        scope.spawn(|| {
            let mut held = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                held.push(silent(&site));
            }
        });
        // Until as many leave as come.
        thread::sleep(Duration::from_secs(20));
        let there = site.counters().unwrap().of(stats::netstack::CONNECTIONS);
        assert!(there > HELD_AT_ONCE, "{there}");
        for _ in 0..10 {
            assert_served(&site);
        }
    });
    site.assert_unharmed();
}

#[test]
fn all_that_a_backend_sent_arrives_although_it_ends_without_close_notify() {
    const LENGTH: usize = 24_000;
    let site = system();
    let answer: Vec<u8> = (0..LENGTH).map(|at| at as u8).collect();
    for listener in [port::HELD, port::directed(port::HELD)] {
        let mut client = tcp(site.address(listener)).unwrap();
        client.write_all(b"?").unwrap();
        let (mut socket, _) = site.held.accept().unwrap();
        let mut connection = ServerConnection::new(Arc::new(backend(&site))).unwrap();
        let mut stream = Stream::new(&mut connection, &mut socket);
        stream.read_exact(&mut [0]).unwrap();
        stream.write_all(&answer).unwrap();
        stream.flush().unwrap();
        drop(socket);
        let mut received = Vec::new();
        let mut buffer = [0; 1000];
        loop {
            // A reader that takes its time: what it has not taken is on the way.
            thread::sleep(Duration::from_millis(10));
            match client.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => received.extend_from_slice(&buffer[..count]),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                    break;
                }
            }
        }
        assert_eq!(received.len(), LENGTH, "at {listener}");
        assert!(received == answer);
        // QEMU makes a clean end of a reset; the guest does not.
        let peer = client.local_addr().unwrap().port();
        let segments = capture::connection(site.guest.capture().unwrap(), listener, peer);
        let flags = segments.iter().filter(|segment| segment.from_guest);
        let flags = flags.fold(0, |flags, segment| flags | segment.flags);
        assert_eq!(flags & (FIN | RST), RST, "no clean end");
    }
}

fn backend(site: &Site) -> ServerConfig {
    let label = site.upstreams[0].label;
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(site.material.chain(label), site.material.key(label))
        .unwrap()
}

#[test]
fn what_is_captured_is_for_its_owner_alone() {
    let site = system();
    let file = site.guest.capture().unwrap();
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
