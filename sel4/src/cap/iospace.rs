//! What a device may reach: address spaces behind the IOMMU (seL4 manual,
//! "Memory-mapped Device I/O" and "Intel VT-d").
//!
//! An address space is named by the device whose accesses it translates. The
//! kernel takes it apart when its last capability is deleted.

use super::{Granule, IOPageTable, IOSpace, Rights};
use crate::error::Error;
use crate::{facts, generation};

impl IOPageTable {
    /// Puts this table into `space` at the topmost level that has none yet for
    /// `address`.
    ///
    /// # Errors
    /// The kernel's; [`Error::DeleteFirst`] when all levels have one.
    pub fn table_map(&self, space: &IOSpace, address: u64) -> Result<(), Error> {
        self.invoke(facts::IO_PAGE_TABLE_MAP, &[space.bits()], [address])
            .map(drop)
    }
}

impl Granule {
    /// Lets the device of `space` reach this page at `address`. A capability is
    /// mapped once, here or in an address space of a thread; copies of it can
    /// be mapped elsewhere. [`Granule::frame_unmap`] unmaps it.
    ///
    /// # Errors
    /// The kernel's: a table is missing ([`Error::FailedLookup`]), the address
    /// is taken ([`Error::DeleteFirst`]), or this capability is mapped already.
    pub fn frame_map_io(&self, space: &IOSpace, address: u64, rights: Rights) -> Result<(), Error> {
        let words = [generation::rights_word(rights), address];
        self.invoke(facts::PAGE_MAP_IO, &[space.bits()], words)
            .map(drop)
    }
}
