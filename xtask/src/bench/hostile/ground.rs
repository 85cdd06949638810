//! What an attack has to work with: ways in, and whether it is over.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::SupportedProtocolVersion;
use socket2::SockRef;

use super::addresses;
use super::attack::{FLOOD, Source};
use super::honest::{self, Session};
use super::material::{Material, Shown};
use super::stage::{Booted, Port};

/// How long an attacker waits for a connection or a handshake. It looks no sooner
/// whether the attack is over.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two connections of one attacker: QEMU's queue of new ones is one place long.
const BETWEEN: Duration = Duration::from_millis(10);
/// Between two looks at what is held.
const LOOK: Duration = Duration::from_millis(200);
/// Between two tries to write to a client that does not read.
const TRY: Duration = Duration::from_millis(2);

/// A client's session as an attacker asks for it.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    pub(super) port: Port,
    pub(super) version: &'static SupportedProtocolVersion,
    /// The suite seals records itself.
    pub(super) is_sealed: bool,
    pub(super) shown: Shown,
}

impl Wish {
    /// A session of TLS 1.3 that is like others.
    pub(super) const fn plain(port: Port) -> Self {
        Self {
            port,
            version: &rustls::version::TLS13,
            is_sealed: false,
            shown: Shown::Nothing,
        }
    }

    /// One whose records the suite seals.
    pub(super) const fn sealed(port: Port, version: &'static SupportedProtocolVersion) -> Self {
        Self {
            version,
            is_sealed: true,
            ..Self::plain(port)
        }
    }
}

/// Where one attack takes place.
pub(super) struct Ground<'a> {
    booted: &'a Booted,
    pub(super) material: &'a Material,
    source: Source,
    /// Connections so far.
    connections: AtomicU32,
    /// A bit for each attacker, by its number.
    standing: AtomicU32,
    held: AtomicUsize,
    turned_away: AtomicUsize,
    /// Sessions or connections of attackers that hold nothing.
    rounds: AtomicUsize,
    is_over: AtomicBool,
}

impl<'a> Ground<'a> {
    pub(super) fn new(booted: &'a Booted, material: &'a Material, source: Source) -> Self {
        Self {
            booted,
            material,
            source,
            connections: AtomicU32::new(0),
            standing: AtomicU32::new(0),
            held: AtomicUsize::new(0),
            turned_away: AtomicUsize::new(0),
            rounds: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    /// An attacker has all that it holds, or has been at it once.
    pub(super) fn stands(&self, attacker: usize) {
        let bit = 1 << (attacker % 32);
        self.standing.fetch_or(bit, Ordering::Relaxed);
    }

    /// An attacker that holds nothing has made one more round, and was cut off or not.
    pub(super) fn round(&self, was_cut_off: bool) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        if was_cut_off {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How much of the attack was accepted, for a person to read.
    pub(super) fn tally(&self) -> String {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        format!(
            "{} connections held, {} rounds; {} times ended or refused",
            of(&self.held),
            of(&self.rounds),
            of(&self.turned_away)
        )
    }

    /// Waits until so many attackers stand; whether they do.
    pub(super) fn wait_for(&self, attackers: usize, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while (self.standing.load(Ordering::Relaxed).count_ones() as usize) < attackers {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(LOOK);
        }
        true
    }

    /// Ends the attack.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn address(&self, attacker: usize, port: Port) -> SocketAddr {
        self.booted.hostile(port, attacker)
    }

    /// Where the next connection comes from.
    fn source(&self) -> Ipv4Addr {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        addresses::nth(match self.source {
            Source::One => 0,
            Source::Many => number % FLOOD,
            Source::Fresh => number,
        })
    }

    /// A connection that blocks.
    pub(super) fn connection(
        &self,
        attacker: usize,
        port: Port,
        patience: Duration,
    ) -> io::Result<TcpStream> {
        addresses::connect(Some(self.source()), self.address(attacker, port), patience)
    }

    /// A connection that does not block.
    pub(super) fn tcp(&self, attacker: usize, port: Port) -> io::Result<TcpStream> {
        thread::sleep(BETWEEN);
        let stream = self.connection(attacker, port, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    /// A session. It blocks: see [`Ground::pour`].
    pub(super) fn session(&self, attacker: usize, wish: Wish) -> io::Result<Session> {
        let Wish {
            port,
            version,
            is_sealed,
            shown,
        } = wish;
        let config = self.material.client(version, is_sealed, shown);
        let config = config.map_err(io::Error::other)?;
        let stream = self.connection(attacker, port, PATIENCE)?;
        honest::over(stream, &config, Instant::now() + PATIENCE)
    }

    /// Writes all of it, discarding what is received meanwhile.
    ///
    /// # Errors
    /// The other end is gone, or the attack is over.
    pub(super) fn pour(&self, stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.is_over() {
                return Err(ErrorKind::Interrupted.into());
            }
            drain(stream)?;
            match stream.write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(TRY),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Holds `count` connections that `open` makes, and replaces closed ones, until the
    /// attack is over.
    pub(super) fn hold(
        &self,
        attacker: usize,
        count: usize,
        open: impl Fn() -> io::Result<TcpStream>,
    ) {
        let mut held: Vec<Option<TcpStream>> = Vec::new();
        held.resize_with(count, || None);
        while !self.is_over() {
            for place in &mut held {
                if self.is_over() {
                    break;
                }
                if let Some(stream) = place {
                    if drain(stream).is_ok() {
                        continue;
                    }
                    *place = None;
                    self.held.fetch_sub(1, Ordering::Relaxed);
                    self.turned_away.fetch_add(1, Ordering::Relaxed);
                }
                // A refused client tries again at the next check.
                if let Ok(stream) = open() {
                    *place = Some(stream);
                    self.held.fetch_add(1, Ordering::Relaxed);
                } else {
                    self.turned_away.fetch_add(1, Ordering::Relaxed);
                }
            }
            self.stands(attacker);
            thread::sleep(LOOK);
        }
    }
}

/// Discards what was received.
///
/// # Errors
/// The other end is gone.
pub(super) fn drain(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    // So much at once, and no more: the other end may never stop.
    for _ in 0..64 {
        match stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Ends a connection by a reset.
pub(super) fn reset(stream: TcpStream) {
    // Without it the connection ends all the same, by a FIN.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}
