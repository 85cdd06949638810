//! The table `[network]`.

use std::net::Ipv4Addr;

use ipc::provision::{AddressConfig, MTU};

use crate::problem::Problem;
use crate::words::Word;

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
pub(crate) fn read(word: Word<'_>) -> Result<Link, Problem> {
    let known = ["address", "gateway", "mtu", "router_advertisements"];
    let words = word.table("[network]", &known)?;
    let address = address(
        words.required("address", "\"dhcp\"")?,
        words.optional("gateway"),
    )?;
    let mtu = match words.optional("mtu") {
        None => None,
        Some(word) => {
            let bytes = word.number(u32::from(*MTU.start())..=u32::from(*MTU.end()))?;
            u16::try_from(bytes).ok()
        }
    };
    let router_advertisements = match words.optional("router_advertisements") {
        Some(word) => word.flag()?,
        // With a static address, router advertisements of the link are not wanted.
        None => address == AddressConfig::Dhcp,
    };
    Ok(Link {
        address,
        mtu,
        router_advertisements,
    })
}

fn address(address: Word<'_>, router: Option<Word<'_>>) -> Result<AddressConfig, Problem> {
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
    let gateway = match router {
        None => None,
        Some(router) => Some(neighbour(router, host, prefix)?),
    };
    Ok(AddressConfig::Static {
        address: host,
        prefix,
        gateway,
    })
}

fn network(word: Word<'_>) -> Result<(Ipv4Addr, u8), Problem> {
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

fn neighbour(word: Word<'_>, host: Ipv4Addr, prefix: u8) -> Result<Ipv4Addr, Problem> {
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
