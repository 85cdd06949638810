//! Neighbour discovery (RFC 4861): parsed here, and rewritten for smoltcp.

use core::net::Ipv6Addr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::time::Duration;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv6Packet, Icmpv6Repr, IpProtocol,
    Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscPrefixInfoFlags, NdiscPrefixInformation,
    NdiscRepr, NdiscRouterFlags,
};

use crate::neighbour::is_unicast;
use crate::parse::{ETHERNET, Host, IPV6, is_host_v6};

/// Prefixes that are taken of one advertisement; the interface has room for no
/// more addresses.
pub(crate) const PREFIXES: usize = 2;

/// The least lifetime of a prefix in use, for any advertisement: a forged one could end
/// it at once otherwise (RFC 4862 §5.5.3).
const LEAST_LIFETIME: u32 = 2 * 60 * 60;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const ROUTER_ADVERTISEMENT: u8 = 134;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// A message for this system, or for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discovery {
    /// Asks where this system's address `target` is.
    Solicitation {
        from: Ipv6Addr,
        target: Ipv6Addr,
        hardware: Option<[u8; 6]>,
    },
    Advertisement(Advertisement),
    Router(RouterAdvertisement),
}

/// Tells where another host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Advertisement {
    pub(crate) target: Ipv6Addr,
    pub(crate) hardware: [u8; 6],
    /// It answers this system.
    pub(crate) is_answer: bool,
    /// It may replace what is known.
    pub(crate) overrides: bool,
}

/// What a router offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouterAdvertisement {
    pub(crate) from: Ipv6Addr,
    /// Seconds; 0 of a router that is none any more.
    pub(crate) lifetime: u16,
    pub(crate) prefixes: [Option<Prefix>; PREFIXES],
}

/// 64 bits that addresses may be made of, with seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    network: Ipv6Addr,
    valid: u32,
    preferred: u32,
}

/// Reads a message whose checksum is right and whose hop limit is 255.
pub(crate) fn read(
    message: &[u8],
    from: Ipv6Addr,
    to: Ipv6Addr,
    host: &Host<'_>,
) -> Option<Discovery> {
    // Every code is 0.
    let &[kind, 0, ..] = message else { return None };
    let is_for_us = host.owns(to);
    if !(is_for_us || to.is_multicast()) {
        return None;
    }
    match kind {
        ROUTER_ADVERTISEMENT if from.is_unicast_link_local() && (is_for_us || to == ALL_NODES) => {
            router(message, from)
        }
        SOLICITATION => {
            let (target, [_, _, _, _], options) = split(message)?;
            let hardware = link_address(options, 1)?;
            host.owns(target).then_some(Discovery::Solicitation {
                from,
                target,
                hardware,
            })
        }
        ADVERTISEMENT => {
            let (target, [flags, ..], options) = split(message)?;
            let is_answer = flags & 0x40 != 0;
            // Without an address it confirms what is known, at the most.
            let hardware = link_address(options, 2)??;
            let is_sound = is_host_v6(target) && !host.owns(target) && (is_for_us || !is_answer);
            is_sound.then_some(Discovery::Advertisement(Advertisement {
                target,
                hardware,
                is_answer,
                overrides: flags & 0x20 != 0,
            }))
        }
        _ => None,
    }
}

/// Target, flags and options of a solicitation or advertisement (§4.3, §4.4).
fn split(message: &[u8]) -> Option<(Ipv6Addr, [u8; 4], &[u8])> {
    let flags = *message.get(4..)?.first_chunk::<4>()?;
    let (target, options) = message.get(8..)?.split_first_chunk::<16>()?;
    Some((Ipv6Addr::from(*target), flags, options))
}

/// Shows each option of (type, length in 8 bytes, …); `None` if one has no
/// length or more than there is (§4.6).
fn each_option(mut options: &[u8], mut show: impl FnMut(u8, &[u8])) -> Option<()> {
    while let [kind, length, ..] = *options {
        let size = usize::from(length) * 8;
        let (option, rest) = options.split_at_checked(size).filter(|_| size > 0)?;
        show(kind, option);
        options = rest;
    }
    options.is_empty().then_some(())
}

/// The Ethernet address in the option of that type, if there is one.
fn link_address(options: &[u8], wanted: u8) -> Option<Option<[u8; 6]>> {
    let (mut found, mut is_sound) = (None, true);
    each_option(options, |kind, option| {
        if kind == wanted {
            let address = match *option {
                [_, _, a, b, c, d, e, f] => Some([a, b, c, d, e, f]),
                _ => None,
            };
            found = address.filter(|address| is_unicast(*address));
            is_sound &= found.is_some();
        }
    })?;
    is_sound.then_some(found)
}

/// §4.2.
fn router(message: &[u8], from: Ipv6Addr) -> Option<Discovery> {
    let (header, options) = message.split_first_chunk::<16>()?;
    let mut prefixes = [None; PREFIXES];
    each_option(options, |kind, option| {
        if let (3, Some(prefix)) = (kind, prefix(option))
            && let Some(place) = prefixes.iter_mut().find(|place| place.is_none())
        {
            *place = Some(prefix);
        }
    })?;
    Some(Discovery::Router(RouterAdvertisement {
        from,
        lifetime: u16::from_be_bytes([header[6], header[7]]),
        prefixes,
    }))
}

