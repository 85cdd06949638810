//! What the guest's NIC is plugged into.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::str::FromStr;

use gateway_config::Config;
use ipc::provision::AddressConfig;
use qemu::{Forward, Network};

use super::Refused;

/// Where Linux tells of network devices.
const DEVICES: &str = "/sys/class/net";

/// The value of `--net`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Net {
    /// QEMU's user network.
    User,
    /// The tap device of that name.
    Tap(String),
}

impl FromStr for Net {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("tap:")) {
            ("user", _) => Ok(Self::User),
            (_, Some(name)) if is_name(name) => Ok(Self::Tap(name.to_string())),
            _ => Err(format!(
                "\"{text}\" is neither user nor tap:NAME, such as tap:tap0"
            )),
        }
    }
}

/// No more than Linux takes, and nothing that QEMU reads as an option.
fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..16).contains(&name.len()) && name.chars().all(is_part) && !name.starts_with('.')
}

impl Net {
    /// Refuses a device that is not there, and forwards where there are none.
    pub(super) fn refuse_unfit(&self, forwards: &[Forward]) -> Result<(), Refused> {
        self.refuse_unfit_in(Path::new(DEVICES), forwards)
    }

    fn refuse_unfit_in(&self, devices: &Path, forwards: &[Forward]) -> Result<(), Refused> {
        let Self::Tap(name) = self else {
            return Ok(());
        };
        if !forwards.is_empty() {
            return Err(Refused(format!(
                "--forward: with --net tap:{name} the guest has an address of its own, and no \
                 port of this machine leads to it"
            )));
        }
        // Only tap and tun devices have this file.
        match fs::exists(devices.join(name).join("tun_flags")) {
            Ok(false) => Err(Refused(format!(
                "--net tap:{name}: this machine has no such tap device\n  ip tuntap add dev \
                 {name} mode tap user $USER, then ip link set {name} up (with master BRIDGE to \
                 put it into a bridge)"
            ))),
            _ => Ok(()),
        }
    }

    /// The machine's network.
    pub(super) fn network(&self, forwards: &[Forward], config: &Config) -> Network {
        match self {
            Self::User => Network::User(forwards.to_vec()),
            Self::Tap(name) => Network::Tap {
                name: name.clone(),
                guest: address(config),
            },
        }
    }
}

/// The guest's address, if it is fixed.
fn address(config: &Config) -> Option<Ipv4Addr> {
    match config.address {
        AddressConfig::Static { address, .. } => Some(address),
        AddressConfig::Dhcp => None,
    }
}

#[cfg(test)]
mod tests {
    use image::workspace;

    use super::*;

    #[test]
    fn a_network_is_qemus_own_or_a_tap_device_by_name() {
        assert_eq!("user".parse(), Ok(Net::User));
        assert_eq!("tap:vm-1.0".parse(), Ok(Net::Tap("vm-1.0".into())));
        for bad in [
            "",
            "tap",
            "tap:",
            "tap:a,b",
            "tap:..",
            "tap:sixteen-letters-",
            "bridge",
        ] {
            let refused = bad.parse::<Net>().unwrap_err();
            assert!(refused.contains("neither user nor tap:NAME"), "{bad}");
        }
    }

    #[test]
    fn a_tap_device_that_is_not_there_is_refused_and_so_are_forwards_to_it() {
        let devices = workspace::scratch("net-devices").unwrap();
        let (tap, eth) = (devices.join("tap0"), devices.join("eth0"));
        fs::create_dir_all(&tap).unwrap();
        fs::create_dir_all(eth).unwrap();
        fs::write(tap.join("tun_flags"), "0x1002").unwrap();
        let of = |name: &str, forwards: &[Forward]| {
            let refused = Net::Tap(name.into()).refuse_unfit_in(&devices, forwards);
            refused.map_err(|refused| refused.to_string())
        };
        of("tap0", &[]).unwrap();
        for absent in ["tap1", "eth0"] {
            let refused = of(absent, &[]).unwrap_err();
            assert!(refused.contains("no such tap device"), "{refused}");
        }
        let forward = Forward { host: 1, guest: 2 };
        let refused = of("tap0", &[forward]).unwrap_err();
        assert!(refused.starts_with("--forward: with --net tap:tap0"));
        Net::User.refuse_unfit_in(&devices, &[forward]).unwrap();
    }
}
