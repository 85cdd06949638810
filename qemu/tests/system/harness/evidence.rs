//! What the guest says of itself: its line for each handshake, its counters.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use super::PATIENCE;
use super::client::Wish;
use super::site::{Site, port};

/// The monitor prints what domains log at each tick of its clock: within this time.
const TICKS: Duration = Duration::from_millis(300);

/// What the guest's log says of one handshake that is over:
///
/// ```text
/// handshake ok LISTENER REMOTE VERSION SUITE MODE MICROSECONDS us NAME=VALUE...
/// handshake failed LISTENER REMOTE WHAT reason=WORD
/// ```
#[derive(Debug)]
pub(crate) struct Handshake {
    /// Whether there is a session.
    pub(crate) done: bool,
    /// Version, suite, mode and names with their values; or the reason.
    pub(crate) rest: String,
    remote: String,
}

impl Handshake {
    /// Reads a line.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = qemu::log::handshake(line)?.splitn(4, ' ');
        let done = match words.next()? {
            "ok" => true,
            "failed" => false,
            _ => return None,
        };
        let (_listener, remote) = (words.next()?, words.next()?);
        Some(Self {
            done,
            rest: words.next()?.to_string(),
            remote: remote.to_string(),
        })
    }

    /// The value after a name.
    #[track_caller]
    pub(crate) fn value(&self, name: &str) -> &str {
        let pairs = self.rest.split(' ').filter_map(|word| word.split_once('='));
        let found = pairs.into_iter().find(|(found, _)| *found == name);
        match found {
            Some((_, value)) => value,
            None => panic!("no {name}= in {:?}", self.rest),
        }
    }

    /// The two values after a name: of what the guest sends, and of what it
    /// receives.
    #[track_caller]
    pub(crate) fn both<T: FromStr<Err: Debug>>(&self, name: &str) -> (T, T) {
        let (out, inward) = self.value(name).split_once('/').unwrap();
        (out.parse().unwrap(), inward.parse().unwrap())
    }

    /// Version, suite and mode.
    pub(crate) fn agreed(&self) -> Vec<&str> {
        self.rest.split(' ').take(3).collect()
    }

    fn is_of(&self, peer: u16) -> bool {
        let port = self.remote.rsplit(':').next();
        port.and_then(|port| port.parse().ok()) == Some(peer)
    }
}

impl Site {
    /// What the log says of the handshake with the client at port `peer`;
    /// waits for it.
    #[track_caller]
    pub(crate) fn handshake(&self, peer: u16) -> Handshake {
        let first = self.handshake_since(qemu::log::Cursor::default(), peer);
        // This machine uses a port again after a while: the last line is that
        // of the connection that is there now.
        let lines = self.guest.log().since(qemu::log::Cursor::default());
        let mut made = lines.iter().rev().filter_map(|line| Handshake::parse(line));
        made.find(|made| made.is_of(peer)).unwrap_or(first)
    }

    /// The first handshake after `start` with the client at port `peer`;
    /// waits for it.
    #[track_caller]
    pub(crate) fn handshake_since(&self, start: qemu::log::Cursor, peer: u16) -> Handshake {
        let of_peer = |line: &str| Handshake::parse(line).is_some_and(|h| h.is_of(peer));
        let Some(line) = self.guest.log().find(start, PATIENCE, of_peer) else {
            panic!(
                "no handshake line for peer port {peer}\n{}",
                self.guest.log().tail(30)
            );
        };
        Handshake::parse(&line).unwrap()
    }

    /// The first handshake after `start` of the listener at `port`, with its
    /// client or with its backend; waits for it.
    pub(crate) fn handshake_at(&self, start: qemu::log::Cursor, port: u16) -> Option<Handshake> {
        let name = format!(" at-{port} ");
        let of_listener = |line: &str| Handshake::parse(line).is_some() && line.contains(&name);
        let line = self.guest.log().find(start, PATIENCE, of_listener)?;
        Handshake::parse(&line)
    }

    /// All lines after `start` of what has happened so far.
    pub(crate) fn said_since(&self, start: qemu::log::Cursor) -> Vec<String> {
        std::thread::sleep(TICKS);
        self.guest.log().since(start)
    }

