//! Fault injection into a domain of the running image, from outside: every system call of
//! its program is overwritten in memory, through QEMU's debugger port, until the domain
//! has run into one. The image is unchanged.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::PATIENCE;
use super::site::Site;

/// `mov r14, rsp; syscall; mov rsp, r14`: all system calls of `sel4` look so.
const SYSTEM_CALL: [u8; 8] = [0x49, 0x89, 0xe6, 0x0f, 0x05, 0x4c, 0x89, 0xf4];
/// Where in it the instruction is.
const AT: usize = 3;

/// What a domain's next system call becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breakage {
    /// An invalid instruction: the domain faults.
    Fault,
    /// A jump to itself: the domain never answers again.
    Hang,
}

/// A domain that can be broken.
pub(crate) struct Breaker<'a> {
    site: &'a Site,
    domain: &'static str,
    socket: PathBuf,
    /// Physical addresses of its system calls.
    places: Vec<usize>,
}

impl<'a> Breaker<'a> {
    /// Finds the program of `domain` in memory.
    pub(crate) fn of(site: &'a Site, domain: &'static str) -> Result<Self> {
        let places: Vec<_> = site.memory().read_only(domain, &SYSTEM_CALL);
        ensure!(!places.is_empty(), "no system call of {domain} in memory");
        let socket = site.debugger()?;
        let places = places.into_iter().map(|place| place + AT).collect();
        Ok(Self {
            site,
            domain,
            socket,
            places,
        })
    }

    /// Injects a fault into the domain and repairs its program once it has terminated;
    /// returns the time from there to its restart.
    pub(crate) fn end(&self, breakage: Breakage) -> Result<Duration> {
        let (log, domain) = (self.site.guest.log(), self.domain);
        let start = log.end();
        self.write(breakage)?;
        let ended = match breakage {
            Breakage::Fault => format!("fault: {domain}: exception 6"),
            Breakage::Hang => format!("fault: {domain}: it does not answer"),
        };
        let found = log.find(start, PATIENCE, |line| line.starts_with(&ended));
        let broken = Instant::now();
        self.mend()?;
        found.with_context(|| format!("{domain} did not end\n{}", log.tail(20)))?;
        let again = format!("init: {domain} is restarted");
        log.find(start, PATIENCE, |line| line == again)
            .with_context(|| format!("{domain} was not restarted\n{}", log.tail(20)))?;
        Ok(broken.elapsed())
    }

    fn write(&self, breakage: Breakage) -> Result<()> {
        self.put(match breakage {
            Breakage::Fault => [0x0f, 0x0b],
            Breakage::Hang => [0xeb, 0xfe],
        })
    }

    fn mend(&self) -> Result<()> {
        self.put([0x0f, 0x05])
    }

    /// Writes the instruction at every place while the guest stands still.
    fn put(&self, [first, second]: [u8; 2]) -> Result<()> {
        let mut debugger = Debugger::connect(&self.socket)?;
        debugger.ask("Qqemu.PhyMemMode:1")?;
        for place in &self.places {
            debugger.ask(&format!("M{place:x},2:{first:02x}{second:02x}"))?;
        }
        debugger.ask("Qqemu.PhyMemMode:0")?;
        // The guest goes on.
        debugger.ask("D")
    }
}

/// GDB's remote serial protocol (GDB manual, appendix E).
struct Debugger(UnixStream);

impl Debugger {
    fn connect(socket: &std::path::Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("connecting to {}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// Sends a packet that is answered by OK.
    fn ask(&mut self, packet: &str) -> Result<()> {
        let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
        write!(self.0, "${packet}#{sum:02x}")?;
        loop {
            // "+" for what was sent, then "$...#xx".
            let mut answer = Vec::new();
            while answer.iter().rev().nth(2) != Some(&b'#') {
                let mut byte = [0];
                self.0.read_exact(&mut byte).context(packet.to_string())?;
                answer.extend(byte);
            }
            self.0.write_all(b"+")?;
            let answer = String::from_utf8_lossy(&answer);
            match answer.trim_start_matches('+') {
                "$OK#9a" => return Ok(()),
                // The guest has stopped: it does so for a debugger.
                stopped if stopped.starts_with("$T") => {}
                other => bail!("{packet}: {other}"),
            }
        }
    }
}
