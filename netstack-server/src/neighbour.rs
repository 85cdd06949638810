//! Who is at which Ethernet address: ARP, and what changes there.
//!
//! smoltcp keeps the cache that frames are sent by, and learns from answers and questions
//! to this system alone. A router that takes over another's address announces that to
//! everybody (RFC 5227 §3, RFC 5798 §8.2.1, §8.2.3): for an address that is cached, the
//! announcement is rewritten as an answer to this system, so that a fail-over costs no
//! session.

use alloc::collections::VecDeque;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use ipc::clock::Instant;

use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress};
use smoltcp::wire::{EthernetFrame, EthernetProtocol};

use crate::parse::{ETHERNET, Host};

/// Neighbours that are remembered, as many as smoltcp caches (its feature
/// `iface-neighbor-cache-count-32`).
pub(crate) const NEIGHBOURS: usize = 32;

/// Bytes of an ARP packet for IPv4 over Ethernet.
const ARP: usize = 28;

/// An ARP packet of a neighbour (RFC 826).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arp {
    pub(crate) sender: Ipv4Addr,
    pub(crate) hardware: [u8; 6],
    /// It asks or answers this system; else it tells everybody of its sender.
    pub(crate) is_for_us: bool,
}

impl Arp {
    /// Reads a request or reply for IPv4 over Ethernet that concerns this system.
    pub(crate) fn read(packet: &[u8], host: &Host<'_>) -> Option<Self> {
        const FORM: [u8; 7] = [0, 1, 8, 0, 6, 4, 0];
        let packet = packet.first_chunk::<ARP>()?;
        let [form @ .., operation] = packet.first_chunk::<8>()?;
        let hardware = *packet.get(8..)?.first_chunk::<6>()?;
        let sender = Ipv4Addr::from(*packet.get(14..)?.first_chunk::<4>()?);
        let target = Ipv4Addr::from(*packet.get(24..)?.first_chunk::<4>()?);
        let is_for_us = host.owns(target);
        let is_arp = *form == FORM
            && matches!(operation, 1 | 2)
            && is_unicast(hardware)
            && host.is_peer(sender.into())
            && host.is_near(sender);
        (is_arp && (is_for_us || sender == target)).then_some(Self {
            sender,
            hardware,
            is_for_us,
        })
    }

    /// The same as a reply to this system.
    pub(crate) fn reply(&self, host: &Host<'_>, to: Ipv4Addr) -> [u8; ETHERNET + ARP] {
        let mut bytes = [0; ETHERNET + ARP];
        let own = EthernetAddress(host.hardware);
        let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
        frame.set_src_addr(EthernetAddress(self.hardware));
        frame.set_dst_addr(own);
        frame.set_ethertype(EthernetProtocol::Arp);
        let reply = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: EthernetAddress(self.hardware),
            source_protocol_addr: self.sender,
            target_hardware_addr: own,
            target_protocol_addr: to,
        };
        reply.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
        bytes
    }
}

/// This system's question where `target` is (RFC 826), from an address of its own.
pub(crate) fn question(target: Ipv4Addr, from: Ipv4Addr, host: &Host<'_>) -> [u8; ETHERNET + ARP] {
    let mut bytes = [0; ETHERNET + ARP];
    let own = EthernetAddress(host.hardware);
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    frame.set_src_addr(own);
    frame.set_dst_addr(EthernetAddress::BROADCAST);
    frame.set_ethertype(EthernetProtocol::Arp);
    let request = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: own,
        source_protocol_addr: from,
        target_hardware_addr: EthernetAddress::BROADCAST,
        target_protocol_addr: target,
    };
    request.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    bytes
}

/// How soon one address is asked for again (RFC 4861 §10, RETRANS_TIMER).
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Of addresses that never answered, so many are asked for at once, and in a second: who
/// sends SYNs from unused addresses of the link makes no storm of questions.
const STRANGERS: u32 = 64;

/// When which neighbour was asked for.
pub(crate) struct Questions {
    asked: VecDeque<(IpAddr, Instant)>,
}

