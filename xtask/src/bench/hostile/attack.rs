//! The attacks, each as one or more attackers that go on until they are stopped.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, SupportedProtocolVersion};
use rustls_pki_types::ServerName;

use super::ground::{Ground, Wish, drain, reset};
use super::honest::Origin;
use super::material::Shown;
use super::record::{ALERT, APPLICATION_DATA, HANDSHAKE, Sealer, endless_hello};
use super::stage::Port;

/// Connections of a flood, and the addresses that they come from.
pub(super) const FLOOD: u32 = 1000;
const HELD: usize = FLOOD as usize;
/// ClientHellos that do not end, and what is sent of each.
const ENDLESS: usize = 100;
const ENDLESS_SENT: usize = 33_000;
const ENDLESS_CLAIMED: u32 = 60_000;
/// The longest message that the directed listener takes, and what is sent of it.
const DIRECTED_CLAIMED: u32 = 16_000;
const DIRECTED_SENT: usize = 15_000;
/// Hellos whose last bytes come together. ALPN names make them 4.2 KB long.
const TOGETHER: usize = 40;
const NAMES: usize = 16;
const NAME: usize = 250;
/// Between one such burst and the next, for the answers to come.
const BURST: Duration = Duration::from_millis(500);
/// KeyUpdates, one-byte records, empty records: of one session at a time.
const KEY_UPDATES: usize = 3000;
const TINY: usize = 1500;
const EMPTY: usize = 2000;
/// How long a session is left to choke on what it was sent.
const CHOKE: Duration = Duration::from_secs(1);
/// Between two visits of one attacker: all of them make some 200 a second. At 400 QEMU's
/// own network has a whole processor of the host to itself and lets no client through,
/// while the guest has half of one.
const PAUSE: Duration = Duration::from_millis(40);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// Idle sessions, unfinished heads of requests and their size.
const SESSIONS: usize = 500;
const HEAD: usize = 8000;
/// Connections to the listener whose backend says nothing: more than there are handshakes.
const UPSTREAM: usize = 300;
/// Sessions that send half a record each and stay: nearly all that there can be.
const HALVES: usize = 1400;
/// The record: more than the ring of a session is guaranteed.
const WHOLE: usize = 16 * 1024;
/// Sessions with a large certificate.
const CERTIFIED: usize = 100;

/// What honest clients may be slowed down by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One client, with however many sessions.
    Single,
    /// A thousand connections and more.
    Flood,
}

impl Kind {
    /// The median's limit, in times of the quiet machine's.
    pub(super) const fn limit(self) -> f64 {
        match self {
            Self::Single => 2.0,
            Self::Flood => 4.0,
        }
    }
}

/// Where an attack's connections come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// One address, which is no honest client's.
    One,
    /// As many as a flood has connections.
    Many,
    /// Each connection from an address that was not there before.
    Fresh,
}

/// One attack.
pub(super) struct Attack {
    /// For `--attack`, the table, and the log's name.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) source: Source,
    pub(super) honest: Origin,
    pub(super) attackers: usize,
    /// What each attacker does, by its number.
    run: fn(&Ground<'_>, usize),
}

impl Attack {
    /// One attacker.
    pub(super) fn run(&self, ground: &Ground<'_>, number: usize) {
        (self.run)(ground, number);
    }

