//! The link: smoltcp's interface, the system's addresses, and what is known of
//! neighbours, routers and paths.

use core::net::IpAddr;

use ipc::clock::Instant;
use ipc::provision::AddressConfig;
use ipc::stats::{self, netstack as counters};
use smoltcp::iface::{self, Interface, PollResult, SocketSet};
use smoltcp::phy::{Device, TxToken};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

mod ask;
mod learn;
mod routers;

pub(crate) use learn::Learned;

use crate::address::Addresses;
use crate::clock::wire_time;
use crate::config::FRAMES_A_TURN;
use crate::device::{Capabilities, Inlet, Outlet, Scratch, Sent};
use crate::neighbour::{Neighbours, Questions};
use crate::parse::Host;
use crate::path::Paths;
use crate::sequence::Tuple;
use crate::sockets::Wire;
use routers::Routers;

/// Every frame to and from smoltcp passes here.
pub(crate) struct Link<'a> {
    interface: Interface,
    capabilities: Capabilities,
    scratch: Scratch,
    hardware: [u8; 6],
    addresses: Addresses,
    neighbours: Neighbours,
    questions: Questions,
    routers: Routers,
    pub(crate) paths: Paths,
    stats: &'a stats::Page,
}

/// What an interface of smoltcp is made with.
pub(crate) fn settings(hardware: [u8; 6], seed: u64) -> iface::Config {
    let hardware = HardwareAddress::Ethernet(EthernetAddress(hardware));
    let mut settings = iface::Config::new(hardware);
    settings.random_seed = seed;
    settings
}

impl<'a> Link<'a> {
    /// Without neighbours and paths. `settings` are its interface's, `routers` whether
    /// routers are listened to.
    pub(crate) fn new<D: Device>(
        (nic, capabilities): (&mut D, Capabilities),
        (hardware, mut settings): ([u8; 6], iface::Config),
        address: &AddressConfig,
        routers: bool,
        stats: &'a stats::Page,
        now: Instant,
    ) -> Self {
        settings.slaac = routers;
        let mut outlet = Outlet::new(nic, &capabilities);
        let mut interface = Interface::new(settings, &mut outlet, wire_time(now));
        Self {
            addresses: Addresses::new(address, hardware, &mut interface),
            interface,
            scratch: Scratch::new(&capabilities),
            capabilities,
            hardware,
            neighbours: Neighbours::new(),
            questions: Questions::new(),
            routers: Routers::new(routers, now),
            paths: Paths::new(),
            stats,
        }
    }

