//! smoltcp's time, when its sockets want to run, and when the link's own protocols do.

use ipc::clock::Instant;
use smoltcp::iface::{Interface, SocketSet};

use crate::config::{HOUSEKEEPING_FIRST, HOUSEKEEPING_LATER, HOUSEKEEPING_SOONEST};

pub(crate) struct Clock {
    /// Computes when a socket needs to be served again. It has no address, sends
    /// nothing and does not solicit routers: an interface that did so in vain
    /// says "at once" for ever (smoltcp 0.14).
    timekeeper: Interface,
    /// When DHCP and neighbour discovery want to run.
    housekeeping: Instant,
    started: Instant,
}

impl Clock {
    /// `timekeeper` has no address. Housekeeping is due at once.
    pub(crate) fn new(timekeeper: Interface, now: Instant) -> Self {
        Self {
            timekeeper,
            housekeeping: now,
            started: now,
        }
    }

    /// When these sockets want to be served again; "now" may be over.
    pub(crate) fn wanted_by(&mut self, sockets: &SocketSet<'_>, now: Instant) -> Instant {
        let at = self.timekeeper.poll_at(wire_time(now), sockets);
        at.map_or(Instant::NEVER, our_time)
    }

    /// When housekeeping is due.
    pub(crate) fn housekeeping(&self) -> Instant {
        self.housekeeping
    }

    /// Something was learned: housekeeping is due.
    pub(crate) fn keep_house_at(&mut self, now: Instant) {
        self.housekeeping = now;
    }

    /// Housekeeping is done; `dhcp` are its sockets.
    pub(crate) fn house_is_kept(&mut self, dhcp: &SocketSet<'_>, now: Instant) {
        let dhcp = self.wanted_by(dhcp, now);
        // Routers are solicited every 4 s, three times (RFC 4861 §10); later
        // only lifetimes end.
        let is_new = now < self.started + HOUSEKEEPING_LATER;
        let later = if is_new {
            HOUSEKEEPING_FIRST
        } else {
            HOUSEKEEPING_LATER
        };
        self.housekeeping = dhcp.max(now + HOUSEKEEPING_SOONEST).min(now + later);
    }
}

/// smoltcp's time.
pub(crate) fn wire_time(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

/// Rounded up to whole milliseconds: never early.
fn our_time(at: smoltcp::time::Instant) -> Instant {
    let micros = u64::try_from(at.total_micros()).unwrap_or(0);
    Instant::from_nanos(micros.saturating_mul(1_000))
}
