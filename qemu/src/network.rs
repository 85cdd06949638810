//! What the machine's NIC is plugged into.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use crate::machine::escaped;

/// A port of the host, on 127.0.0.1, that leads to a port of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The host's port; 0 lets [`Machine::boot`](crate::Machine::boot) pick a free one.
    pub host: u16,
    /// The guest's port.
    pub guest: u16,
}

impl FromStr for Forward {
    type Err = String;

    /// Reads `HOST:GUEST`.
    fn from_str(text: &str) -> Result<Self, String> {
        let ports = text.split_once(':').and_then(|(host, guest)| {
            let host = host.parse().ok()?;
            let guest = guest.parse().ok().filter(|port| *port != 0)?;
            Some(Self { host, guest })
        });
        ports.ok_or_else(|| format!("\"{text}\" is not HOST:GUEST, such as 8443:443"))
    }
}

/// What the machine's NIC is plugged into.
#[derive(Clone, Debug)]
pub enum Network {
    /// QEMU's user networking: the guest is 10.0.2.15, the host 10.0.2.2.
    User(Vec<Forward>),
    /// Ethernet frames, one for each datagram between two Unix sockets.
    Ethernet {
        /// QEMU's socket, which it makes.
        machine: PathBuf,
        /// The other end, which the caller has bound.
        peer: PathBuf,
    },
    /// A tap device of this machine, which exists and is up; it has the offloads that the
    /// host's kernel gives it.
    Tap {
        /// The device's name.
        name: String,
        /// The guest's address there, if it is known.
        guest: Option<Ipv4Addr>,
    },
}

impl Network {
    /// QEMU's description of it.
    pub(crate) fn netdev(&self) -> String {
        match self {
            Self::User(forwards) => {
                let rules = forwards.iter().map(|Forward { host, guest }| {
                    format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}")
                });
                format!("user,id=net{}", rules.collect::<String>())
            }
            Self::Ethernet { machine, peer } => format!(
                "dgram,id=net,local.type=unix,local.path={},remote.type=unix,remote.path={}",
                escaped(machine),
                escaped(peer)
            ),
            Self::Tap { name, .. } => {
                format!("tap,id=net,ifname={name},script=no,downscript=no")
            }
        }
    }

    /// The address on the host that leads to a port of the guest.
    pub(crate) fn address(&self, port: u16) -> Option<SocketAddr> {
        match self {
            Self::User(forwards) => {
                let forward = forwards.iter().find(|forward| forward.guest == port)?;
                Some((Ipv4Addr::LOCALHOST, forward.host).into())
            }
            Self::Ethernet { .. } => None,
            Self::Tap { guest, .. } => guest.map(|guest| (guest, port).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forward_is_host_and_guest_port() {
        let forward = Forward {
            host: 8443,
            guest: 443,
        };
        assert_eq!("8443:443".parse(), Ok(forward));
        for bad in ["8443", "8443:0", "8443:65536", "x:1", "1:2:3", ""] {
            assert!(bad.parse::<Forward>().is_err(), "{bad}");
        }
    }
}
