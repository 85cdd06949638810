//! The system's own addresses and routes.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipc::provision::AddressConfig;
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::dhcpv4;
use smoltcp::wire::{IpAddress, IpCidr, Ipv4Cidr, Ipv6Cidr};

/// Gets and keeps addresses.
pub(crate) struct Addresses {
    /// The DHCP client, if any, in a set of its own.
    pub(crate) sockets: SocketSet<'static>,
    dhcp: Option<SocketHandle>,
    routed: bool,
}

impl Addresses {
    /// Gives `interface` what is known from the start.
    pub(crate) fn new(
        config: &AddressConfig,
        hardware: [u8; 6],
        interface: &mut Interface,
    ) -> Self {
        let mut this = Self {
            sockets: SocketSet::new(Vec::new()),
            dhcp: None,
            routed: false,
        };
        let link_local = Ipv6Cidr::new(link_local(hardware), 64);
        interface.update_ip_addrs(|list| {
            // A new list has room.
            let _ = list.push(IpCidr::Ipv6(link_local));
        });
        match *config {
            AddressConfig::Dhcp => {
                this.dhcp = Some(this.sockets.add(dhcpv4::Socket::new()));
            }
            AddressConfig::Static {
                address,
                prefix,
                gateway,
            } => this.set_ipv4(interface, Some((address, prefix)), gateway),
        }
        this
    }

    /// Whether there is a DHCP client.
    pub(crate) fn has_dhcp(&self) -> bool {
        self.dhcp.is_some()
    }

    /// Takes what the DHCP client has learned.
    pub(crate) fn update(&mut self, interface: &mut Interface) {
        let Some(handle) = self.dhcp else { return };
        let (address, router) = match self.sockets.get_mut::<dhcpv4::Socket>(handle).poll() {
            None => return,
            Some(dhcpv4::Event::Deconfigured) => (None, None),
            Some(dhcpv4::Event::Configured(lease)) => {
                let address = (lease.address.address(), lease.address.prefix_len());
                (Some(address), lease.router)
            }
        };
        self.set_ipv4(interface, address, router);
    }

    /// The address to reach `to` from; `None` without one, or without a route.
    pub(crate) fn source(&self, interface: &Interface, to: IpAddr) -> Option<IpAddr> {
        let target = IpAddress::from(to);
        let is_near = |cidr: &IpCidr| cidr.contains_addr(&target);
        let near = interface.ip_addrs().iter().any(is_near);
        match to {
            IpAddr::V4(_) if !near && !self.routed => None,
            IpAddr::V6(_) if !near && !has_global(interface) => None,
            _ => interface
                .get_source_address(&target)
                .filter(|source| interface.has_ip_addr(*source))
                .map(IpAddr::from),
        }
    }

    fn set_ipv4(
        &mut self,
        interface: &mut Interface,
        address: Option<(Ipv4Addr, u8)>,
        router: Option<Ipv4Addr>,
    ) {
        let cidr = address
            .filter(|(ip, prefix)| is_unicast(*ip) && *prefix <= 32)
            .map(|(ip, prefix)| IpCidr::Ipv4(Ipv4Cidr::new(ip, prefix)));
        interface.update_ip_addrs(|list| {
            list.retain(|cidr| matches!(cidr, IpCidr::Ipv6(_)));
            if let Some(cidr) = cidr {
                // IPv4 sorts first: SLAAC may fill the rest.
                let _ = list.insert(0, cidr);
            }
        });
        self.routed = match router.filter(|ip| is_unicast(*ip) && cidr.is_some()) {
            Some(router) => interface
                .routes_mut()
                .add_default_ipv4_route(router)
                .is_ok(),
            None => {
                interface.routes_mut().remove_default_ipv4_route();
                false
            }
        };
    }
}

fn is_unicast(ip: Ipv4Addr) -> bool {
    !(ip.is_broadcast() || ip.is_multicast() || ip.is_unspecified())
}

fn has_global(interface: &Interface) -> bool {
    let is_global = |cidr: &IpCidr| matches!(cidr.address(), IpAddress::Ipv6(ip) if !ip.is_unicast_link_local());
    interface.ip_addrs().iter().any(is_global)
}

/// RFC 4291 §2.5.6 and appendix A: fe80::/64 and the modified EUI-64.
fn link_local([a, b, c, d, e, f]: [u8; 6]) -> Ipv6Addr {
    let word = |high, low| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        word(a ^ 2, b),
        word(c, 0xff),
        word(0xfe, d),
        word(e, f),
    )
}
