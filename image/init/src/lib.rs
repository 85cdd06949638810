//! The plan by which the root task builds the system.
//!
//! The image builder makes it out of the system description, on the host, where it is
//! checked; the root task only carries it out. It is at the end of the root task's own
//! image:
//!
//! ```text
//! page 0…   header, then the plan (postcard)
//! page n…   the pages of the domains' programs and of their boot-time data
//! ```
//!
//! Those pages are not copied: the root task maps each of them into the one
//! domain that it belongs to, and keeps none.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod calendar;
pub mod console;
pub mod json;
pub mod log_quota;
pub mod memory;
pub mod outlet;
pub mod pci;
pub mod supervisor;
pub mod timekeeper;
pub mod unfit;
pub mod watchdog;

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use supervisor::Restart;

/// Starts the plan's first page.
pub const MAGIC: u64 = u64::from_le_bytes(*b"plan0001");

/// Bytes before the encoded plan: magic, length of the plan, number of pages
/// before the first image page; each a little-endian 64-bit number.
pub const HEADER_BYTES: usize = 24;

/// Everything that the root task builds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// In the order of their numbers.
    pub domains: Vec<Domain>,
    /// Memory that more than one domain sees, or that is filled at build time.
    pub regions: Vec<Region>,
    /// Windows and mint sources.
    pub tables: Vec<Table>,
    /// The NIC and the timer, and who gets them.
    pub device: Option<Device>,
    /// How often domains are restarted.
    pub restart: Restart,
    /// Records that one key seals before a new one is asked for.
    pub rekey_after: u64,
    /// The image was not built before: seconds since 1970-01-01 00:00 UTC.
    pub built_after: u64,
    /// Each line of the log is a JSON object.
    pub json_log: bool,
}

/// One protection domain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// Its thread's priority.
    pub priority: u8,
    /// It has an endpoint where calls arrive.
    pub serves: bool,
    /// Where its thread starts.
    pub entry: u64,
    /// Bytes of stack, whole pages.
    pub stack: u64,
    /// Bytes of heap, whole pages.
    pub heap: u64,
    /// Its program.
    pub segments: Vec<Segment>,
    /// Those parts of it that may be written, and what they hold at a start; at
    /// most [`MAX_EXTENTS`](ipc::boot::MAX_EXTENTS).
    pub extents: Vec<Writable>,
    /// Regions that it sees.
    pub maps: Vec<Map>,
    /// Capabilities, in slots of its root CNode.
    pub slots: Vec<(u64, Capability)>,
    /// Tables that it manages, in the slots of its tools CNode.
    pub tools: Vec<u16>,
    /// The domains that are restarted with it, besides itself: those that can't go on
    /// without it.
    pub restarts: Vec<u16>,
}

/// A run of pages of a program.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Address of its first page.
    pub address: u64,
    /// The first image page.
    pub page: u32,
    /// How many image pages.
    pub pages: u32,
    /// How many pages of zeros follow.
    pub zero_pages: u32,
    /// It may be written; it may be executed otherwise.
    pub writable: bool,
}

/// A writable part of a program; see [`ipc::boot::Extent`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Writable {
    /// Address of its first page.
    pub address: u64,
    /// Bytes, whole pages.
    pub bytes: u64,
    /// Where the read-only copy of its first bytes is.
    pub initial: u64,
    /// How many bytes those are, whole pages.
    pub initial_bytes: u64,
}

/// Memory with a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// Its size, whole pages.
    pub bytes: u64,
    /// Where its content comes from.
    pub content: Content,
}

/// What a region holds at the start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Content {
    /// Zeros.
    Zero,
    /// Image pages from this one on; the region is mapped once.
    Pages(u32),
    /// Zeros, physically contiguous, reachable by the NIC.
    Dma,
    /// What the root task found of the NIC; one page.
    Snapshot,
}

/// A region in a domain's address space.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Map {
    /// The region's number.
    pub region: u16,
    /// Address of its first page.
    pub address: u64,
    /// It may be written.
    pub writable: bool,
}

/// One capability that a domain holds from the start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Capability {
    /// Call a domain.
    Call {
        /// The domain's number.
        domain: u16,
        /// The badge that it sees.
        badge: u64,
    },
    /// Signal a domain.
    Signal {
        /// The domain's number.
        domain: u16,
        /// The badge that it sees: one bit.
        badge: u64,
    },
    /// A table, as a second-level CNode: its holder can invoke what is in it
    /// and can't change it.
    Window {
        /// The table's number.
        table: u16,
    },
    /// Acknowledge the interrupts of the NIC.
    NicInterrupt,
    /// Acknowledge the interrupts of the timer.
    TimerInterrupt,
    /// Read and write a range of I/O ports.
    Ports {
        /// The first.
        first: u16,
        /// The last.
        last: u16,
    },
    /// Acknowledge the interrupts of the device of a range of ports.
    PortInterrupt {
        /// The pin of the I/O APIC.
        pin: u8,
    },
}

/// A CNode that capabilities are minted from or into.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Slots, as a power of two.
    pub radix: u8,
    /// Unbadged endpoints in its first slots, by the domain's number.
    pub endpoints: Vec<u16>,
}

/// The NIC and the timer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// The domain that drives them.
    pub domain: u16,
    /// Where their registers are mapped in that domain.
    pub address: u64,
}

/// The number of the first image page of the image whose first page starts
/// with `header`, and the encoded plan's place in it.
pub fn read_header(header: &[u8]) -> Option<(core::ops::Range<usize>, usize)> {
    let word = |index: usize| -> Option<u64> {
        let bytes = header.get(index * 8..index * 8 + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    if word(0)? != MAGIC {
        return None;
    }
    let length = usize::try_from(word(1)?).ok()?;
    let pages = usize::try_from(word(2)?).ok()?;
    Some((HEADER_BYTES..HEADER_BYTES.checked_add(length)?, pages))
}

/// Decodes a plan; `None` when the bytes are none.
pub fn decode(bytes: &[u8]) -> Option<Plan> {
    postcard::from_bytes(bytes).ok()
}

/// Encodes a plan with its header, filled up to whole pages.
pub fn encode(plan: &Plan) -> Vec<u8> {
    const PAGE: usize = ipc::boot::PAGE as usize;
    let encoded = postcard::to_allocvec(plan).unwrap_or_default();
    let total = (HEADER_BYTES + encoded.len()).next_multiple_of(PAGE);
    let mut image = Vec::with_capacity(total);
    for word in [MAGIC, encoded.len() as u64, (total / PAGE) as u64] {
        image.extend_from_slice(&word.to_le_bytes());
    }
    image.extend_from_slice(&encoded);
    image.resize(total, 0);
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_its_encoding() {
        let plan = Plan {
            domains: alloc::vec![Domain {
                name: "one".into(),
                slots: alloc::vec![(
                    8,
                    Capability::Call {
                        domain: 0,
                        badge: 1 << 27
                    }
                )],
                ..Domain::default()
            }],
            ..Plan::default()
        };
        let image = encode(&plan);
        let (place, pages) = read_header(&image).unwrap();
        assert_eq!(image.len(), pages * 4096);
        assert_eq!(decode(&image[place]), Some(plan));
    }

    #[test]
    fn an_image_without_the_magic_is_none() {
        assert_eq!(read_header(&[0; 64]), None);
    }
}
