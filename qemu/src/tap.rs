//! A network of its own with a tap device (Linux, packages util-linux and iproute2; as
//! root): the guest's neighbour is the host's kernel, which has the offloads that QEMU's
//! user network lacks.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Stdio;
use std::thread;

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::network::Network;
use crate::spawn;

/// This machine's address in the network; it is the guest's router too.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// The guest's address: its configuration has to say so, nobody answers DHCP.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// Bits of the network.
pub const PREFIX: u8 = 24;

/// The device's name: there is one in each network.
const DEVICE: &str = "tap0";
/// Makes the network's devices, says so, and lives until its input ends.
const MAKE: &str = "set -e
ip link set lo up
ip tuntap add dev $1 mode tap
ip address add $2 dev $1
ip link set $1 up
echo made
exec cat";

/// Why there is no such network here, if it needs a right that this process lacks.
///
/// # Errors
/// Files of `/proc` can't be read.
pub fn missing() -> Result<Option<&'static str>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let is_root = user.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0");
    let reason = match (is_root, Path::new("/dev/net/tun").exists()) {
        (false, _) => Some("a network with a tap device needs root"),
        (true, false) => Some("this machine has no /dev/net/tun"),
        (true, true) => None,
    };
    Ok(reason)
}

/// Does `work` in a new network. What it starts, threads and programs, is there too; the
/// network is gone with the last of them.
///
/// # Errors
/// The network can't be made ([`missing`] may say why), or `work`'s own.
pub fn within<T: Send>(work: impl FnOnce(Network) -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let working = scope.spawn(|| {
            enter().context("making a network with a tap device")?;
            work(Network::Tap {
                name: DEVICE.to_string(),
                guest: Some(GUEST),
            })
        });
        match working.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Moves this thread into a new network.
fn enter() -> Result<()> {
    let address = format!("{HOST}/{PREFIX}");
    let mut maker = spawn::bound_to_thread(Path::new("unshare"))
        .args(["--net", "--", "sh", "-c", MAKE, "sh", DEVICE, &address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("unshare can't be started")?;
    let mut told = String::new();
    if let Some(output) = maker.stdout.take() {
        BufReader::new(output).read_line(&mut told)?;
    }
    let entered = (|| {
        ensure!(told == "made\n", "ip failed");
        let network = File::open(format!("/proc/{}/ns/net", maker.id()))?;
        Ok(move_into_link_name_space(
            network.as_fd(),
            Some(LinkNameSpaceType::Network),
        )?)
    })();
    // The network stays: this thread is in it.
    spawn::end(&mut maker);
    entered
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_host_has_its_address_there_and_threads_are_in_the_network_of_their_starter() {
        if let Some(reason) = missing().unwrap() {
            eprintln!("skipped: {reason}");
            return;
        }
        within(|network| {
            let Network::Tap { name, .. } = network else {
                panic!("another network");
            };
            assert_eq!(name, DEVICE);
            let there = thread::spawn(|| TcpListener::bind((HOST, 0)).is_ok());
            assert!(there.join().unwrap());
            Ok(())
        })
        .unwrap();
        assert!(TcpListener::bind((HOST, 0)).is_err());
    }
}
