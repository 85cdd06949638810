//! A domain that terminates is restarted; what it held is lost, and nothing else (C5).
//! `docs/faults.md` has the table that these tests follow.

use std::env;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use image::description::Restart;
use ipc::stats;

use crate::harness::PATIENCE;
use crate::harness::backend::{Pattern, sha256};
use crate::harness::breaker::{Breakage, Breaker};
use crate::harness::client::{Session, Wish};
use crate::harness::evidence::Counters;
use crate::harness::shipped;
use crate::harness::site::port::{self, directed};
use crate::harness::site::{Prepared, Site};

/// Clients at once, half of them sending and half receiving; half of each in directed mode.
const CLIENTS: usize = 8;
const TRANSFER: u64 = 1 << 20;
/// How often each domain is broken; `HANDOFF_BREAKS` overrides it.
const BREAKS: u32 = 3;
/// Bytes that a heap may have grown by: tables grow with the most that they held.
const SLACK: u64 = 64 * 1024;
/// Sockets that the network stack keeps for further connections, as in
/// `netstack-server`.
const SPARE: usize = 32;
/// No limit is met, and the delay does not grow.
const RESTART: Restart = Restart {
    limit: 8,
    window_ms: 100,
    delay_ms: 50,
    silence_ms: 1000,
};

/// Each domain, and whether sessions outlive it; those first that take least with them.
pub(crate) fn domains() -> impl Iterator<Item = (&'static str, bool)> {
    let survives = shipped::is_outlived_by_sessions;
    let mut domains: Vec<_> = shipped::domains().rev().map(|d| (d, survives(d))).collect();
    domains.sort_by_key(|(_, survives)| !survives);
    domains.into_iter()
}

fn site(name: &str) -> Site {
    Prepared::build_with(name, RESTART).unwrap().boot().unwrap()
}

/// What the clients of a load saw.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    /// Transfers that completed with the right bytes.
    whole: AtomicU32,
    /// Sessions that were cut off.
    cut: AtomicU32,
    /// Connections that did not become sessions.
    refused: AtomicU32,
    /// Transfers that closed in order with other bytes.
    wrong: AtomicU32,
}

impl Load {
    /// Runs `work` while [`CLIENTS`] clients move bytes.
    fn during<R>(site: &Site, work: impl FnOnce(&Self) -> R) -> (Self, R) {
        let load = Self::default();
        let hash = sha256(&mut Pattern::new(TRANSFER)).unwrap();
        let result = thread::scope(|scope| {
            for number in 0..CLIENTS {
                let (load, hash) = (&load, &hash);
                scope.spawn(move || {
                    // The accept queue of QEMU's own network is short.
                    thread::sleep(Duration::from_millis(40 * number as u64));
                    let port = match number / 2 % 2 == 0 {
                        true => port::BULK,
                        false => directed(port::BULK),
                    };
                    while !load.over.load(Ordering::Relaxed) {
                        load.transfer(site, port, number % 2 == 0, hash);
                    }
                });
            }
            // Also when the work fails.
            let _ends = Ends(&load.over);
            work(&load)
        });
        (load, result)
    }

