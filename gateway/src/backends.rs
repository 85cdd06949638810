//! What is known of each listener's backend: how many relays wait for it, and whether it
//! answers. A backend that does not keeps what its clients hold in tables that all
//! listeners share.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use ipc::clock::Instant;

use crate::report::Why;

/// So many relays may wait for each backend, whatever others hold: a burst of clients can
/// have the last places, too.
const ALWAYS: u16 = 16;
/// So many places of each table are for backends for which no more than [`ALWAYS`] wait.
/// Thresholds alone are full when a few grow one after another.
const LAST: usize = 4 * ALWAYS as usize;
/// Connections that were not answered in time, one after another: then the next clients
/// need not wait to learn it. As many as Envoy's outlier detection takes
/// (`consecutive_5xx`, which counts failures to connect for TCP).
const MOST_UNANSWERED: u8 = 5;
/// After each of them, no client is let in for so long.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Default)]
struct Backend {
    /// Relays that wait for it.
    opening: u16,
    /// Connections in a row that it did not answer, [`MOST_UNANSWERED`] at the most.
    unanswered: u8,
    /// No client is let in before.
    until: Instant,
}

/// Places of one table that relays of a listener take up.
#[derive(Clone, Copy)]
pub(crate) struct Share {
    /// Places that one relay takes.
    pub(crate) each: usize,
    /// Places that are free.
    pub(crate) free: usize,
}

/// Every backend, by listener.
pub(crate) struct Backends(Vec<Backend>);

impl Backends {
    /// Bytes for one listener.
    pub(crate) const PLACE: usize = size_of::<Backend>();

    pub(crate) fn new(listeners: usize) -> Self {
        Self(vec![Backend::default(); listeners])
    }

    /// Whether one more client of this listener is let in. Relays that wait for its backend
    /// may have as many places of each table as are still free (a dynamic threshold); with
    /// no other listener, all.
    pub(crate) fn admits(&self, listener: usize, shares: [Share; 2], now: Instant) -> bool {
        let Some(backend) = self.0.get(listener) else {
            return false;
        };
        if backend.opening < ALWAYS {
            return backend.unanswered < MOST_UNANSWERED || now >= backend.until;
        }
        let opening = usize::from(backend.opening);
        let is_within = |share: &Share| opening * share.each + LAST < share.free;
        let is_alone = self.0.len() == 1;
        backend.unanswered < MOST_UNANSWERED && (is_alone || shares.iter().all(is_within))
    }

    /// A relay waits for it.
    pub(crate) fn begin(&mut self, listener: usize, is_opening: &mut bool) {
        if let Some(backend) = self.0.get_mut(listener)
            && !core::mem::replace(is_opening, true)
        {
            backend.opening += 1;
        }
    }

    /// That relay has it, or is over.
    pub(crate) fn end(&mut self, listener: usize, is_opening: &mut bool) {
        if let Some(backend) = self.0.get_mut(listener)
            && core::mem::take(is_opening)
        {
            backend.opening -= 1;
        }
    }

    /// It took a connection.
    pub(crate) fn answered(&mut self, listener: usize) {
        if let Some(backend) = self.0.get_mut(listener) {
            backend.unanswered = 0;
        }
    }

    /// It did not take one. Who refuses is there.
    pub(crate) fn failed(&mut self, listener: usize, why: Why, now: Instant) {
        if let Some(backend) = self.0.get_mut(listener) {
            match why {
                Why::Unanswered => {
                    backend.unanswered = MOST_UNANSWERED.min(backend.unanswered + 1);
                    backend.until = now + PAUSE;
                }
                Why::Refused => backend.unanswered = 0,
                _ => {}
            }
        }
    }
}