    const fn new(
        name: &'static str,
        kind: Kind,
        attackers: usize,
        run: fn(&Ground<'_>, usize),
    ) -> Self {
        let source = match kind {
            Kind::Single => Source::One,
            Kind::Flood => Source::Many,
        };
        Self {
            name,
            kind,
            source,
            honest: Origin::Known,
            attackers,
            run,
        }
    }

    const fn from(self, source: Source) -> Self {
        Self { source, ..self }
    }

    const fn beside(self, honest: Origin) -> Self {
        Self { honest, ..self }
    }
}

/// What can't be told from honest clients by anything: measured where it is named alone
/// (ADR 0140).
pub(super) const BEYOND: [Attack; 1] =
    [
        Attack::new("half-handshakes-alike", Kind::Flood, 4, half_handshakes)
            .from(Source::Fresh)
            .beside(Origin::New),
    ];

/// All that the limits hold for.
pub(super) const ATTACKS: [Attack; 22] = [
    Attack::new("silent", Kind::Flood, 4, silent),
    Attack::new("silent-one", Kind::Flood, 4, silent).from(Source::One),
    Attack::new("half-handshakes", Kind::Flood, 4, half_handshakes),
    Attack::new("half-handshakes-one", Kind::Flood, 4, half_handshakes).from(Source::One),
    Attack::new("half-handshakes-directed", Kind::Flood, 4, half_directed),
    Attack::new("half-handshakes-newcomers", Kind::Flood, 4, half_handshakes).beside(Origin::New),
    Attack::new("half-handshakes-fresh", Kind::Flood, 4, half_handshakes).from(Source::Fresh),
    Attack::new("endless-hello", Kind::Single, 2, endless_autonomous),
    Attack::new("endless-hello-directed", Kind::Single, 2, endless_directed),
    Attack::new("hellos-together", Kind::Single, 1, together),
    Attack::new("key-updates", Kind::Single, 1, key_updates),
    Attack::new("key-updates-four", Kind::Single, 4, key_updates),
    Attack::new("tiny-records", Kind::Single, 1, tiny_records),
    Attack::new("empty-records", Kind::Single, 1, empty_records),
    Attack::new("warnings", Kind::Single, 1, warnings),
    Attack::new("unfinished-heads", Kind::Single, 2, unfinished_heads),
    Attack::new("idle-sessions", Kind::Single, 2, idle_sessions),
    Attack::new("come-and-go", Kind::Flood, 8, come_and_go),
    Attack::new("large-certificates", Kind::Single, 2, certified),
    Attack::new("tangled-chains", Kind::Single, 1, tangled),
    Attack::new("half-records", Kind::Flood, 4, half_records),
    Attack::new("silent-backend", Kind::Single, 2, silent_backend),
];

fn silent(ground: &Ground<'_>, attacker: usize) {
    ground.hold(attacker, HELD / 4, || {
        ground.tcp(attacker, Port::Autonomous)
    });
}

fn half_handshakes(ground: &Ground<'_>, attacker: usize) {
    half(ground, attacker, Port::Autonomous);
}

fn half_directed(ground: &Ground<'_>, attacker: usize) {
    half(ground, attacker, Port::Directed);
}

/// A good ClientHello each, and no answer to what comes back.
fn half(ground: &Ground<'_>, attacker: usize, port: Port) {
    let Ok(hello) = hello(ground, &[]) else {
        return;
    };
    ground.hold(attacker, HELD / 4, || {
        let mut stream = ground.tcp(attacker, port)?;
        ground.pour(&mut stream, &hello)?;
        Ok(stream)
    });
}

fn endless_autonomous(ground: &Ground<'_>, attacker: usize) {
    endless(
        ground,
        attacker,
        Port::Autonomous,
        ENDLESS_CLAIMED,
        ENDLESS_SENT,
    );
}

fn endless_directed(ground: &Ground<'_>, attacker: usize) {
    endless(
        ground,
        attacker,
        Port::Directed,
        DIRECTED_CLAIMED,
        DIRECTED_SENT,
    );
}

fn endless(ground: &Ground<'_>, attacker: usize, port: Port, claimed: u32, sent: usize) {
    let hello = endless_hello(claimed, sent);
    ground.hold(attacker, ENDLESS / 2, || {
        let mut stream = ground.tcp(attacker, port)?;
        ground.pour(&mut stream, &hello)?;
        Ok(stream)
    });
}

/// A whole ClientHello of 4.2 KB.
fn long_hello(ground: &Ground<'_>) -> Result<Vec<u8>> {
    let names = (0..NAMES).map(|name| vec![b'a' + (name % 26) as u8; NAME]);
    hello(ground, &names.collect::<Vec<_>>())
}

/// A whole ClientHello with these protocols (RFC 7301).
fn hello(ground: &Ground<'_>, protocols: &[Vec<u8>]) -> Result<Vec<u8>> {
    let config = ground.material.client(&TLS13, false, Shown::Nothing)?;
    let mut config = Arc::unwrap_or_clone(config);
    config.alpn_protocols = protocols.to_vec();
    let name = ServerName::try_from("localhost")?;
    let mut connection = ClientConnection::new(Arc::new(config), name)?;
    let mut hello = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut hello)?;
    }
    Ok(hello)
}