    /// The place in the log after the lines of what has happened so far.
    pub(crate) fn mark(&self) -> qemu::log::Cursor {
        std::thread::sleep(TICKS);
        self.guest.log().end()
    }

    /// The handshakes after `start` of the listener at `port`, so far.
    pub(crate) fn handshakes_at(&self, start: qemu::log::Cursor, port: u16) -> Vec<Handshake> {
        let name = format!(" at-{port} ");
        let lines = self.said_since(start);
        let of_listener = lines.iter().filter(|line| line.contains(&name));
        of_listener
            .filter_map(|line| Handshake::parse(line))
            .collect()
    }

    /// The handshakes after `start` with the client at port `peer`, so far.
    pub(crate) fn handshakes_since(&self, start: qemu::log::Cursor, peer: u16) -> Vec<Handshake> {
        let lines = self.said_since(start);
        let handshakes = lines.iter().filter_map(|line| Handshake::parse(line));
        handshakes
            .filter(|handshake| handshake.is_of(peer))
            .collect()
    }

    /// All counters, as `/metrics` shows them, without the `handoff_` prefix.
    pub(crate) fn counters(&self) -> io::Result<Counters> {
        let mut session = Wish::any(&self.material).connect(self.address(port::STATUS))?;
        let answer = session.ask("/metrics")?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(io::Error::other(answer));
        }
        Ok(Counters::parse(body))
    }

    /// The host's address for a port of the guest.
    pub(crate) fn address(&self, port: u16) -> std::net::SocketAddr {
        self.guest.address(port).unwrap()
    }

    /// Fails the test when a domain was stopped or panicked.
    #[track_caller]
    pub(crate) fn assert_unharmed(&self) {
        let lines = self.said_since(qemu::log::Cursor::default());
        let harmed = |line: &&String| {
            qemu::log::is_fault(line) || qemu::log::text(line).starts_with("panic")
        };
        let found: Vec<_> = lines.iter().filter(harmed).collect();
        assert!(found.is_empty(), "{found:#?}");
    }
}

/// SHA-256 in hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    super::backend::sha256(&mut &*bytes).unwrap()
}

/// Counters by domain, name and labels.
#[derive(Debug)]
pub(crate) struct Counters(BTreeMap<String, u64>);

impl Counters {
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_string(), value.trim().parse().ok()?))
        });
        Self(pairs.collect())
    }

    /// A counter.
    #[track_caller]
    pub(crate) fn of(&self, counter: ipc::stats::Counter) -> u64 {
        let (domain, name, labels) = (counter.domain, counter.name, counter.labels);
        let comma = if labels.is_empty() { "" } else { "," };
        let series = format!("handoff_{name}{{domain=\"{domain}\"{comma}{labels}}}");
        match self.0.get(&series) {
            Some(value) => *value,
            None => panic!("/metrics has no {series}"),
        }
    }
}

#[test]
fn a_handshake_line_is_read() {
    let line = "gateway: handshake ok echo 10.0.2.2:40000 TLSv1.3 SUITE autonomous 8 us tcp=7/9";
    let handshake = Handshake::parse(line).unwrap();
    assert!(handshake.done && handshake.is_of(40000) && !handshake.is_of(4000));
    assert_eq!(handshake.agreed(), ["TLSv1.3", "SUITE", "autonomous"]);
    assert_eq!(handshake.both::<u32>("tcp"), (7, 9));
    assert!(Handshake::parse("gateway: ready").is_none());
    let failed = "gateway: handshake failed echo 10.0.2.2:1 peer: Closed reason=closed";
    let failed = Handshake::parse(failed).unwrap();
    assert!(!failed.done && failed.is_of(1));
    assert_eq!(failed.rest, "peer: Closed reason=closed");
    assert_eq!(failed.value("reason"), "closed");
}

#[test]
fn counters_are_read() {
    let text = "# TYPE handoff_wakeups counter\nhandoff_wakeups_total{domain=\"director\"} 3\n\
                handoff_wakeups_total{domain=\"kernel-shim\"} 12\n# EOF\n";
    let counters = Counters::parse(text);
    assert_eq!(counters.of(ipc::stats::shim::WAKEUPS), 12);
}
