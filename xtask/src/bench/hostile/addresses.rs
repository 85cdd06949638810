//! Addresses for attackers: the suite runs in a network of its own (Linux, packages
//! util-linux and iproute2), where a whole range is this machine's. QEMU's user network
//! tells the guest where a connection comes from, unless it comes from loopback: honest
//! clients have the address of QEMU's gateway there, or are newcomers, and attackers have
//! their own.

use std::env;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

/// Set in the suite that runs in a network of its own.
const ENCLOSED: &str = "HANDOFF_ENCLOSED";
/// The range for measurements of networks (RFC 2544), as the word of ip(8).
const RANGE: &str = "198.18.0.1/16";
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// How many of them attackers use, and honest clients.
const COUNT: u32 = 60_000;
const NEWCOMERS: u32 = 5000;

/// Whether there are addresses for attackers.
pub(super) fn are_there() -> bool {
    env::var_os(ENCLOSED).is_some()
}

/// The address of that number.
pub(super) fn nth(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(FIRST.to_bits() + number % COUNT)
}

/// The address of an honest client that was never here before.
pub(super) fn newcomer(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(FIRST.to_bits() + COUNT + number % NEWCOMERS)
}

/// Runs this program again with the same arguments, in a network that ends with it.
pub(super) fn enclose() -> Result<ExitStatus> {
    let begin = format!("ip link set lo up && ip address add {RANGE} dev lo && exec \"$@\"");
    Command::new("unshare")
        .args(["--map-root-user", "--net", "--", "sh", "-c"])
        .args([begin.as_str(), "sh"])
        .arg(env::current_exe().context("where this program is")?)
        .args(env::args_os().skip(1))
        .env(ENCLOSED, "1")
        .status()
        .context("starting unshare (package util-linux)")
}

/// Connects, from an address if one is given.
pub(super) fn connect(
    from: Option<Ipv4Addr>,
    to: SocketAddr,
    patience: Duration,
) -> io::Result<TcpStream> {
    let Some(from) = from else {
        return TcpStream::connect_timeout(&to, patience);
    };
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&to.into(), patience)?;
    Ok(socket.into())
}
