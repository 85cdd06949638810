//! Much at once, much in a row, much data.

use std::io::{BufReader, Read, Write};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::backend::{PAGE, Pattern, UP, sha256};
use crate::harness::bulk::arrives_unchanged_each_way;
use crate::harness::client::{Wish, tcp};
use crate::harness::site::{Site, port};
use crate::harness::{alone, own, system};

const BULK: u64 = 64 << 20;
/// TLS 1.3 allows no more in a record (RFC 8446 §5.1).
const LARGEST: usize = 1 << 14;
/// The record's header, which rustls counts in.
const HEADER: usize = 5;

#[test]
fn sixty_four_mebibytes_arrive_unchanged_each_way() {
    arrives_unchanged_each_way(&system(), BULK);
}

#[test]
fn data_arrives_unchanged_in_records_of_every_size() {
    let site = system();
    let mut message = Vec::new();
    Pattern::new(40_000).read_to_end(&mut message).unwrap();
    // With its header 32, the least that rustls takes; primes meet every
    // alignment.
    for size in [27, 61, 127, 509, 1024, 1447, 4093, 16383, LARGEST] {
        for wish in [Wish::tls13(&site.material), Wish::tls12(&site.material)] {
            let wish = wish.fragment(size + HEADER);
            let mut session = wish.connect(site.address(port::ECHO)).unwrap();
            let answer = session.echo(&message).unwrap();
            assert!(answer == message, "records of {size} bytes");
        }
    }
}

#[test]
fn a_record_of_each_size_from_one_byte_to_the_largest_arrives_unchanged() {
    let site = system();
    let sum = LARGEST * (LARGEST + 1) / 2;
    let expected = sha256(&mut Pattern::new(sum as u64)).unwrap();
    let mut pattern = BufReader::new(Pattern::new(sum as u64));
    let mut session = Wish::tls13(&site.material)
        .connect(site.address(port::BULK))
        .unwrap();
    session.0.write_all(UP.as_bytes()).unwrap();
    session.0.flush().unwrap();
    let mut record = Vec::new();
    for size in 1..=LARGEST {
        record.resize(size, 0);
        pattern.read_exact(&mut record).unwrap();
        // One write is one record; nothing waits to be joined with it.
        session.0.write_all(&record).unwrap();
        session.0.flush().unwrap();
    }
    session.end().unwrap();
    let mut answer = String::new();
    session.0.read_to_string(&mut answer).unwrap();
    assert_eq!(answer.trim(), expected);
}

#[test]
fn a_thousand_handshakes_in_a_row_all_succeed() {
    // In a machine of its own: a thousand lines in the shared log would make
    // ports of this machine come twice there.
    let site = own("thousand");
    for number in 0..1000 {
        let wish = match number % 2 {
            0 => Wish::tls13(&site.material),
            _ => Wish::tls12(&site.material),
        };
        let session = wish.connect(site.address(port::ECHO));
        let mut session = session.unwrap_or_else(|error| panic!("handshake {number}: {error}"));
        session.echo(&[1]).unwrap();
    }
}

#[test]
fn sixty_four_handshakes_at_once_all_succeed() {
    const COUNT: usize = 64;
    let site = alone();
    // QEMU's own queue of new connections is one place long, and what does not
    // fit in it is lost: connections come one by one, ClientHellos together.
    let address = site.address(port::HTTP);
    let connect = |_| {
        thread::sleep(Duration::from_millis(30));
        tcp(address).unwrap()
    };
    let streams: Vec<_> = (0..COUNT).map(connect).collect();
    let start = Barrier::new(COUNT);
    let served = AtomicUsize::new(0);
    thread::scope(|scope| {
        for stream in streams {
            scope.spawn(|| {
                start.wait();
                let mut session = Wish::any(&site.material).over(stream).unwrap();
                assert!(session.ask("/").unwrap().ends_with(PAGE));
                served.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(served.into_inner(), COUNT);
}

#[test]
fn fifteen_hundred_sessions_stay_open_while_new_ones_are_served() {
    let site = own("held");
    let mut held = Vec::new();
    for _ in 0..1500 {
        let wish = Wish::any(&site.material);
        held.push(wish.connect(site.address(port::ECHO)).unwrap());
    }
    for _ in 0..20 {
        let wish = Wish::any(&site.material);
        let mut session = wish.connect(site.address(port::HTTP)).unwrap();
        assert!(session.ask("/").unwrap().ends_with(PAGE));
    }
    for session in &mut held {
        assert_eq!(session.echo(b"alive").unwrap(), b"alive");
    }
    // All at once: more than there are blocks to lend for.
    let long = vec![b'x'; 8 * 1024];
    thread::scope(|scope| {
        for part in held.chunks_mut(100) {
            scope.spawn(|| {
                for session in part {
                    assert_eq!(session.echo(&long).unwrap(), long);
                }
            });
        }
    });
    site.assert_unharmed();
}

#[test]
fn a_slow_reader_stops_the_sender_and_nobody_else() {
    let site = alone();
    let count = BULK;
    let mut slow = Wish::any(&site.material)
        .connect(site.address(port::BULK))
        .unwrap();
    writeln!(slow.0, "down {count}").unwrap();
    slow.0.flush().unwrap();
    let settled = settled_bytes_down(&site);
    // What is on the way is in buffers of fixed size, here and there.
    assert!(settled < count / 2, "{settled} of {count} bytes were taken");
    let mut session = Wish::any(&site.material)
        .connect(site.address(port::HTTP))
        .unwrap();
    assert!(session.ask("/").unwrap().ends_with(PAGE));
    let expected = sha256(&mut Pattern::new(count)).unwrap();
    assert_eq!(sha256(&mut slow.0).unwrap(), expected);
}

/// How many bytes have gone from backends to clients since the first look,
/// once that has stopped growing.
fn settled_bytes_down(site: &Site) -> u64 {
    // Asking takes a few thousand bytes itself.
    const STILL: u64 = 64 * 1024;
    let read = || site.counters().unwrap().of(ipc::stats::gateway::BYTES_DOWN);
    let first = read();
    let mut last = first;
    let deadline = Instant::now() + crate::harness::PATIENCE;
    loop {
        thread::sleep(Duration::from_secs(1));
        let now = read();
        if now - last < STILL {
            return now - first;
        }
        assert!(Instant::now() < deadline, "the sender is not stopped");
        last = now;
    }
}
