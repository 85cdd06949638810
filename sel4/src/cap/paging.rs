//! Address spaces.

use super::{AsidPool, Cap, Rights, VSpace, cap_type};
use crate::error::Error;
use crate::{facts, generation};

/// How a page is cached (`seL4_X86_VMAttributes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Cache {
    /// Memory.
    WriteBack = 0,
    /// Device registers.
    Uncacheable = 3,
}

/// A kind of page.
pub trait FrameKind {
    /// Its size, as a power of two.
    const BITS: u32;
}

impl FrameKind for cap_type::Granule {
    const BITS: u32 = facts::PAGE_BITS as u32;
}

impl FrameKind for cap_type::LargePage {
    const BITS: u32 = facts::LARGE_PAGE_BITS as u32;
}

/// A kind of table below the root of an address space.
pub trait TableKind {
    /// Address bits that one table covers.
    const SPAN_BITS: u32;
    /// The label of its map invocation.
    #[doc(hidden)]
    const MAP: u64;
}

impl TableKind for cap_type::PageTable {
    const SPAN_BITS: u32 = 21;
    const MAP: u64 = facts::PAGE_TABLE_MAP;
}

impl TableKind for cap_type::PageDirectory {
    const SPAN_BITS: u32 = 30;
    const MAP: u64 = facts::PAGE_DIRECTORY_MAP;
}

impl TableKind for cap_type::Pdpt {
    const SPAN_BITS: u32 = 39;
    const MAP: u64 = facts::PDPT_MAP;
}

impl<T: FrameKind> Cap<T> {
    /// Maps this page at `address`. A capability of a page can be mapped once;
    /// copies of it can be mapped elsewhere.
    ///
    /// # Errors
    /// The kernel's: a table is missing, the address is taken, or this
    /// capability is mapped already.
    pub fn frame_map(
        &self,
        vspace: &VSpace,
        address: u64,
        rights: Rights,
        cache: Cache,
    ) -> Result<(), Error> {
        let words = [address, generation::rights_word(rights), cache as u64];
        self.invoke(facts::PAGE_MAP, &[vspace.bits()], words)
            .map(drop)
    }

    /// Rewrites the mapping of this page at `address`, with these rights. The
    /// kernel does so only for a page that is mapped there, in `vspace`, by this
    /// very capability; newer kernels also where nothing is mapped.
    ///
    /// # Errors
    /// The kernel's: it is not mapped there.
    pub fn frame_remap(
        &self,
        vspace: &VSpace,
        address: u64,
        rights: Rights,
        cache: Cache,
    ) -> Result<(), Error> {
        generation::remap(self, vspace.bits(), address, rights, cache as u64)
    }

    /// Unmaps this page.
    ///
    /// # Errors
    /// The kernel's: this is no page.
    pub fn frame_unmap(&self) -> Result<(), Error> {
        self.invoke(facts::PAGE_UNMAP, &[], []).map(drop)
    }

    /// Its physical address.
    ///
    /// # Errors
    /// The kernel's: this is no page.
    pub fn frame_address(&self) -> Result<u64, Error> {
        let [address, ..] = self.invoke(facts::PAGE_ADDRESS, &[], [])?;
        Ok(address)
    }
}

impl<T: TableKind> Cap<T> {
    /// Puts this table into `vspace` for the range around `address`.
    ///
    /// # Errors
    /// The kernel's; [`Error::DeleteFirst`] when there is one already.
    pub fn table_map(&self, vspace: &VSpace, address: u64) -> Result<(), Error> {
        self.invoke(T::MAP, &[vspace.bits()], [address, 0])
            .map(drop)
    }
}

impl AsidPool {
    /// Makes `vspace` usable.
    ///
    /// # Errors
    /// The kernel's: the pool is used up.
    pub fn assign(&self, vspace: &VSpace) -> Result<(), Error> {
        self.invoke(facts::ASID_POOL_ASSIGN, &[vspace.bits()], [])
            .map(drop)
    }
}
