//! What the frames of ARP and neighbour discovery change.

use core::net::IpAddr;

use ipc::clock::Instant;
use ipc::stats::netstack as counters;
use smoltcp::phy::TxToken;
use smoltcp::wire::IpCidr;

use super::Link;
use crate::discovery::{self, Advertisement, Discovery};
use crate::neighbour::Arp;

/// What others have to do after a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learned {
    Nothing,
    /// Where a neighbour is: connections that waited for it may go on.
    Neighbour,
    /// What housekeeping has to look at.
    Network,
}

impl Link<'_> {
    pub(crate) fn arp_in(
        &mut self,
        arp: &Arp,
        bytes: &[u8],
        reply: impl TxToken,
        now: Instant,
    ) -> Learned {
        let ip = IpAddr::V4(arp.sender);
        if arp.is_for_us {
            self.neighbours.note(ip, arp.hardware);
            self.pass_in(bytes, reply, now);
            return Learned::Neighbour;
        }
        let own = self
            .interface
            .ip_addrs()
            .iter()
            .find_map(|cidr| match cidr {
                IpCidr::Ipv4(cidr) if cidr.contains_addr(&arp.sender) => Some(cidr.address()),
                _ => None,
            });
        let Some(own) = own.filter(|_| self.has_moved(ip, arp.hardware)) else {
            return Learned::Nothing;
        };
        let frame = arp.reply(&self.host(), own);
        self.move_neighbour(ip, arp.hardware, &frame, reply, now)
    }

    pub(crate) fn discovery_in(
        &mut self,
        message: &Discovery,
        reply: impl TxToken,
        now: Instant,
    ) -> Learned {
        match message {
            Discovery::Solicitation {
                from,
                target,
                hardware,
            } => {
                if let Some(hardware) = hardware {
                    self.neighbours.note((*from).into(), *hardware);
                }
                let frame = discovery::solicitation(*from, *target, *hardware, &self.host());
                self.pass_in(frame.as_slice(), reply, now);
                Learned::Neighbour
            }
            Discovery::Advertisement(message) => self.advertisement_in(message, reply, now),
            Discovery::Router(message) => {
                if !self.routers.admit(message, now) {
                    self.stats.add(counters::DROPPED, 1);
                    return Learned::Nothing;
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
                Learned::Network
            }
        }
    }

    /// RFC 4861 §7.2.5.
    fn advertisement_in(
        &mut self,
        message: &Advertisement,
        reply: impl TxToken,
        now: Instant,
    ) -> Learned {
        let ip = IpAddr::V6(message.target);
        let known = self.neighbours.hardware(ip);
        let is_taken = match known {
            // A solicited answer may add a neighbour, an unsolicited one never does.
            None => message.is_answer,
            Some(known) => message.overrides || known == message.hardware,
        };
        if !is_taken {
            self.stats.add(counters::DROPPED, 1);
            return Learned::Nothing;
        }
        let frame = message.write(&self.host());
        if known.is_some() && self.has_moved(ip, message.hardware) {
            return self.move_neighbour(ip, message.hardware, frame.as_slice(), reply, now);
        }
        if !message.is_answer {
            return Learned::Nothing;
        }
        self.neighbours.note(ip, message.hardware);
        self.pass_in(frame.as_slice(), reply, now);
        Learned::Neighbour
    }

    /// Whether a neighbour that is known says that it is elsewhere now.
    fn has_moved(&self, ip: IpAddr, hardware: [u8; 6]) -> bool {
        let known = self.neighbours.hardware(ip);
        known.is_some_and(|known| known != hardware)
    }

    fn move_neighbour(
        &mut self,
        ip: IpAddr,
        hardware: [u8; 6],
        frame: &[u8],
        reply: impl TxToken,
        now: Instant,
    ) -> Learned {
        self.stats.add(counters::MOVED, 1);
        self.neighbours.note(ip, hardware);
        self.pass_in(frame, reply, now);
        Learned::Neighbour
    }
}
