//! Bad input gets the alert that its RFC names, or a close, within the
//! deadline; the next good client is served, and no domain is harmed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ipc::stats;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::crypto::ring as provider;
use rustls::{ClientConfig, ClientConnection};

use crate::harness::backend::PAGE;
use crate::harness::client::{Ending, Wish, ending, tcp};
use crate::harness::material::Material;
use crate::harness::site::{HURRY, Site, port};
use crate::harness::{PATIENCE, alone, system};

// Alerts (RFC 8446 §6).
const UNEXPECTED_MESSAGE: u8 = 10;
const RECORD_OVERFLOW: u8 = 22;
const ILLEGAL_PARAMETER: u8 = 47;
const DECODE_ERROR: u8 = 50;
const PROTOCOL_VERSION: u8 = 70;
const INTERNAL_ERROR: u8 = 80;

/// The next good client is served, and nothing was stopped.
#[track_caller]
fn assert_serving(site: &Site) {
    let wish = Wish::any(&site.material);
    let mut session = wish.connect(site.address(port::HTTP)).unwrap();
    assert!(session.ask("/").unwrap().ends_with(PAGE));
    site.assert_unharmed();
}

/// Sends `bytes` and says how the server ends it.
#[track_caller]
fn answer_to(site: &Site, bytes: &[u8]) -> Ending {
    let mut stream = tcp(site.address(port::HURRIED)).unwrap();
    // The server may have closed before all is written.
    let _ = stream.write_all(bytes);
    ending(&mut stream).unwrap()
}

/// A good ClientHello, as records.
pub(crate) fn client_hello(material: &Material) -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(material.roots())
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut bytes).unwrap();
    }
    bytes
}

#[test]
fn random_bytes_are_refused() {
    let site = system();
    let random = SystemRandom::new();
    for _ in 0..20 {
        let mut bytes = [0; 600];
        random.fill(&mut bytes).unwrap();
        // Whatever it is taken for, it does not succeed.
        let ending = answer_to(&site, &bytes);
        assert_ne!(ending, Ending::Alert(INTERNAL_ERROR));
    }
    assert_serving(&site);
}

#[test]
fn a_client_hello_that_is_cut_off_is_waited_for_until_the_deadline() {
    let site = system();
    let hello = client_hello(&site.material);
    let mut stream = tcp(site.address(port::HURRIED)).unwrap();
    stream.write_all(&hello[..hello.len() / 2]).unwrap();
    let started = Instant::now();
    ending(&mut stream).unwrap();
    let waited = started.elapsed();
    assert!(waited > HURRY / 2, "given up after {waited:?}");
    assert!(waited < HURRY + Duration::from_secs(10), "{waited:?}");
    assert_serving(&site);
}

/// The beginning of a connection that no server goes on with, and the alerts
/// that fit.
pub(crate) struct Beginning {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) alerts: &'static [u8],
}

impl Beginning {
    /// Fails the test unless `ending` fits.
    #[track_caller]
    pub(crate) fn judge(&self, ending: &Ending) {
        let fits = match ending {
            Ending::Alert(alert) => self.alerts.contains(alert),
            Ending::Closed => false,
        };
        assert!(fits, "{}: {ending:?}", self.name);
    }
}

