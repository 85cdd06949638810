//! What a machine lacks for the system to run on it, as a sentence.

use core::fmt;

use crate::pci::Place;

/// Why no system can be on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Bytes that the plan takes, and bytes that the kernel left.
    Memory {
        /// What is needed.
        needed: u64,
        /// What is there.
        there: u64,
    },
    /// There is no HPET at the address that all machines have it at.
    Timer,
    /// There is no NIC on any bus.
    NoNic,
    /// A NIC that no driver is for.
    Nic {
        /// Where it is.
        place: Place,
        /// Its vendor and device numbers, as configuration space has them.
        identifier: u32,
    },
}

/// A virtio NIC of before version 1.0, or one that can be used as such (virtio 1.2
/// §4.1.2.1): vendor and device.
pub const TRANSITIONAL_NIC: u32 = 0x1000_1af4;

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { needed, there } => {
                let mib = |bytes: u64| bytes.div_ceil(1 << 20);
                let (more, needed) = (mib(needed.saturating_sub(*there)), mib(*needed));
                write!(
                    f,
                    "too little memory: domains need {needed} MiB, the kernel left {} MiB; \
                     give the machine {more} MiB more",
                    there >> 20
                )
            }
            Self::Timer => f.write_str(
                "there is no HPET at 0xfed00000, and no other timer is used; \
                 give the machine one (QEMU: -machine q35,hpet=on)",
            ),
            Self::NoNic => f.write_str(
                "there is no NIC on any PCI bus; \
                 give the machine one (QEMU: -device virtio-net-pci,disable-legacy=on)",
            ),
            Self::Nic { place, identifier } if *identifier == TRANSITIONAL_NIC => write!(
                f,
                "the NIC at {place} is a transitional virtio device, and a modern one \
                 is needed (QEMU: disable-legacy=on)"
            ),
            Self::Nic { place, identifier } => write!(
                f,
                "no driver for the NIC at {place}, {:04x}:{:04x}; \
                 give the machine a virtio NIC (QEMU: -device virtio-net-pci,disable-legacy=on)",
                identifier & 0xffff,
                identifier >> 16
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn missing_memory_is_told_in_whole_megabytes_that_suffice() {
        let unfit = Unfit::Memory {
            needed: (100 << 20) + 1,
            there: (50 << 20) - 1,
        };
        let expected = "too little memory: domains need 101 MiB, the kernel left 49 MiB; \
                        give the machine 51 MiB more";
        assert_eq!(unfit.to_string(), expected);
    }

    #[test]
    fn a_nic_is_named_as_others_name_it() {
        let named = |identifier| {
            Unfit::Nic {
                place: Place::new(0, 2, 0),
                identifier,
            }
            .to_string()
        };
        assert!(named(0x100e_8086).contains("at 00:02.0, 8086:100e;"));
        assert!(named(TRANSITIONAL_NIC).contains("is a transitional virtio device"));
    }
}
