//! Tables of capabilities.

use super::{CNode, Rights};
use crate::error::Error;
use crate::{facts, generation};

/// One slot, addressed through a CNode: the `depth` low bits of `index` lead
/// from the CNode to the slot.
#[derive(Clone, Copy, Debug)]
pub struct CNodeSlot<'a> {
    cnode: &'a CNode,
    index: u64,
    depth: u8,
}

/// What a mint writes into the new capability.
#[derive(Clone, Copy, Debug)]
pub enum MintData {
    /// The badge of an endpoint or a notification.
    Badge(u64),
    /// How many zero bits a CNode capability skips.
    GuardSize(u32),
    /// Whose the address space behind the IOMMU is.
    IOSpace {
        /// Distinguishes it in the IOMMU's caches; not zero, and each device's
        /// own.
        domain: u16,
        /// Bus, device and function as they are on the bus.
        device: u16,
    },
    /// Whatever the kernel's generation wants.
    #[doc(hidden)]
    Word(u64),
}

impl MintData {
    const fn word(self) -> u64 {
        match self {
            Self::Badge(badge) => generation::badge_word(badge),
            Self::GuardSize(size) => generation::guard_word(size),
            Self::IOSpace { domain, device } => (domain as u64) << 16 | device as u64,
            Self::Word(word) => word,
        }
    }
}

impl CNode {
    /// The slot that the `depth` low bits of `index` lead to.
    pub const fn slot(&self, index: u64, depth: u8) -> CNodeSlot<'_> {
        CNodeSlot {
            cnode: self,
            index,
            depth,
        }
    }
}

impl CNodeSlot<'_> {
    fn with_source(&self, source: &CNodeSlot<'_>) -> [u64; 4] {
        [
            self.index,
            u64::from(self.depth),
            source.index,
            u64::from(source.depth),
        ]
    }

    /// Puts a copy of `source` with at most `rights` here.
    ///
    /// # Errors
    /// The kernel's: this slot is in use, or the source is empty.
    pub fn copy(&self, source: &CNodeSlot<'_>, rights: Rights) -> Result<(), Error> {
        let [a, b, c, d] = self.with_source(source);
        let words = [a, b, c, d, generation::rights_word(rights)];
        self.cnode
            .invoke(facts::CNODE_COPY, &[source.cnode.bits()], words)
            .map(drop)
    }

    /// Puts a copy of `source` with at most `rights` and with `data` here.
    ///
    /// # Errors
    /// The kernel's: this slot is in use, or the source is empty, or it can't
    /// carry `data`.
    pub fn mint(
        &self,
        source: &CNodeSlot<'_>,
        rights: Rights,
        data: MintData,
    ) -> Result<(), Error> {
        let [a, b, c, d] = self.with_source(source);
        let words = [a, b, c, d, generation::rights_word(rights), data.word()];
        self.cnode
            .invoke(facts::CNODE_MINT, &[source.cnode.bits()], words)
            .map(drop)
    }

    /// Puts the right to the I/O ports `first..=last` here; `ports` is where
    /// the root task has the right to hand ports out.
    ///
    /// # Errors
    /// The kernel's: this slot is in use, or somebody has these ports.
    pub fn issue_ports(&self, ports: &CNodeSlot<'_>, first: u16, last: u16) -> Result<(), Error> {
        generation::issue_ports(self, ports, (first, last))
    }

    /// The CNode, the index in it, its depth.
    #[cfg_attr(sel4_generation = "5", expect(dead_code, reason = "for others"))]
    pub(crate) fn parts(&self) -> (u64, u64, u8) {
        (self.cnode.bits(), self.index, self.depth)
    }

    /// Moves `source` here.
    ///
    /// # Errors
    /// The kernel's: this slot is in use, or the source is empty.
    pub fn move_from(&self, source: &CNodeSlot<'_>) -> Result<(), Error> {
        let words = self.with_source(source);
        self.cnode
            .invoke(facts::CNODE_MOVE, &[source.cnode.bits()], words)
            .map(drop)
    }

    /// Moves `source` here and gives it `data`.
    ///
    /// # Errors
    /// The kernel's: this slot is in use, or the source can't carry `data`.
    pub fn mutate_from(&self, source: &CNodeSlot<'_>, data: MintData) -> Result<(), Error> {
        let [a, b, c, d] = self.with_source(source);
        let words = [a, b, c, d, data.word()];
        self.cnode
            .invoke(facts::CNODE_MUTATE, &[source.cnode.bits()], words)
            .map(drop)
    }

    fn simple(&self, label: u64) -> Result<(), Error> {
        self.cnode
            .invoke(label, &[], [self.index, u64::from(self.depth)])
            .map(drop)
    }

    /// Empties this slot; an empty slot stays empty.
    ///
    /// # Errors
    /// The kernel's: the slot does not exist.
    pub fn delete(&self) -> Result<(), Error> {
        self.simple(facts::CNODE_DELETE)
    }

    /// Deletes every capability that was derived from the one here.
    ///
    /// # Errors
    /// The kernel's: the slot does not exist.
    pub fn revoke(&self) -> Result<(), Error> {
        self.simple(facts::CNODE_REVOKE)
    }

    /// Ends sends that wait with the badge of the capability here.
    ///
    /// # Errors
    /// The kernel's: the capability here lacks a right.
    pub fn cancel_badged_sends(&self) -> Result<(), Error> {
        self.simple(facts::CNODE_CANCEL_BADGED_SENDS)
    }
}
