//! The table `[network]`.

use std::net::Ipv4Addr;

use ipc::provision::{AddressConfig, MTU};

use crate::problem::Reported;
use crate::reference::{Key, Kind, Need, Table};
use crate::words::{Word, if_there};

/// The table.
pub(crate) static TABLE: Table = Table {
    name: "[network]",
    about: "How the system is attached to its network.",
    keys: &[
        Key {
            name: "address",
            kind: Kind::Text { most: 18 },
            need: Need::Required,
            example: "\"dhcp\"",
            meaning: "`\"dhcp\"`, or an IPv4 address of its own with the length of the \
                      network's prefix, such as `\"10.0.2.15/24\"`.",
        },
        Key {
            name: "gateway",
            kind: Kind::Text { most: 15 },
            need: Need::Depends(
                "without it only neighbours are reached; not with DHCP, which tells it",
            ),
            example: "\"10.0.2.2\"",
            meaning: "The router's IPv4 address.",
        },
        Key {
            name: "mtu",
            kind: Kind::Number {
                least: *MTU.start() as u32,
                most: *MTU.end() as u32,
                unit: "bytes",
            },
            need: Need::Depends("what the NIC can"),
            example: "1500",
            meaning: "The largest IP packet of the link.",
        },
        Key {
            name: "router_advertisements",
            kind: Kind::Flag,
            need: Need::Depends("`true` with DHCP, `false` with an address of one's own"),
            example: "true",
            meaning: "Whether routers may give IPv6 addresses and routes.",
        },
    ],
};

/// What the table says.
pub(crate) struct Link {
    pub(crate) address: AddressConfig,
    pub(crate) mtu: Option<u16>,
    pub(crate) router_advertisements: bool,
}

impl Default for Link {
    /// Without the table.
    fn default() -> Self {
        Self {
            address: AddressConfig::Dhcp,
            mtu: None,
            router_advertisements: true,
        }
    }
}

/// Reads the table.
pub(crate) fn read(word: Word<'_>) -> Result<Link, Reported> {
    let words = word.table()?;
    let address = words.required("address");
    let address = address.and_then(|word| self::address(word, words.optional("gateway")));
    let mtu = if_there(words.optional("mtu"), |word| word.number());
    let router_advertisements =
        if_there(words.optional("router_advertisements"), |word| word.flag());
    let (address, mtu) = (address?, mtu?);
    // With a static address, router advertisements of the link are not wanted.
    let router_advertisements = router_advertisements?.unwrap_or(address == AddressConfig::Dhcp);
    Ok(Link {
        address,
        mtu,
        router_advertisements,
    })
}

fn address(address: Word<'_>, router: Option<Word<'_>>) -> Result<AddressConfig, Reported> {
    if address.text()? == "dhcp" {
        return match router {
            None => Ok(AddressConfig::Dhcp),
            Some(router) => Err(router.problem(
                "gateway is given, but the address comes by DHCP",
                "leave gateway out (DHCP tells it), or give a fixed address",
            )),
        };
    }
    let (host, prefix) = network(address)?;
    let gateway = if_there(router, |router| neighbour(router, host, prefix))?;
    Ok(AddressConfig::Static {
        address: host,
        prefix,
        gateway,
    })
}

fn network(word: Word<'_>) -> Result<(Ipv4Addr, u8), Reported> {
    let text = word.text()?;
    let parsed = text.split_once('/').and_then(|(host, prefix)| {
        let host = host.parse::<Ipv4Addr>().ok()?;
        let prefix = prefix.parse::<u8>().ok().filter(|bits| *bits <= 32)?;
        Some((host, prefix))
    });
    let unusable = |host: &Ipv4Addr| {
        host.is_unspecified() || host.is_multicast() || host.is_broadcast() || host.is_loopback()
    };
    match parsed {
        Some((host, _)) if unusable(&host) => Err(word.problem(
            format!("address {host} can't be a host's"),
            "give the address of this system, such as 10.0.2.15/24",
        )),
        Some(found) => Ok(found),
        None => Err(word.problem(
            format!("address \"{text}\" is no IPv4 address with a prefix"),
            "write \"dhcp\", or an address such as \"10.0.2.15/24\"",
        )),
    }
}

fn neighbour(word: Word<'_>, host: Ipv4Addr, prefix: u8) -> Result<Ipv4Addr, Reported> {
    let text = word.text()?;
    let router: Ipv4Addr = text.parse().map_err(|_| {
        word.problem(
            format!("gateway \"{text}\" is no IPv4 address"),
            "write the router's address, such as \"10.0.2.2\"",
        )
    })?;
    let mask = u32::MAX
        .checked_shl(32 - u32::from(prefix))
        .unwrap_or_default();
    if router == host || u32::from(router) & mask != u32::from(host) & mask {
        return Err(word.problem(
            format!("gateway {router} is no neighbour of {host}/{prefix}"),
            "give a router of the same network",
        ));
    }
    Ok(router)
}
