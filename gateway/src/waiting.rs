//! Connections that wait until a handshake can begin. Backends go first and never give
//! way: a client has been let in for each of them.

use alloc::collections::VecDeque;
use core::time::Duration;

use ipc::clock::Instant;

use crate::server::{Arrived, Secure};

/// Clients that wait at once; then the one that has waited longest gives way.
pub(crate) const MAX_CLIENTS: usize = 64;
/// When room that was asked for did not come, it is asked for again.
pub(crate) const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Both queues.
pub(crate) struct Waiting {
    pub(crate) clients: VecDeque<Arrived>,
    pub(crate) backends: VecDeque<Secure>,
    /// Handshakes that the shim was asked to give up and that have not come back.
    displacing: usize,
    /// When it was asked last.
    asked: Instant,
}

impl Waiting {
    /// Bytes for one relay.
    pub(crate) const PLACE: usize = size_of::<Secure>();
    /// Bytes for clients.
    pub(crate) const FIXED: usize = MAX_CLIENTS * size_of::<Arrived>();

    /// Room for so many relays.
    pub(crate) fn new(relays: usize) -> Self {
        Self {
            clients: VecDeque::with_capacity(MAX_CLIENTS),
            backends: VecDeque::with_capacity(relays),
            displacing: 0,
            asked: Instant::default(),
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.clients.len() + self.backends.len()
    }

    /// Whether the shim may be asked to make room: once for each that waits.
    pub(crate) fn may_ask(&mut self, now: Instant) -> bool {
        self.displacing = self.displacing.min(self.len());
        if self.displacing >= self.len() {
            return false;
        }
        self.displacing += 1;
        self.asked = now;
        true
    }

    /// Room came, one place.
    pub(crate) fn note_displaced(&mut self) {
        self.displacing = self.displacing.saturating_sub(1);
    }

    /// Whether what was asked for has not come for so long that it is asked for again.
    pub(crate) fn is_stuck(&mut self, now: Instant) -> bool {
        let is_stuck = self.len() > 0 && now >= self.asked + ASK_AGAIN;
        if is_stuck {
            self.displacing = 0;
        }
        is_stuck
    }

    /// Adds a client; the one that gives way, if one must.
    pub(crate) fn add(&mut self, arrived: Arrived) -> Option<Arrived> {
        let gives_way = match self.clients.len() >= MAX_CLIENTS {
            true => self.clients.pop_front(),
            false => None,
        };
        self.clients.push_back(arrived);
        gives_way
    }
}