    /// Waits until every client could have moved its bytes.
    fn goes_on(&self) {
        let (start, deadline) = (
            self.whole.load(Ordering::Relaxed),
            Instant::now() + PATIENCE,
        );
        while self.whole.load(Ordering::Relaxed) < start + CLIENTS as u32 {
            assert!(Instant::now() < deadline, "no client comes to its end");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn transfer(&self, site: &Site, port: u16, up: bool, hash: &str) {
        let count = |counter: &AtomicU32| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        let Ok(mut session) = Wish::any(&site.material).connect(site.address(port)) else {
            count(&self.refused);
            // Not faster than the guest can refuse.
            thread::sleep(Duration::from_millis(40));
            return;
        };
        let moved = if up {
            send(&mut session)
        } else {
            receive(&mut session)
        };
        match moved {
            Ok(found) if found == hash => count(&self.whole),
            Ok(_) => count(&self.wrong),
            Err(_) => count(&self.cut),
        }
    }
}

/// Sets a flag at its end.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends [`TRANSFER`] bytes; what the backend says of them.
fn send(session: &mut Session) -> io::Result<String> {
    session.0.write_all(b"up\n")?;
    io::copy(&mut Pattern::new(TRANSFER), &mut session.0)?;
    session.end()?;
    let mut answer = String::new();
    session.0.read_to_string(&mut answer)?;
    Ok(answer.trim().to_string())
}

/// Receives [`TRANSFER`] bytes; their hash.
fn receive(session: &mut Session) -> io::Result<String> {
    writeln!(session.0, "down {TRANSFER}")?;
    session.0.flush()?;
    sha256(&mut session.0)
}

/// The counters when all connections are closed, and the network stack has as many
/// spare sockets as it keeps.
fn settled(site: &Site) -> Counters {
    // Each has a connection to its backend too.
    let sessions: Vec<_> = (0..=SPARE / 2).map(|_| open(site)).collect();
    drop(sessions);
    thread::sleep(Duration::from_secs(2));
    site.counters().unwrap()
}

/// Opens a session, as soon as that is possible again.
pub(crate) fn open(site: &Site) -> Session {
    open_at(site, port::ECHO)
}

fn open_at(site: &Site, port: u16) -> Session {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let begun = Wish::any(&site.material)
            .connect(site.address(port))
            .and_then(|mut session| session.echo(b"hello").map(|_| session));
        match begun {
            Ok(session) => return session,
            Err(error) if Instant::now() > deadline => {
                panic!("{error}\n{}", site.guest.log().tail(40))
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[test]
fn c05_each_domain_is_broken_under_load_and_loses_what_the_table_says() {
    let site = site("restart");
    Load::during(&site, Load::goes_on);
    let before = settled(&site);
    let breaks = env::var("HANDOFF_BREAKS").map_or(BREAKS, |count| count.parse().unwrap());
    for (domain, survives) in domains() {
        let breaker = Breaker::of(&site, domain).unwrap();
        let mut longest = Duration::ZERO;
        let counted = site.counters().unwrap();
        let (load, ()) = Load::during(&site, |load| {
            let mut held = open(&site);
            for round in 1..=breaks {
                let broken = Instant::now();
                breaker.end(Breakage::Fault).unwrap();
                let still = held.echo(b"held").is_ok();
                assert_eq!(still, survives, "{domain}, round {round}");
                let fresh = open(&site);
                open_at(&site, directed(port::ECHO));
                longest = longest.max(broken.elapsed());
                if !survives {
                    held = fresh;
                }
            }
            load.goes_on();
        });
        let [whole, cut, refused, wrong] = [&load.whole, &load.cut, &load.refused, &load.wrong]
            .map(|counter| counter.load(Ordering::Relaxed));
        eprintln!(
            "{domain}: {breaks} breaks, {whole} transfers whole, {cut} cut off, \
             {refused} refused, {longest:?} at most to a new session"
        );
        assert_eq!(wrong, 0, "{domain}: transfers with other bytes");
        if survives {
            // A client of TLS 1.3 has a session when it has sent its Finished, the server
            // when it has read that: what was cut off in between was a handshake, and is
            // counted as one that failed. No session was closed from here.
            let ended = site.counters().unwrap();
            let since = |figure| ended.of(figure) - counted.of(figure);
            let failed = since(stats::gateway::FAILED);
            assert!(
                u64::from(cut) <= failed,
                "{domain}: {cut} cut, {failed} failed"
            );
            let alerts = since(stats::record::ALERTS);
            assert_eq!(alerts, 0, "{domain}: sessions that should have survived");
        }
    }
    // Nothing is left behind.
    let counters = settled(&site);
    let of_all = |end: &str| -> Vec<_> {
        let counters = shipped::domains().flat_map(|domain| {
            let counters = stats::of(domain).iter();
            counters.map(move |counter| counter.of(domain))
        });
        counters
            .filter(|counter| counter.name.ends_with(end))
            .collect()
    };
    for restarts in of_all("restarts_total") {
        assert!(
            counters.of(restarts) >= u64::from(breaks),
            "{}",
            restarts.domain
        );
    }
    // The session that asks is one.
    assert_eq!(counters.of(stats::shim::SESSIONS), 1);
    assert_eq!(counters.of(stats::record::SESSIONS), 1);
    assert_eq!(counters.of(stats::shim::IN_PROGRESS), 0);
    assert_eq!(counters.of(stats::offload::IN_PROGRESS), 0);
    let mut heaps = of_all("heap_bytes");
    heaps.retain(|heap| *heap != stats::keystore::HEAP);
    for heap in heaps {
        let (first, last) = (before.of(heap), counters.of(heap));
        assert!(
            last <= first + SLACK,
            "{}: {first}, then {last}",
            heap.domain
        );
    }
}

#[test]
fn c05_a_domain_that_does_not_read_a_queue_is_restarted() {
    let name = "ignored-queue";
    let feature = "offload-server/ignore-directives";
    let site = Prepared::build_faulty(name, feature)
        .unwrap()
        .boot()
        .unwrap();
    let found = || {
        let log = qemu::log::read(site.guest.log_file()).unwrap();
        let line = "fault: offload-server: it waits, and a queue is not read";
        log.lines().filter(|printed| *printed == line).count()
    };
    // From its fourth handshake on it does not hear of any.
    (0..3).for_each(|_| drop(open(&site)));
    thread::sleep(Duration::from_secs(3));
    assert_eq!(found(), 0, "it has read all so far");
    thread::scope(|scope| {
        let deadline = Instant::now() + PATIENCE;
        while found() == 0 && Instant::now() < deadline {
            // Each of them wakes it, and none is answered. It looks at its queues before
            // each sixteenth wait, and on a busy host one wait is for several of them.
            let site = &site;
            scope.spawn(move || drop(Wish::any(&site.material).connect(site.address(port::ECHO))));
            thread::sleep(Duration::from_millis(100));
        }
    });
    assert_eq!(found(), 1);
    // What was not read is lost with it, and it serves again.
    (0..2).for_each(|_| drop(open(&site)));
}

#[test]
fn c05_a_domain_that_does_not_answer_is_restarted() {
    let site = site("silence");
    for (domain, _) in domains() {
        let breaker = Breaker::of(&site, domain).unwrap();
        open(&site);
        // The key store hangs when it is asked for a signature.
        let (_, ended) = Load::during(&site, |_| breaker.end(Breakage::Hang));
        ended.unwrap();
        open(&site);
    }
}
