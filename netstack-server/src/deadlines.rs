//! Deadlines of connections, and what runs by the clock alone.

use ipc::channel::{Doorbell, Status};
use ipc::clock::Instant;
use ipc::net::Readiness;
use ipc::stats::netstack as counters;
use smoltcp::phy::Device;
use smoltcp::socket::tcp::State;

use crate::clock::Clock;
use crate::config::{GRACE, HALF_OPEN, NIC_FULL};
use crate::connection::{Connection, Phase};
use crate::connections::Connections;
use crate::stack::Core;
use crate::timers::Timers;

impl<B: Doorbell> Core<'_, B> {
    /// Ends what has taken too long, and tells owners of their deadlines.
    pub(crate) fn check_deadlines(&mut self, index: u32, now: Instant) {
        let Some(connection) = self.connections.get_mut(index) else {
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
            && let Some(mut port) = self.owners.of(connection.owner)
        {
            port.tell(flags);
        }
        if over && let Some(wire) = &mut connection.wire {
            wire.socket().abort();
        }
    }

    /// DHCP, neighbour discovery, router solicitation.
    pub(crate) fn keep_house<D: Device>(&mut self, nic: &mut D, now: Instant) {
        let dhcp = self.link.keep_house(nic, now);
        self.clock.house_is_kept(dhcp, now);
    }
}

/// Touches the connections whose timer is over.
pub(crate) fn expire(timers: &mut Timers, connections: &mut Connections, now: Instant) {
    while let Some(index) = timers.next_over(now) {
        if let Some(connection) = connections.get_mut(index) {
            connection.timer.clear();
        }
        connections.touch(index);
    }
}

/// Sets a connection's timer. One that is set for earlier stays: most timers are
/// moved back by every acknowledgement, and one check too many is cheaper than
/// sorting every time. Not so in TIME-WAIT, where no timer moves any more: there it
/// would be a useless wake-up.
pub(crate) fn arm(
    connection: &mut Connection,
    index: u32,
    clock: &mut Clock,
    timers: &mut Timers,
    now: Instant,
) {
    let Some(wire) = &mut connection.wire else {
        return;
    };
    let wanted = clock.wanted_by(&wire.sockets, now);
    // "Now" although nothing went: the NIC is full.
    let wanted = wanted.max(now + NIC_FULL);
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
    let is_last = connection.state() == State::TimeWait;
    timers.set(index, &mut connection.timer, wanted.min(limit), is_last);
}
