//! What frames say of the link and of the paths behind it.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use ipc::channel::Doorbell;
use ipc::clock::Instant;
use ipc::stats::netstack as counters;
use smoltcp::phy::TxToken;
use smoltcp::wire::IpCidr;

use crate::discovery::{self, Advertisement, Discovery, RouterAdvertisement};
use crate::neighbour::{Arp, Neighbours};
use crate::path::{Narrow, Paths, REMEMBERED, TooBig};
use crate::stack::Core;

/// Routers whose advertisements are taken; RFC 4861 §6.3.4 asks for two.
const ROUTERS: usize = 3;

/// Advertisements that are taken in a row, and how soon each of them comes back:
/// routers send them to all three seconds apart at the least (RFC 4861 §10). Each
/// that changes an address or route costs smoltcp all its neighbours.
const ADVERTISEMENTS: u32 = 6;
const ADVERTISEMENT_TIME: Duration = Duration::from_secs(3);

/// What is known of the link.
pub(crate) struct Link {
    pub(crate) hardware: [u8; 6],
    pub(crate) paths: Paths,
    neighbours: Neighbours,
    /// Whether routers are listened to.
    advertisements: bool,
    routers: [Option<(Ipv6Addr, Instant)>; ROUTERS],
    /// Advertisements that are taken now, and when the next one came back.
    quota: (u32, Instant),
}

impl Link {
    pub(crate) fn new(hardware: [u8; 6], advertisements: bool, now: Instant) -> Self {
        Self {
            hardware,
            paths: Paths::new(),
            neighbours: Neighbours::new(),
            advertisements,
            routers: [None; ROUTERS],
            quota: (ADVERTISEMENTS, now),
        }
    }

    /// Whether an advertisement of this router is taken now.
    fn admits(&mut self, message: &RouterAdvertisement, now: Instant) -> bool {
        let (count, since) = &mut self.quota;
        while *count < ADVERTISEMENTS && now >= *since + ADVERTISEMENT_TIME {
            *count += 1;
            *since = *since + ADVERTISEMENT_TIME;
        }
        if *count == 0 || !self.advertisements {
            return false;
        }
        let mut routers = self.routers.iter();
        let known = routers.position(|r| r.is_some_and(|(router, _)| router == message.from));
        let mut routers = self.routers.iter();
        let place = known.or_else(|| routers.position(|r| r.is_none_or(|(_, until)| until <= now)));
        let Some(place) = place.and_then(|place| self.routers.get_mut(place)) else {
            return false;
        };
        let lifetime = Duration::from_secs(u64::from(message.lifetime));
        *place = (message.lifetime > 0).then_some((message.from, now + lifetime));
        if *count == ADVERTISEMENTS {
            *since = now;
        }
        *count -= 1;
        true
    }
}