impl Questions {
    pub(crate) fn new() -> Self {
        Self {
            asked: VecDeque::with_capacity(NEIGHBOURS + STRANGERS as usize),
        }
    }

    /// Whether `ip` is asked for now; then that is noted. A neighbour that is `wanted`, since
    /// it answered before or a connection of ours is opened to it, does not wait for those
    /// that never did.
    pub(crate) fn may_ask(&mut self, ip: IpAddr, is_wanted: bool, now: Instant) -> bool {
        while self
            .asked
            .pop_front_if(|(_, at)| now >= *at + ASK_AGAIN)
            .is_some()
        {}
        let room = match is_wanted {
            true => NEIGHBOURS + STRANGERS as usize,
            false => STRANGERS as usize,
        };
        let may_ask = self.asked.len() < room && !self.asked.iter().any(|(asked, _)| *asked == ip);
        if may_ask {
            self.asked.push_back((ip, now));
        }
        may_ask
    }
}

pub(crate) fn is_unicast(hardware: [u8; 6]) -> bool {
    hardware[0] & 1 == 0 && hardware != [0; 6]
}

/// What smoltcp's cache, which can't be read, was fed. An entry that has expired in
/// smoltcp stays here until another takes its place: an announcement of it is taken then,
/// too.
pub(crate) struct Neighbours {
    known: [Option<(IpAddr, [u8; 6])>; NEIGHBOURS],
    next: usize,
}

impl Neighbours {
    pub(crate) const fn new() -> Self {
        Self {
            known: [None; NEIGHBOURS],
            next: 0,
        }
    }

    /// Where `ip` was last.
    pub(crate) fn hardware(&self, ip: IpAddr) -> Option<[u8; 6]> {
        let mut known = self.known.iter().flatten();
        known.find(|(known, _)| *known == ip).map(|(_, at)| *at)
    }

    pub(crate) fn note(&mut self, ip: IpAddr, hardware: [u8; 6]) {
        let mut known = self.known.iter_mut().flatten();
        if let Some((_, at)) = known.find(|(known, _)| *known == ip) {
            *at = hardware;
            return;
        }
        if let Some(place) = self.known.get_mut(self.next) {
            *place = Some((ip, hardware));
        }
        self.next = (self.next + 1) % NEIGHBOURS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_neighbour_is_asked_for_once_a_second_and_known_ones_beside_any_number_of_others() {
        let at = Instant::from_millis;
        let mut questions = Questions::new();
        let stranger = |number: u32| IpAddr::from((0x0a00_0200 + number).to_be_bytes());
        let known = IpAddr::from([10, 0, 2, 2]);
        let asked = (1000..1200).filter(|n| questions.may_ask(stranger(*n), false, at(0)));
        assert_eq!(asked.count(), 64);
        assert!(questions.may_ask(known, true, at(10)));
        assert!(!questions.may_ask(known, true, at(1009)));
        assert!(questions.may_ask(known, true, at(1010)));
        assert!(questions.may_ask(stranger(1000), false, at(1010)));
        // Its list never grows beyond what it has room for.
        for number in 0..10_000 {
            questions.may_ask(stranger(number), number % 2 == 0, at(1020));
        }
        assert_eq!(questions.asked.len(), NEIGHBOURS + 64);
    }

    #[test]
    fn as_many_are_remembered_as_smoltcp_caches_and_the_first_give_way() {
        let ip = |last: usize| IpAddr::from([10, 0, 2, last as u8]);
        let mut neighbours = Neighbours::new();
        for last in 0..=NEIGHBOURS {
            neighbours.note(ip(last), [2, 0, 0, 0, 0, last as u8]);
            // Once more changes nothing.
            neighbours.note(ip(last), [2, 0, 0, 0, 1, last as u8]);
        }
        assert_eq!(neighbours.hardware(ip(0)), None);
        for last in 1..=NEIGHBOURS {
            let expected = Some([2, 0, 0, 0, 1, last as u8]);
            assert_eq!(neighbours.hardware(ip(last)), expected);
        }
    }
}
