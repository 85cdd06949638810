//! The handshake in work, autonomous: what our parts of a rustls configuration know of it.
//!
//! rustls has one configuration for many handshakes, and does not tell its parts
//! (resolver, verifier, ticketer, session store) for which handshake it calls them. One
//! thread runs all: the facts of a handshake are put here before each step, and taken
//! back after.

use core::{fmt, mem};

use ipc::control::Cause;
use spin::Mutex;
use tls::{Scheme, Version};

use super::announced::Accepted;
use crate::full_handshake::FullHandshake;

/// What is known of one handshake.
#[derive(Clone, Copy, Default)]
pub(crate) struct Facts {
    /// The key ring that was chosen to be shown, by its place in the request.
    pub(crate) ring: Option<usize>,
    /// Server: the version, where the client's hello came in one record.
    pub(crate) version: Option<Version>,
    /// How the peer signed.
    pub(crate) scheme: Option<Scheme>,
    /// When this session's peer was authenticated: in this handshake, or in the one that
    /// it resumes.
    pub(crate) full: Option<FullHandshake>,
    /// Bytes on the heap of the chain that the peer showed.
    pub(crate) chain: usize,
    /// TLS 1.2, client: bytes of the longest NewSessionTicket that came.
    pub(crate) ticket: usize,
    /// TLS 1.2, client: the keys that the server's request accepts.
    pub(crate) accepted: Option<Accepted>,
    /// Server: why no ring can be shown to this client.
    pub(crate) lacking: Option<Cause>,
}

/// The facts of the handshake in work.
#[derive(Default)]
pub(crate) struct Current(Mutex<Facts>);

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

impl Current {
    pub(crate) fn facts(&self) -> Facts {
        *self.0.lock()
    }

    pub(crate) fn set_ring(&self, ring: usize) {
        self.0.lock().ring = Some(ring);
    }

    pub(crate) fn set_lacking(&self, lacking: Cause) {
        self.0.lock().lacking = Some(lacking);
    }

    pub(crate) fn set_scheme(&self, scheme: Option<Scheme>) {
        self.0.lock().scheme = scheme;
    }

    pub(crate) fn set_full(&self, full: Option<FullHandshake>) {
        self.0.lock().full = full;
    }

    pub(crate) fn set_chain(&self, bytes: usize) {
        self.0.lock().chain = bytes;
    }

    /// Does `step` of the handshake that `facts` are of, and notes what it added.
    pub(crate) fn with<R>(&self, facts: &mut Facts, step: impl FnOnce() -> R) -> R {
        mem::swap(&mut *self.0.lock(), facts);
        let done = step();
        mem::swap(&mut *self.0.lock(), facts);
        done
    }
}