impl<G: Doorbell, O: Doorbell, R: Doorbell> Core<'_, G, O, R> {
    pub(crate) fn arp_in(&mut self, arp: &Arp, bytes: &[u8], reply: impl TxToken, now: Instant) {
        let ip = IpAddr::V4(arp.sender);
        if arp.is_for_us {
            self.link.neighbours.note(ip, arp.hardware);
            self.pass_in(bytes, reply, now);
            return self.resolved();
        }
        let own = self
            .interface
            .ip_addrs()
            .iter()
            .find_map(|cidr| match cidr {
                IpCidr::Ipv4(cidr) if cidr.contains_addr(&arp.sender) => Some(cidr.address()),
                _ => None,
            });
        if let Some(own) = own.filter(|_| self.has_moved(ip, arp.hardware)) {
            let frame = arp.reply(&self.host(), own);
            self.move_neighbour(ip, arp.hardware, &frame, reply, now);
        }
    }

    pub(crate) fn discovery_in(&mut self, message: &Discovery, reply: impl TxToken, now: Instant) {
        match message {
            Discovery::Solicitation {
                from,
                target,
                hardware,
            } => {
                if let Some(hardware) = hardware {
                    self.link.neighbours.note((*from).into(), *hardware);
                }
                let frame = discovery::solicitation(*from, *target, *hardware, &self.host());
                self.pass_in(frame.as_slice(), reply, now);
                self.resolved();
            }
            Discovery::Advertisement(message) => self.advertisement_in(message, reply, now),
            Discovery::Router(message) => {
                if !self.link.admits(message, now) {
                    return self.stats.add(counters::DROPPED, 1);
                }
                let mut reply = Some(reply);
                let host = self.host();
                let frames = message.write(&host);
                // As many as one advertisement has prefixes.
                let mut written = [const { None }; discovery::PREFIXES];
                written
                    .iter_mut()
                    .zip(frames)
                    .for_each(|(to, frame)| *to = Some(frame));
                for frame in written.iter().flatten() {
                    // smoltcp answers none of them.
                    self.show(frame.as_slice(), reply.take(), now);
                }
                self.housekeeping = now;
            }
        }
    }

    /// RFC 4861 §7.2.5.
    fn advertisement_in(&mut self, message: &Advertisement, reply: impl TxToken, now: Instant) {
        let ip = IpAddr::V6(message.target);
        let known = self.link.neighbours.hardware(ip);
        let is_taken = match known {
            // A solicited answer may add a neighbour, an unsolicited one never does.
            None => message.is_answer,
            Some(known) => message.overrides || known == message.hardware,
        };
        if !is_taken {
            return self.stats.add(counters::DROPPED, 1);
        }
        let frame = message.write(&self.host());
        if known.is_some() && self.has_moved(ip, message.hardware) {
            self.move_neighbour(ip, message.hardware, frame.as_slice(), reply, now);
        } else if message.is_answer {
            self.link.neighbours.note(ip, message.hardware);
            self.pass_in(frame.as_slice(), reply, now);
            self.resolved();
        }
    }

    /// Whether a neighbour that is known says that it is elsewhere now.
    fn has_moved(&self, ip: IpAddr, hardware: [u8; 6]) -> bool {
        let known = self.link.neighbours.hardware(ip);
        known.is_some_and(|known| known != hardware)
    }

    fn move_neighbour(
        &mut self,
        ip: IpAddr,
        hardware: [u8; 6],
        frame: &[u8],
        reply: impl TxToken,
        now: Instant,
    ) {
        self.stats.add(counters::MOVED, 1);
        self.link.neighbours.note(ip, hardware);
        self.pass_in(frame, reply, now);
        self.resolved();
    }

    /// Connections that waited for a neighbour's address may go on.
    fn resolved(&mut self) {
        while let Some(index) = self.unresolved.pop() {
            if let Some(connection) = self.table.get_mut(index) {
                connection.is_unresolved = false;
            }
            self.touch(index);
        }
    }

    /// RFC 1191 §6.4, RFC 8201 §4, with the checks of RFC 5927 §7.
    pub(crate) fn too_big_in(&mut self, word: &TooBig, now: Instant) {
        let link = u16::try_from(self.capabilities.mtu()).unwrap_or(u16::MAX);
        let found = self.tuples.get(&word.tuple).copied();
        let limit = found
            .and_then(|index| self.table.get_mut(index))
            .and_then(|connection| connection.believe(word, link, now));
        let Some(limit) = limit else {
            return self.stats.add(counters::NARROWED_REFUSED, 1);
        };
        self.stats.add(counters::NARROWED, 1);
        let to = word.tuple.remote;
        let narrow = Narrow {
            limit,
            until: now + REMEMBERED,
        };
        self.link.paths.note(to, narrow);
        for index in 0..self.table.places() {
            if let Some(connection) = self.table.get_mut(index)
                && connection.tuple.remote == to
            {
                connection.follow(narrow, now);
            }
        }
    }
}
