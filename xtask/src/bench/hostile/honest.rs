//! Clients that want to be served: a handshake, then 64 KiB there and back.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;

use super::addresses;
use super::material::{Material, Shown};
use super::stage::{Booted, Port};

/// What each brings, and wants back.
const BYTES: usize = 64 * 1024;
const CHUNK: usize = 16 * 1024;
/// A client that is not served by then counts as not served.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Between two of them: they meet an attack at more than one moment of it.
const BETWEEN: Duration = Duration::from_millis(250);
/// After so many in a row that were not served no more are sent.
const HOPELESS: usize = 3;

/// A session of a client.
pub(in crate::bench) type Session = StreamOwned<ClientConnection, TcpStream>;

/// What became of some clients.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// How many there were.
    pub(super) asked: usize,
    /// How many got all back.
    pub(super) served: usize,
    /// Seconds of each, in order of size. An unserved one counts with the whole time
    /// limit: being cut off early does not count as fast.
    seconds: Vec<f64>,
}

impl Outcome {
    #[cfg(test)]
    pub(super) const fn of(asked: usize, served: usize, seconds: Vec<f64>) -> Self {
        Self {
            asked,
            served,
            seconds,
        }
    }

    /// Those of both.
    pub(super) fn with(&self, other: &Self) -> Self {
        let mut seconds = [&self.seconds[..], &other.seconds].concat();
        seconds.sort_by(f64::total_cmp);
        Self {
            asked: self.asked + other.asked,
            served: self.served + other.served,
            seconds,
        }
    }

    /// The time that so much of all clients need at most (nearest rank).
    fn percentile(&self, hundredths: usize) -> f64 {
        let rank = (self.seconds.len() * hundredths).div_ceil(100);
        let place = rank.saturating_sub(1);
        self.seconds.get(place).copied().unwrap_or(f64::NAN)
    }

    pub(super) fn median(&self) -> f64 {
        self.percentile(50)
    }

    pub(super) fn p99(&self) -> f64 {
        self.percentile(99)
    }
}

/// Where honest clients come from, while they are measured beside an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The address that those before them had.
    Known,
    /// Each from an address that was never here before.
    New,
}

/// Sends `count` clients, one after another, in turn to the autonomous and to the
/// directed listener.
pub(super) fn clients(
    booted: &Booted,
    material: &Material,
    count: usize,
    origin: Origin,
) -> Result<Outcome> {
    let config = material.client(&rustls::version::TLS13, false, Shown::Nothing)?;
    let mut outcome = Outcome::default();
    let mut missed = 0;
    let ports = [Port::Autonomous, Port::Directed].into_iter().cycle();
    for (number, port) in (0..).zip(ports.take(count)) {
        let from = match origin {
            Origin::Known => None,
            Origin::New => Some(addresses::newcomer(number)),
        };
        thread::sleep(BETWEEN);
        let started = Instant::now();
        outcome.asked += 1;
        let seconds = if client((from, booted.honest(port)), &config, started + PATIENCE).is_ok() {
            outcome.served += 1;
            missed = 0;
            started.elapsed().as_secs_f64()
        } else {
            missed += 1;
            PATIENCE.as_secs_f64()
        };
        outcome.seconds.push(seconds);
        if missed == HOPELESS {
            break;
        }
    }
    outcome.seconds.sort_by(f64::total_cmp);
    Ok(outcome)
}

/// Addresses: where it comes from, if that is said, and where it goes.
type Way = (Option<Ipv4Addr>, SocketAddr);

fn client(way: Way, config: &Arc<ClientConfig>, deadline: Instant) -> io::Result<()> {
    let mut session = connect(way, config, deadline)?;
    let chunk: Vec<u8> = (0..CHUNK).map(|at| (at % 251) as u8).collect();
    for _ in 0..BYTES / CHUNK {
        wait_until(&session.sock, deadline)?;
        session.write_all(&chunk)?;
    }
    session.flush()?;
    let mut answer = vec![0; CHUNK];
    for _ in 0..BYTES / CHUNK {
        wait_until(&session.sock, deadline)?;
        session.read_exact(&mut answer)?;
        if answer != chunk {
            return Err(io::Error::other("the echo is another"));
        }
    }
    session.conn.send_close_notify();
    session.flush()
}

/// Connects and finishes the handshake.
fn connect((from, to): Way, config: &Arc<ClientConfig>, deadline: Instant) -> io::Result<Session> {
    let left = deadline.saturating_duration_since(Instant::now());
    over(addresses::connect(from, to, left)?, config, deadline)
}

/// Finishes the handshake.
pub(in crate::bench) fn over(
    mut stream: TcpStream,
    config: &Arc<ClientConfig>,
    deadline: Instant,
) -> io::Result<Session> {
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let connection = ClientConnection::new(config.clone(), name);
    let mut connection = connection.map_err(io::Error::other)?;
    while connection.is_handshaking() {
        wait_until(&stream, deadline)?;
        connection.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(connection, stream))
}

/// Lets the next step fail when `deadline` has passed.
pub(in crate::bench) fn wait_until(stream: &TcpStream, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    stream.set_read_timeout(Some(left))?;
    stream.set_write_timeout(Some(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let outcome = Outcome {
            asked: 16,
            served: 16,
            seconds: (1..=16).map(f64::from).collect(),
        };
        assert_eq!((outcome.median(), outcome.p99()), (8.0, 16.0));
        assert!(Outcome::default().median().is_nan());
        let slow = Outcome::of(16, 15, vec![20.0; 16]);
        let both = slow.with(&outcome);
        assert_eq!((both.asked, both.served), (32, 31));
        assert_eq!((both.median(), both.p99()), (16.0, 20.0));
    }
}