/// All of them, from a good ClientHello to corrupt.
pub(crate) fn beginnings(hello: &[u8]) -> Vec<Beginning> {
    let mut wrong_length = hello.to_vec();
    // After record header (5), message header (4), version (2) and random
    // (32) stands the length of the session id.
    wrong_length[43] = 200;
    let mut too_long = vec![22, 3, 1, 0xff, 0xff];
    too_long.resize(5 + 0xffff, 0);
    // TLS 1.1: version, random, no session id, one suite, no compression, and
    // the extension signature_algorithms.
    let mut old = vec![3, 2];
    old.extend([7; 32]);
    old.extend([0, 0, 2, 0xc0, 0x2b, 1, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    let length = old.len() as u8;
    let header = [22, 3, 1, 0, length + 4, 1, 0, 0, length];
    let beginning = |name, bytes: &[u8], alerts| Beginning {
        name,
        bytes: bytes.to_vec(),
        alerts,
    };
    vec![
        beginning(
            "plain HTTP",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            &[
                UNEXPECTED_MESSAGE,
                RECORD_OVERFLOW,
                DECODE_ERROR,
                PROTOCOL_VERSION,
            ],
        ),
        beginning(
            "a wrong length inside the ClientHello",
            &wrong_length,
            &[DECODE_ERROR, ILLEGAL_PARAMETER],
        ),
        beginning(
            "a record longer than any may be",
            &too_long,
            &[RECORD_OVERFLOW, DECODE_ERROR],
        ),
        beginning(
            "TLS 1.1",
            &[&header[..], &old].concat(),
            &[PROTOCOL_VERSION],
        ),
        beginning(
            "a Finished message",
            &[22, 3, 3, 0, 4, 20, 0, 0, 0],
            &[UNEXPECTED_MESSAGE, DECODE_ERROR],
        ),
        beginning(
            "application data",
            &[23, 3, 3, 0, 1, 0],
            &[UNEXPECTED_MESSAGE],
        ),
    ]
}

#[test]
fn what_is_no_client_hello_gets_the_alert_of_its_rfc() {
    let site = system();
    for beginning in beginnings(&client_hello(&site.material)) {
        beginning.judge(&answer_to(&site, &beginning.bytes));
        assert_serving(&site);
    }
}

#[test]
fn a_client_that_leaves_at_any_step_disturbs_nobody() {
    let site = system();
    let hello = client_hello(&site.material);
    let leave = |bytes: &[u8], answer: usize, how: Shutdown| {
        let mut stream = tcp(site.address(port::ECHO)).unwrap();
        stream.write_all(bytes).unwrap();
        stream.read_exact(&mut vec![0; answer]).unwrap();
        stream.shutdown(how).unwrap();
    };
    for how in [Shutdown::Both, Shutdown::Write] {
        // Before a word, within the first record's header, within the
        // ClientHello, after it, and with part of the answer read.
        leave(&[], 0, how);
        leave(&hello[..3], 0, how);
        leave(&hello[..hello.len() - 1], 0, how);
        leave(&hello, 0, how);
        leave(&hello, 100, how);
    }
    // With the handshake done.
    drop(Wish::any(&site.material).connect(site.address(port::ECHO)));
    assert_serving(&site);
}

#[test]
fn a_client_that_dawdles_is_cut_off_at_the_deadline() {
    let site = system();
    let hello = client_hello(&site.material);
    let mut stream = tcp(site.address(port::HURRIED)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let started = Instant::now();
    for byte in hello {
        if stream.write_all(&[byte]).is_err() || is_closed(&mut stream) {
            break;
        }
        assert!(started.elapsed() < HURRY + Duration::from_secs(10));
    }
    assert!(started.elapsed() > HURRY / 2);
    assert_serving(&site);
}

/// Waits for the read timeout at most.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(count) => count == 0,
        Err(error) => !matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ),
    }
}

#[test]
fn a_record_that_was_changed_ends_the_session() {
    let site = system();
    for wish in [Wish::tls13(&site.material), Wish::tls12(&site.material)] {
        let mut session = wish.connect(site.address(port::ECHO)).unwrap();
        session.echo(b"good").unwrap();
        // An application data record that is not sealed under any key.
        let mut record = vec![23, 3, 3, 0, 64];
        record.resize(5 + 64, 0xa5);
        session.0.sock.write_all(&record).unwrap();
        let alert = crate::harness::client::alert_received(session.0.read(&mut [0; 16]));
        assert_eq!(alert, rustls::AlertDescription::BadRecordMac);
    }
    assert_serving(&site);
}

#[test]
fn two_hundred_silent_connections_leave_room_for_a_good_one() {
    let site = alone();
    let address = site.address(port::HURRIED);
    // QEMU's queue of new connections is one place long.
    let silent = (0..200).map(|_| {
        thread::sleep(Duration::from_millis(8));
        tcp(address).unwrap()
    });
    let silent: Vec<_> = silent.collect();
    assert_serving(&site);
    // All of them are gone at their deadline.
    let deadline = Instant::now() + PATIENCE;
    for mut stream in silent {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        ending(&mut stream).unwrap();
    }
    assert!(Instant::now() < deadline);
    assert_serving(&site);
}

#[test]
fn three_hundred_clients_at_a_byte_a_second_wait_and_good_ones_are_served() {
    let site = alone();
    let hello = client_hello(&site.material);
    // The deadline there is that of a listener that says nothing of it.
    let address = site.address(port::HTTP);
    let deadline = Duration::from_secs(10);
    let connect = |_| {
        // QEMU's user network keeps one connection waiting: see `load`.
        thread::sleep(Duration::from_millis(30));
        tcp(address).unwrap()
    };
    let mut slow: Vec<_> = (0..300).map(connect).collect();
    // They wait in the network stack's table, where there is room for them.
    let there = site.counters().unwrap().of(stats::netstack::CONNECTIONS);
    assert!(there > 200, "{there}");
    for byte in hello.iter().take(3) {
        let second = Instant::now() + Duration::from_secs(1);
        for stream in &mut slow {
            // Those after their deadline are closed by now.
            let _ = stream.write_all(&[*byte]);
        }
        let asked = Instant::now();
        assert_serving(&site);
        assert!(asked.elapsed() < deadline + Duration::from_secs(10));
        thread::sleep(second.saturating_duration_since(Instant::now()));
    }
    for mut stream in slow {
        ending(&mut stream).unwrap();
    }
    assert_serving(&site);
}

#[test]
fn garbage_on_many_connections_at_once_does_not_lose_a_good_one() {
    let site = system();
    thread::scope(|scope| {
        for number in 0..40u8 {
            let site = &site;
            // QEMU's user network keeps one connection waiting: see `load`.
            thread::sleep(Duration::from_millis(30));
            scope.spawn(move || {
                if number % 4 == 0 {
                    assert_serving(site);
                } else {
                    answer_to(site, &[number; 2000]);
                }
            });
        }
    });
    assert_serving(&site);
}
