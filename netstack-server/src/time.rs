//! Deadlines, timers, and what runs by the clock alone.

use ipc::channel::{Doorbell, Status};
use ipc::clock::Instant;
use ipc::net::Readiness;
use ipc::stats::netstack as counters;
use smoltcp::iface::PollResult;
use smoltcp::phy::Device;
use smoltcp::socket::tcp::State;

use crate::config::{
    CARD_FULL, GRACE, HALF_OPEN, HOUSEKEEPING_FIRST, HOUSEKEEPING_LATER, HOUSEKEEPING_SOONEST,
};
use crate::connection::Phase;
use crate::device::Outlet;
use crate::stack::Core;

impl<G: Doorbell, O: Doorbell, R: Doorbell> Core<'_, G, O, R> {
    /// Ends what has taken too long, and tells owners of their deadlines.
    pub(crate) fn check_deadlines(&mut self, index: u32, now: Instant) {
        let Some(connection) = self.table.get_mut(index) else {
            return;
        };
        let mut flags = 0;
        let over = match connection.phase {
            Phase::HalfOpen if now >= connection.since + HALF_OPEN => {
                self.stats.add(counters::HALF_OPEN_DROPPED, 1);
                true
            }
            Phase::Opening if now >= connection.opening_until() => {
                flags = Status::DEADLINE;
                true
            }
            Phase::Lingering(until) => now >= until,
            Phase::Quiet(until) if now >= until => {
                return self.offer(index, Readiness::Late, now);
            }
            Phase::Open if now >= connection.deadline => {
                if !connection.deadline_told {
                    connection.deadline_told = true;
                    self.stats.add(counters::DEADLINES, 1);
                    flags = Status::DEADLINE;
                }
                now >= connection.deadline + GRACE || now >= connection.gone_at()
            }
            _ => now >= connection.gone_at(),
        };
        if flags != 0
            && let Some((port, slot)) = self.ports.of(connection.owner)
        {
            port.tell(slot, flags);
        }
        if over && let Some(wire) = &mut connection.wire {
            wire.socket().abort();
        }
    }

    /// Touches the connections whose timer is over.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((at, index)) = self.timers.first().copied() {
            if at > now {
                return;
            }
            self.timers.remove(&(at, index));
            if let Some(connection) = self.table.get_mut(index) {
                connection.armed = Instant::NEVER;
            }
            self.touch(index);
        }
    }

    /// Sets a connection's timer. One that is set for earlier stays: most timers are
    /// moved back by every acknowledgement, and one check too many is cheaper than
    /// sorting every time. Not so in TIME-WAIT, where no timer moves any more: there it
    /// would be a useless wake-up.
    pub(crate) fn arm(&mut self, index: u32, now: Instant) {
        let Some(connection) = self.table.get_mut(index) else {
            return;
        };
        let Some(wire) = &mut connection.wire else {
            return;
        };
        let wanted = self.timekeeper.poll_at(wire_time(now), &wire.sockets);
        let wanted = wanted.map_or(Instant::NEVER, |at| {
            // "Now" although nothing went: the NIC is full.
            our_time(at).max(now + CARD_FULL)
        });
        let limit = match connection.phase {
            Phase::HalfOpen => connection.since + HALF_OPEN,
            Phase::Waiting => connection.gone_at(),
            Phase::Opening => connection.opening_until(),
            Phase::Lingering(until) | Phase::Quiet(until) => until,
            Phase::Open if connection.deadline_told => {
                connection.gone_at().min(connection.deadline + GRACE)
            }
            Phase::Open => connection.deadline.min(connection.gone_at()),
        };
        let at = wanted.min(limit);
        let is_last = connection.state() == State::TimeWait && at != connection.armed;
        if at < connection.armed || is_last {
            self.timers.remove(&(connection.armed, index));
            connection.armed = at;
            self.timers.insert((at, index));
        }
    }

    /// DHCP, neighbour discovery, router solicitation.
    pub(crate) fn keep_house<D: Device>(&mut self, card: &mut D, now: Instant) {
        let time = wire_time(now);
        self.interface.poll_maintenance(time);
        let mut outlet = Outlet::new(card, &self.capabilities);
        loop {
            self.addresses.update(&mut self.interface);
            let sockets = &mut self.addresses.sockets;
            let result = self.interface.poll_egress(time, &mut outlet, sockets);
            if result == PollResult::None {
                break;
            }
        }
        self.stats.add(counters::FRAMES_OUT, outlet.sent.frames);
        let next = self.timekeeper.poll_at(time, &self.addresses.sockets);
        // Routers are solicited every 4 s, three times (RFC 4861 §10); later
        // only lifetimes end.
        let is_new = now < self.started + HOUSEKEEPING_LATER;
        let later = if is_new {
            HOUSEKEEPING_FIRST
        } else {
            HOUSEKEEPING_LATER
        };
        let dhcp = next.map_or(Instant::NEVER, our_time);
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