/// A prefix option (§4.6.2) that an address can be made of (RFC 4862 §5.5.3). The
/// other half of the address has 64 bits; smoltcp panics over a length above 128
/// and over a group's prefix.
fn prefix(option: &[u8]) -> Option<Prefix> {
    let option = option.first_chunk::<32>().filter(|_| option.len() == 32)?;
    let word = |at: usize| Some(u32::from_be_bytes(*option.get(at..)?.first_chunk::<4>()?));
    let (valid, preferred) = (word(4)?, word(8)?);
    let high = u64::from_be_bytes(*option.get(16..)?.first_chunk::<8>()?);
    let network = Ipv6Addr::from(u128::from(high) << 64);
    let is_usable = option[2] == 64
        && option[3] & 0x40 != 0
        && preferred <= valid
        && high != 0
        && !network.is_multicast()
        && !network.is_unicast_link_local();
    is_usable.then_some(Prefix {
        network,
        valid,
        preferred,
    })
}

/// A router advertisement with a prefix: the longest frame that is written here.
const LONGEST: usize = ETHERNET + IPV6 + 16 + 32;

/// A frame for smoltcp.
pub(crate) struct Written {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Written {
    const EMPTY: Self = Self {
        bytes: [0; LONGEST],
        length: 0,
    };

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// A question of `from` to this system.
pub(crate) fn solicitation(
    from: Ipv6Addr,
    target: Ipv6Addr,
    hardware: Option<[u8; 6]>,
    host: &Host<'_>,
) -> Written {
    let message = NdiscRepr::NeighborSolicit {
        target_addr: target,
        lladdr: hardware.map(|at| EthernetAddress(at).into()),
    };
    write(message, from, target, hardware.unwrap_or([2; 6]), host)
}

impl Advertisement {
    /// An answer of the target itself: smoltcp takes the sender's address for the
    /// announced one.
    pub(crate) fn write(&self, host: &Host<'_>) -> Written {
        let message = NdiscRepr::NeighborAdvert {
            flags: NdiscNeighborFlags::OVERRIDE,
            target_addr: self.target,
            lladdr: Some(EthernetAddress(self.hardware).into()),
        };
        write(message, self.target, ALL_NODES, self.hardware, host)
    }
}

impl RouterAdvertisement {
    /// One for each prefix, since smoltcp takes one of each advertisement; one
    /// without any if there is none.
    pub(crate) fn write(&self, host: &Host<'_>) -> impl Iterator<Item = Written> {
        let known = host.addresses;
        let is_known = move |prefix: &Prefix| {
            let mut known = known.iter();
            known.any(|cidr| cidr.contains_addr(&prefix.network.into()))
        };
        let prefixes = self.prefixes.into_iter().flatten();
        let none = self.prefixes.iter().all(Option::is_none).then_some(None);
        prefixes.map(Some).chain(none).map(move |prefix| {
            let prefix_info = prefix.map(|prefix| {
                let least = if is_known(&prefix) { LEAST_LIFETIME } else { 0 };
                let seconds = |count: u32| Duration::from_secs(u64::from(count));
                NdiscPrefixInformation {
                    prefix_len: 64,
                    flags: NdiscPrefixInfoFlags::ADDRCONF,
                    valid_lifetime: seconds(prefix.valid.max(least)),
                    preferred_lifetime: seconds(prefix.preferred),
                    prefix: prefix.network,
                }
            });
            let message = NdiscRepr::RouterAdvert {
                hop_limit: 0,
                flags: NdiscRouterFlags::empty(),
                router_lifetime: Duration::from_secs(u64::from(self.lifetime)),
                reachable_time: Duration::ZERO,
                retrans_time: Duration::ZERO,
                lladdr: None,
                mtu: None,
                prefix_info,
            };
            write(message, self.from, ALL_NODES, [2; 6], host)
        })
    }
}

/// This system's question where `target` is (RFC 4861 §7.2.2), from an address of its own.
pub(crate) fn question(target: Ipv6Addr, from: Ipv6Addr, host: &Host<'_>) -> Written {
    let message = NdiscRepr::NeighborSolicit {
        target_addr: target,
        lladdr: Some(EthernetAddress(host.hardware).into()),
    };
    // Its group (RFC 4291 §2.7.1), and that on Ethernet (RFC 2464 §7).
    let [.., b, c, d] = target.octets();
    let [high, low] = [[0xff, b], [c, d]].map(u16::from_be_bytes);
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, high, low);
    let to = (group, [0x33, 0x33, 0xff, b, c, d]);
    emit(message, (from, host.hardware), to)
}

/// A message to this system.
fn write(
    message: NdiscRepr<'_>,
    from: Ipv6Addr,
    to: Ipv6Addr,
    hardware: [u8; 6],
    host: &Host<'_>,
) -> Written {
    emit(message, (from, hardware), (to, host.hardware))
}

fn emit(
    message: NdiscRepr<'_>,
    (from, hardware): (Ipv6Addr, [u8; 6]),
    (to, receiver): (Ipv6Addr, [u8; 6]),
) -> Written {
    let message = Icmpv6Repr::Ndisc(message);
    let ip = Ipv6Repr {
        src_addr: from,
        dst_addr: to,
        next_header: IpProtocol::Icmpv6,
        payload_len: message.buffer_len(),
        hop_limit: 255,
    };
    let mut written = Written::EMPTY;
    written.length = ETHERNET + IPV6 + ip.payload_len;
    let Some(bytes) = written.bytes.get_mut(..written.length) else {
        return Written::EMPTY;
    };
    let mut frame = EthernetFrame::new_unchecked(bytes);
    frame.set_src_addr(EthernetAddress(hardware));
    frame.set_dst_addr(EthernetAddress(receiver));
    frame.set_ethertype(EthernetProtocol::Ipv6);
    ip.emit(&mut Ipv6Packet::new_unchecked(frame.payload_mut()));
    let mut packet = Ipv6Packet::new_unchecked(frame.payload_mut());
    let mut icmp = Icmpv6Packet::new_unchecked(packet.payload_mut());
    message.emit(&from, &to, &mut icmp, &ChecksumCapabilities::default());
    written
}
