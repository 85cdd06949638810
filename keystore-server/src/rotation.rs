//! New key rings while the system runs: the format on the serial line, and what is
//! accepted.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use ipc::clock::Instant;
use ipc::port::Ports;
use ipc::provision::update::{ACCEPTED, CONTEXT, HEADER, MAGIC, MAX, REFUSED, SIGNATURE};
use ipc::provision::{Keyrings, Rings, Sealed, Update};
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::firmware::{Kek, KeyError};
use crate::sealed;
use crate::serial::Serial;
use crate::server::Server;

/// Why an update is refused. The rings in use stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationError {
    /// The configuration names no signer.
    Off,
    /// It is longer than any may be.
    TooLong,
    /// The signature is not the signer's, or not over this.
    Signature,
    /// Signed, and still no update.
    Malformed,
    /// It is not newer than this one, which is in use.
    Older(u64),
    /// Its rings are in the clear, but those of the image were sealed.
    Unsealed,
    /// There is no key to unseal it with.
    Key(KeyError),
    /// It was sealed under another key.
    OtherKey,
    /// A ring of it has a label that none of the image's has.
    Label,
    /// A ring's private key is none of its kind.
    BadKey,
    /// A ring of it signs in fewer roles than the one in use, or does not decrypt: what names
    /// the ring would fail.
    Less,
}

impl fmt::Display for RotationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("the image has no [rotation] signer"),
            Self::TooLong => write!(f, "longer than {MAX} bytes"),
            Self::Signature => f.write_str("not signed by the image's signer, or altered"),
            Self::Malformed => f.write_str("signed, but no list of key rings"),
            Self::Older(version) => write!(
                f,
                "not newer than version {version}, the last that was taken"
            ),
            Self::Unsealed => f.write_str("not sealed, but the image's key rings are"),
            Self::Key(error) => error.fmt(f),
            Self::OtherKey => f.write_str("sealed under another key"),
            Self::Label => {
                f.write_str("it has a label that no ring of the image has, or one twice")
            }
            Self::BadKey => f.write_str("a private key in it can't be used"),
            Self::Less => f.write_str(
                "a ring in it has no key, or is used for less than the one in use; make it from \
                 the whole configuration",
            ),
        }
    }
}

/// An update that has come in full.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    signature: [u8; SIGNATURE],
    update: Vec<u8>,
}

impl Frame {
    /// The update, if `signer` signed it.
    pub(crate) fn verify(&self, signer: &[u8; 32]) -> Result<Update, RotationError> {
        let signed = [CONTEXT, &self.update].concat();
        UnparsedPublicKey::new(&ED25519, signer)
            .verify(&signed, &self.signature)
            .map_err(|_| RotationError::Signature)?;
        postcard::from_bytes(&self.update).map_err(|_| RotationError::Malformed)
    }
}

#[inline(never)]
fn unsealed(
    sealed: &Sealed,
    key: impl FnOnce() -> Result<Kek, KeyError>,
) -> Result<Keyrings, RotationError> {
    let key = key().map_err(RotationError::Key)?;
    sealed::open(sealed, &key).ok_or(RotationError::OtherKey)
}

/// The rings of an update or of the image.
pub(crate) fn opened(
    rings: Rings,
    key: impl FnOnce() -> Result<Kek, KeyError>,
) -> Result<Keyrings, RotationError> {
    match rings {
        Rings::Open(rings) => Ok(rings),
        Rings::Sealed(sealed) => {
            let rings = unsealed(&sealed, key);
            sealed::clear_below();
            rings
        }
    }
}

/// Puts bytes together to updates.
#[derive(Default)]
pub struct Receiver {
    /// What has come since the last frame's end.
    bytes: Vec<u8>,
}

impl Receiver {
    /// Drops what has arrived so far: its sender has stopped.
    pub fn forget(&mut self) {
        self.bytes = Vec::new();
    }

    /// Takes the next byte; a frame when it was the last one of it. What does
    /// not begin like a frame is dropped.
    ///
    /// # Errors
    /// [`RotationError::TooLong`]; parsing starts over with what follows.
    pub fn take(&mut self, byte: u8) -> Result<Option<Frame>, RotationError> {
        self.bytes.push(byte);
        while !self.bytes.starts_with(&MAGIC) && !MAGIC.starts_with(&self.bytes) {
            self.bytes.remove(0);
        }
        let Some((header, update)) = self.bytes.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let Some((_, rest)) = header.split_first_chunk::<{ MAGIC.len() }>() else {
            return Ok(None);
        };
        let Some((length, signature)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length);
        if usize::try_from(length).is_ok_and(|length| update.len() < length && length <= MAX) {
            return Ok(None);
        }
        let signature = signature.try_into().unwrap_or([0; SIGNATURE]);
        let update = update.to_vec();
        self.bytes = Vec::new();
        match usize::try_from(length) {
            Ok(length) if length == update.len() => Ok(Some(Frame { signature, update })),
            _ => Err(RotationError::TooLong),
        }
    }
}

/// The line on which updates come.
pub struct Line<P> {
    serial: Serial<P>,
    receiver: Receiver,
    /// When something last arrived.
    last: Instant,
    /// Since then, so many bytes were taken.
    since: Instant,
    taken: usize,
}

/// An update whose bytes stop coming for that long was broken off.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a line of 115,200 baud brings in this time is taken in it, and no more: whoever
/// writes faster (a socket of the host's) waits, and the callers of the key store don't.
const PAUSE: Duration = Duration::from_millis(125);
const IN_PAUSE: usize = 1440;

/// What became of a look at the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Rings were replaced.
    pub is_new: bool,
    /// When there may be more to take; no interrupt tells of it.
    pub more_at: Option<Instant>,
}

impl<P: Ports> Line<P> {
    /// Over the serial line whose first port is `first`; `None` when there is
    /// none.
    pub fn new(ports: P, first: u16) -> Option<Self> {
        Some(Self {
            serial: Serial::new(ports, first)?,
            receiver: Receiver::default(),
            last: Instant::default(),
            since: Instant::default(),
            taken: 0,
        })
    }

    /// Takes some of what has come, gives the updates in it to `server`, and
    /// answers each with a line. Call it at each interrupt, and at the time that it says.
    #[inline(never)]
    pub fn run(
        &mut self,
        server: &mut Server<'_>,
        key: impl Fn() -> Result<Kek, KeyError>,
        now: Instant,
        mut progress: impl FnMut(&str),
    ) -> Ran {
        if now - self.last > PATIENCE {
            self.receiver.forget();
        }
        self.last = now;
        if now >= self.since + PAUSE {
            (self.since, self.taken) = (now, 0);
        }
        let mut is_new = false;
        while self.taken < IN_PAUSE {
            let Some(byte) = self.serial.receive() else {
                let more_at = None;
                return Ran { is_new, more_at };
            };
            self.taken += 1;
            let outcome = match self.receiver.take(byte) {
                Ok(None) => continue,
                Ok(Some(frame)) => server.rotate(&frame, &key),
                Err(error) => Err(error),
            };
            is_new |= outcome.is_ok();
            let mut line = String::new();
            let _ = match outcome {
                Ok(version) => fmt::write(&mut line, format_args!("{ACCEPTED}version {version}")),
                Err(error) => fmt::write(&mut line, format_args!("{REFUSED}{error}")),
            };
            progress(&line);
            line.push('\n');
            self.serial.send(line.as_bytes());
        }
        let more_at = Some(self.since + PAUSE);
        Ran { is_new, more_at }
    }
}
