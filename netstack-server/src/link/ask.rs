//! Asking where a neighbour is.
//!
//! smoltcp asks once a second for all neighbours together, and who asked last asks first
//! again: a connection to a host that is off would keep all others from being asked for.
//! So what it does not ask is asked here, once a second for each neighbour.

use core::net::IpAddr;

use ipc::clock::Instant;
use ipc::stats::netstack as counters;
use smoltcp::phy::Device;
use smoltcp::wire::{IpAddress, IpCidr};

use super::Link;
use crate::clock::wire_time;
use crate::device::{Sent, send_frame};
use crate::{discovery, neighbour};

impl Link<'_> {
    /// `sent` lacked the neighbour by which `remote` is reached: it is asked for. `is_ours`:
    /// this host opens the connection.
    pub(crate) fn ask(
        &mut self,
        nic: &mut impl Device,
        (remote, is_ours): (IpAddr, bool),
        sent: &Sent,
        now: Instant,
    ) {
        let Some(hop) = self.next_hop(remote) else {
            return;
        };
        let is_wanted = is_ours || self.neighbours.hardware(hop).is_some();
        // One that smoltcp asks for is noted, too.
        if !self.questions.may_ask(hop, is_wanted, now) || sent.has_question() {
            return;
        }
        let Some(from) = self.source(hop) else {
            return;
        };
        let host = self.host();
        let time = wire_time(now);
        let goes = match (hop, from) {
            (IpAddr::V4(hop), IpAddr::V4(from)) => {
                send_frame(nic, &neighbour::question(hop, from, &host), time)
            }
            (IpAddr::V6(hop), IpAddr::V6(from)) => {
                let question = discovery::question(hop, from, &host);
                send_frame(nic, question.as_slice(), time)
            }
            _ => false,
        };
        self.stats.add(counters::FRAMES_OUT, u64::from(goes));
    }

    /// The neighbour that takes packets for `remote`.
    fn next_hop(&self, remote: IpAddr) -> Option<IpAddr> {
        let to = IpAddress::from(remote);
        let mut networks = self.interface.ip_addrs().iter();
        if networks.any(|cidr: &IpCidr| cidr.contains_addr(&to)) {
            return Some(remote);
        }
        let routes = self.interface.routes();
        let route = match remote {
            IpAddr::V4(_) => routes.get_default_ipv4_route(),
            IpAddr::V6(_) => routes.get_default_ipv6_route(),
        };
        route.map(|route| route.via_router.into())
    }
}