fn together(ground: &Ground<'_>, attacker: usize) {
    let Ok(hello) = long_hello(ground) else {
        return;
    };
    let Some((last, first)) = hello.split_last() else {
        return;
    };
    while !ground.is_over() {
        let opened = (0..TOGETHER).map_while(|_| {
            let mut stream = ground.tcp(attacker, Port::Directed).ok()?;
            ground.pour(&mut stream, first).ok()?;
            Some(stream)
        });
        let mut opened: Vec<_> = opened.collect();
        for stream in &mut opened {
            // A refused connection can't go on.
            let _ = stream.write_all(&[*last]);
        }
        ground.stands(attacker);
        ground.round(opened.len() < TOGETHER);
        thread::sleep(BURST);
        opened.iter_mut().for_each(|stream| {
            let _ = drain(stream);
        });
    }
}

/// Goes on with sessions of which each gets what `send` sends, until it is over.
fn again(ground: &Ground<'_>, attacker: usize, send: impl Fn() -> Result<()>) {
    while !ground.is_over() {
        let sent = send();
        ground.stands(attacker);
        ground.round(sent.is_err());
        if sent.is_err() {
            // It was closed, or not established.
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn key_updates(ground: &Ground<'_>, attacker: usize) {
    again(ground, attacker, || {
        let session = ground.session(attacker, Wish::plain(Port::Autonomous))?;
        let (mut connection, mut stream) = (session.conn, session.sock);
        loop {
            let mut bytes = Vec::new();
            for _ in 0..KEY_UPDATES {
                connection.refresh_traffic_keys()?;
                while connection.wants_write() {
                    connection.write_tls(&mut bytes)?;
                }
            }
            ground.pour(&mut stream, &bytes)?;
            ground.stands(attacker);
        }
    });
}

/// A session that gets `count` records, sealed by the suite, and is left to it.
fn sealed(
    ground: &Ground<'_>,
    attacker: usize,
    version: &'static SupportedProtocolVersion,
    count: usize,
    record: impl Fn(usize) -> (u8, &'static [u8]),
) -> Result<()> {
    let session = ground.session(attacker, Wish::sealed(Port::Autonomous, version))?;
    let mut sealer = Sealer::new(session.conn).context("taking the session's keys")?;
    let mut stream = session.sock;
    let mut bytes = Vec::new();
    for number in 0..count {
        let (kind, payload) = record(number);
        sealer.seal(kind, payload, &mut bytes)?;
    }
    ground.pour(&mut stream, &bytes)?;
    // A client that is cut off reconnects at once.
    let until = Instant::now() + CHOKE;
    while Instant::now() < until {
        drain(&mut stream)?;
        thread::sleep(BETWEEN_LOOKS);
    }
    Ok(())
}

fn tiny_records(ground: &Ground<'_>, attacker: usize) {
    // What a HelloRequest begins with; each begins no message or one more.
    again(ground, attacker, || {
        sealed(ground, attacker, &TLS12, TINY, |_| (HANDSHAKE, &[0]))
    });
}

fn empty_records(ground: &Ground<'_>, attacker: usize) {
    again(ground, attacker, || {
        sealed(ground, attacker, &TLS13, EMPTY, |_| (APPLICATION_DATA, &[]))
    });
}

fn warnings(ground: &Ground<'_>, attacker: usize) {
    // no_renegotiation (RFC 5246 §7.2.2).
    const WARNING: &[u8] = &[1, 100];
    again(ground, attacker, || {
        sealed(ground, attacker, &TLS12, EMPTY, |number| match number % 2 {
            0 => (ALERT, WARNING),
            _ => (APPLICATION_DATA, &[]),
        })
    });
}

fn unfinished_heads(ground: &Ground<'_>, attacker: usize) {
    let head = [&b"GET / HTTP/1.1\r\nx: "[..], &[b'a'; HEAD]].concat();
    sessions(
        ground,
        attacker,
        SESSIONS / 2,
        Wish::plain(Port::Status),
        &head,
    );
}

fn idle_sessions(ground: &Ground<'_>, attacker: usize) {
    sessions(
        ground,
        attacker,
        SESSIONS / 2,
        Wish::plain(Port::Autonomous),
        &[],
    );
}

fn certified(ground: &Ground<'_>, attacker: usize) {
    let wish = Wish {
        shown: Shown::Large,
        ..Wish::plain(Port::Mutual)
    };
    sessions(ground, attacker, CERTIFIED / 2, wish, &[]);
}

/// One handshake after the other with a chain that leads nowhere.
fn tangled(ground: &Ground<'_>, attacker: usize) {
    let wish = Wish {
        shown: Shown::Tangle,
        ..Wish::plain(Port::Mutual)
    };
    ground.stands(attacker);
    while !ground.is_over() {
        thread::sleep(PAUSE);
        // The alert comes after the client's own handshake.
        let refused = ground.session(attacker, wish).map(|mut session| {
            let _ = session.read(&mut [0]);
        });
        ground.round(refused.is_err());
    }
}

/// Connections whose handshakes with their backend begin and never end.
fn silent_backend(ground: &Ground<'_>, attacker: usize) {
    ground.hold(attacker, UPSTREAM / 2, || {
        ground.tcp(attacker, Port::Upstream)
    });
}

/// Holds sessions that say `what` and no more.
fn sessions(ground: &Ground<'_>, attacker: usize, count: usize, wish: Wish, what: &[u8]) {
    ground.hold(attacker, count, || {
        let mut session = ground.session(attacker, wish)?;
        session.write_all(what)?;
        session.flush()?;
        session.sock.set_nonblocking(true)?;
        Ok(session.sock)
    });
}

fn half_records(ground: &Ground<'_>, attacker: usize) {
    ground.hold(attacker, HALVES / 4, || {
        let session = ground.session(attacker, Wish::plain(Port::Autonomous))?;
        let (mut connection, mut stream) = (session.conn, session.sock);
        connection.writer().write_all(&[0; WHOLE])?;
        let mut record = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut record)?;
        }
        let half = record.len() / 2;
        ground.pour(&mut stream, record.get(..half).unwrap_or_default())?;
        Ok(stream)
    });
}

fn come_and_go(ground: &Ground<'_>, attacker: usize) {
    let half = endless_hello(400, 200);
    let visit = || -> io::Result<()> {
        // One that came before QEMU has taken the last would wait a second for nothing.
        thread::sleep(PAUSE);
        let mut stream = ground.connection(attacker, Port::Autonomous, CHOKE)?;
        stream.write_all(&half)?;
        reset(stream);
        Ok(())
    };
    ground.stands(attacker);
    while !ground.is_over() {
        // One that does not come through is followed by the next.
        ground.round(visit().is_err());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_attack_has_a_name_of_its_own() {
        let names: BTreeSet<_> = ATTACKS.iter().map(|attack| attack.name).collect();
        assert_eq!(names.len(), ATTACKS.len());
    }
}
