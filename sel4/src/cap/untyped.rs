//! Memory becomes objects.

use super::{CNode, Untyped};
use crate::error::Error;
use crate::facts;

/// What untyped memory can become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// Smaller untyped memory of 2^n bytes.
    Untyped(u8),
    /// A thread.
    Tcb,
    /// An endpoint.
    Endpoint,
    /// A notification.
    Notification,
    /// A CNode with 2^n slots.
    CNode(u8),
    /// A page of 4 KiB.
    Granule,
    /// A page of 2 MiB.
    LargePage,
    /// A page table.
    PageTable,
    /// A page directory.
    PageDirectory,
    /// A page directory pointer table.
    Pdpt,
    /// The root of an address space.
    VSpace,
    /// A table of a device's address space.
    IOPageTable,
}

impl ObjectKind {
    const fn number(self) -> u64 {
        match self {
            Self::Untyped(_) => facts::OBJECT_UNTYPED,
            Self::Tcb => facts::OBJECT_TCB,
            Self::Endpoint => facts::OBJECT_ENDPOINT,
            Self::Notification => facts::OBJECT_NOTIFICATION,
            Self::CNode(_) => facts::OBJECT_CNODE,
            Self::Granule => facts::OBJECT_PAGE,
            Self::LargePage => facts::OBJECT_LARGE_PAGE,
            Self::PageTable => facts::OBJECT_PAGE_TABLE,
            Self::PageDirectory => facts::OBJECT_PAGE_DIRECTORY,
            Self::Pdpt => facts::OBJECT_PDPT,
            Self::VSpace => facts::OBJECT_PML4,
            Self::IOPageTable => facts::OBJECT_IO_PAGE_TABLE,
        }
    }

    const fn size_argument(self) -> u64 {
        match self {
            Self::Untyped(bits) | Self::CNode(bits) => bits as u64,
            _ => 0,
        }
    }

    /// The memory that one takes, as a power of two.
    pub const fn size_bits(self) -> u64 {
        match self {
            Self::Untyped(bits) => bits as u64,
            Self::Tcb => facts::TCB_BITS,
            Self::Endpoint => facts::ENDPOINT_BITS,
            Self::Notification => facts::NOTIFICATION_BITS,
            Self::CNode(bits) => bits as u64 + facts::SLOT_BITS,
            Self::Granule => facts::PAGE_BITS,
            Self::LargePage => facts::LARGE_PAGE_BITS,
            Self::PageTable
            | Self::PageDirectory
            | Self::Pdpt
            | Self::VSpace
            | Self::IOPageTable => facts::TABLE_BITS,
        }
    }
}

impl Untyped {
    /// Makes `count` objects in the slots of `root` from `first` on. Memory
    /// that had been in use is cleared.
    ///
    /// # Errors
    /// [`Error::NotEnoughMemory`], or the kernel's: a slot is in use.
    pub fn retype(
        &self,
        kind: ObjectKind,
        root: &CNode,
        first: u64,
        count: u64,
    ) -> Result<(), Error> {
        let words = [
            kind.number(),
            kind.size_argument(),
            // The slots are in the CNode that `root` itself names.
            0,
            0,
            first,
            count,
        ];
        self.invoke(facts::UNTYPED_RETYPE, &[root.bits()], words)
            .map(drop)
    }
}