    /// Who this system is now.
    pub(crate) fn host(&self) -> Host<'_> {
        Host {
            hardware: self.hardware,
            addresses: self.interface.ip_addrs(),
            mtu: self.capabilities.mtu(),
            dhcp: self.addresses.has_dhcp(),
            check: self.capabilities.check,
        }
    }

    /// Bytes of the largest IP packet.
    pub(crate) fn mtu(&self) -> usize {
        self.capabilities.mtu()
    }

    /// The system's addresses.
    pub(crate) fn addresses(&self) -> &[IpCidr] {
        self.interface.ip_addrs()
    }

    /// The address to reach `to` from; `None` without one, or without a route.
    pub(crate) fn source(&self, to: IpAddr) -> Option<IpAddr> {
        self.addresses.source(&self.interface, to)
    }

    // ---- frames ----

    /// Shows smoltcp a segment of the connection that has these sockets.
    pub(crate) fn segment_in(
        &mut self,
        bytes: &[u8],
        reply: impl TxToken,
        sockets: &mut SocketSet<'static>,
        now: Instant,
    ) {
        let mut inlet = Inlet::new(bytes, Some(reply), &self.capabilities);
        self.interface
            .poll_ingress_single(wire_time(now), &mut inlet, sockets);
        self.stats.add(counters::FRAMES_OUT, inlet.sent.frames);
    }

    /// Shows a listening socket its SYN. The first sequence number is made of `seed`.
    pub(crate) fn syn_in(
        &mut self,
        bytes: &[u8],
        reply: impl TxToken,
        wire: &mut Wire,
        seed: u64,
        now: Instant,
    ) {
        let mut inlet = Inlet::new(bytes, Some(reply), &self.capabilities);
        let mut source = self.first_number_source(seed, &mut inlet, now);
        source.poll_ingress_single(wire_time(now), &mut inlet, &mut wire.sockets);
    }

    /// Makes a socket connect between these ends; false when it can't. The first sequence number is made of
    /// `seed`.
    pub(crate) fn connect(
        &self,
        nic: &mut impl Device,
        wire: &mut Wire,
        ends: &Tuple,
        seed: u64,
        now: Instant,
    ) -> bool {
        let mut outlet = Outlet::new(nic, &self.capabilities);
        let mut source = self.first_number_source(seed, &mut outlet, now);
        let (remote, local) = (
            (ends.remote, ends.remote_port),
            (ends.local, ends.local_port),
        );
        let socket = wire.prepare();
        socket.connect(source.context(), remote, local).is_ok()
    }

    /// An interface whose generator of random numbers starts at a number for
    /// this connection alone. smoltcp takes the initial sequence number from
    /// it; its own generator's next number could be computed from a few that
    /// were seen (ADR 0030).
    fn first_number_source(&self, seed: u64, device: &mut impl Device, now: Instant) -> Interface {
        let settings = settings(self.hardware, seed);
        let mut source = Interface::new(settings, device, wire_time(now));
        let addresses = self.interface.ip_addrs();
        source.update_ip_addrs(|list| {
            // Both lists have the same capacity.
            let _ = list.extend_from_slice(addresses);
        });
        source
    }

    /// Shows smoltcp a frame of no connection.
    pub(crate) fn pass_in(&mut self, bytes: &[u8], reply: impl TxToken, now: Instant) {
        self.show(bytes, Some(reply), now);
    }

    /// The same; without `reply` an answer goes nowhere.
    fn show(&mut self, bytes: &[u8], reply: Option<impl TxToken>, now: Instant) {
        let mut inlet = Inlet::new(bytes, reply, &self.capabilities);
        let sockets = &mut self.addresses.sockets;
        self.interface
            .poll_ingress_single(wire_time(now), &mut inlet, sockets);
        self.stats.add(counters::FRAMES_OUT, inlet.sent.frames);
    }

    /// Lets smoltcp send what it has for a connection, in IP packets of at most `limit`
    /// bytes: a turn of it.
    pub(crate) fn send<D: Device>(
        &mut self,
        nic: &mut D,
        sockets: &mut SocketSet<'static>,
        limit: Option<u16>,
        now: Instant,
    ) -> Sent {
        let mut outlet = Outlet::new(nic, &self.capabilities).narrow(limit, &mut self.scratch);
        let time = wire_time(now);
        for _ in 0..FRAMES_A_TURN {
            let result = self.interface.poll_egress(time, &mut outlet, sockets);
            outlet.sent.is_cut = result == PollResult::SocketStateChanged;
            if !outlet.sent.is_cut {
                break;
            }
        }
        self.stats.add(counters::FRAMES_OUT, outlet.sent.frames);
        outlet.sent
    }

    /// DHCP, neighbour discovery, router solicitation; the DHCP client's sockets.
    pub(crate) fn keep_house<D: Device>(
        &mut self,
        nic: &mut D,
        now: Instant,
    ) -> &SocketSet<'static> {
        let time = wire_time(now);
        self.interface.poll_maintenance(time);
        let mut outlet = Outlet::new(nic, &self.capabilities);
        loop {
            self.addresses.update(&mut self.interface);
            let sockets = &mut self.addresses.sockets;
            let result = self.interface.poll_egress(time, &mut outlet, sockets);
            if result == PollResult::None {
                break;
            }
        }
        self.stats.add(counters::FRAMES_OUT, outlet.sent.frames);
        &self.addresses.sockets
    }
}
