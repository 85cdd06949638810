//! The root task's memory and its CNode: every object comes from here.

use alloc::vec::Vec;

use sel4::cap::{CNode, CNodeSlot, Cache, Granule, LargePage, ObjectKind, Untyped};
use sel4::{BootInfo, Cap, Error, Rights, UntypedDescription, init_slot};

/// Address bits that lead to a slot of the root task's CNode.
const DEPTH: u8 = 64;

/// One piece of untyped memory and how far it is used.
struct Piece {
    description: UntypedDescription,
    used: u64,
}

/// Memory, slots, and the tables that keep what was built alive.
pub(crate) struct Resources {
    root: CNode,
    next_slot: u64,
    end_slot: u64,
    memory: Vec<Piece>,
    devices: Vec<Piece>,
    /// Slots of untyped memory that was split into pieces, or skipped.
    split: Vec<u64>,
    /// Slots of objects that must stay alive although they are never invoked.
    kept: Vec<u64>,
    /// Every page that is mapped.
    ledger: Vec<Mapping>,
}

/// Pages of one piece of memory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Page {
    /// 4 KiB, by slot.
    Small(u64),
    /// 2 MiB, by slot.
    Large(u64),
}

/// One page in one address space. Packed, since there are thousands: slots and
/// addresses have 32 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping {
    space: u32,
    address: u32,
    slot: u32,
    large: bool,
    pub(crate) writable: bool,
    device: bool,
}

impl Mapping {
    /// `page` at `address` of the address space in slot `space`.
    pub(crate) const fn new(
        space: u64,
        address: u64,
        page: Page,
        writable: bool,
        cache: Cache,
    ) -> Self {
        Self {
            space: space as u32,
            address: address as u32,
            slot: page.slot() as u32,
            large: matches!(page, Page::Large(_)),
            writable,
            device: matches!(cache, Cache::Uncacheable),
        }
    }

    /// Slot of the address space.
    pub(crate) fn space(&self) -> u64 {
        u64::from(self.space)
    }

    pub(crate) fn address(&self) -> u64 {
        u64::from(self.address)
    }

    pub(crate) fn page(&self) -> Page {
        if self.large {
            Page::Large(u64::from(self.slot))
        } else {
            Page::Small(u64::from(self.slot))
        }
    }

    pub(crate) const fn cache(&self) -> Cache {
        if self.device {
            Cache::Uncacheable
        } else {
            Cache::WriteBack
        }
    }
}

/// Bytes of a small page.
pub(crate) const SMALL: u64 = 1 << 12;
/// Bytes of a large page.
pub(crate) const LARGE: u64 = 1 << PIECE_BITS;
/// The largest piece of memory that is handed out in one, as a power of two.
const PIECE_BITS: u8 = 21;

impl Page {
    pub(crate) const fn bytes(self) -> u64 {
        match self {
            Self::Small(_) => SMALL,
            Self::Large(_) => LARGE,
        }
    }

    pub(crate) const fn slot(self) -> u64 {
        match self {
            Self::Small(slot) | Self::Large(slot) => slot,
        }
    }

    /// Where it is in memory.
    pub(crate) fn address(self) -> Result<u64, Error> {
        match self {
            // SAFETY: `Page` says that a small page is there.
            Self::Small(slot) => unsafe { granule(slot) }.frame_address(),
            // SAFETY: `Page` says that a large page is there.
            Self::Large(slot) => unsafe { large_page(slot) }.frame_address(),
        }
    }
}

impl Resources {
    pub(crate) fn new(boot: &BootInfo) -> Result<Self, Error> {
        let slots = boot.empty();
        let pieces = |device: bool| {
            let mut pieces: Vec<Piece> = boot
                .untyped()
                .filter(|description| description.is_device == device)
                .map(|description| Piece {
                    description,
                    used: 0,
                })
                .collect();
            // Small pieces first, so that large ones stay whole.
            pieces.sort_by_key(|piece| piece.description.size_bits);
            pieces
        };
        let mut resources = Self {
            // SAFETY: the kernel put the root task's CNode there.
            root: unsafe { CNode::from_bits(init_slot::CNODE) },
            next_slot: slots.start,
            end_slot: slots.end,
            memory: pieces(false),
            devices: pieces(true),
            split: Vec::new(),
            kept: Vec::new(),
            ledger: Vec::new(),
        };
        resources.split_memory()?;
        Ok(resources)
    }

    /// Splits memory into pieces of a large page at most: the kernel hands a
    /// piece out from its start only, so that a large page after small ones
    /// would waste what is between.
    fn split_memory(&mut self) -> Result<(), Error> {
        for piece in core::mem::take(&mut self.memory) {
            let bits = piece.description.size_bits;
            if bits <= PIECE_BITS {
                self.memory.push(piece);
                continue;
            }
            // SAFETY: the kernel gave that untyped memory to this task.
            let untyped = unsafe { Untyped::from_bits(piece.description.slot) };
            self.split.push(piece.description.slot);
            for index in 0..1_u64 << (bits - PIECE_BITS) {
                let slot = self.take_slots(1)?;
                untyped.retype(ObjectKind::Untyped(PIECE_BITS), &self.root, slot, 1)?;
                let description = UntypedDescription {
                    slot,
                    address: piece.description.address + (index << PIECE_BITS),
                    size_bits: PIECE_BITS,
                    is_device: false,
                };
                self.memory.push(Piece {
                    description,
                    used: 0,
                });
            }
        }
        Ok(())
    }

    /// Bytes of memory that the kernel left.
    pub(crate) fn total_memory(&self) -> u64 {
        let sizes = self.memory.iter();
        sizes.map(|piece| 1 << piece.description.size_bits).sum()
    }

    /// After the last byte of memory that the kernel left.
    pub(crate) fn memory_end(&self) -> u64 {
        let pieces = self.memory.iter().map(|piece| &piece.description);
        pieces
            .map(|piece| piece.address + (1 << piece.size_bits))
            .max()
            .unwrap_or(0)
    }

    pub(crate) const fn root(&self) -> &CNode {
        &self.root
    }

    /// A slot of the root task's CNode.
    pub(crate) const fn slot(&self, slot: u64) -> CNodeSlot<'_> {
        self.root.slot(slot, DEPTH)
    }

    /// `count` empty slots in a row; the first.
    pub(crate) fn take_slots(&mut self, count: u64) -> Result<u64, Error> {
        let first = self.next_slot;
        if first + count > self.end_slot {
            return Err(Error::NotEnoughMemory);
        }
        self.next_slot += count;
        Ok(first)
    }

    /// One object; its slot.
    pub(crate) fn make(&mut self, kind: ObjectKind) -> Result<u64, Error> {
        let slot = self.take_slots(1)?;
        let size = 1 << kind.size_bits();
        for piece in &mut self.memory {
            let start = piece.used.next_multiple_of(size);
            if start + size <= 1 << piece.description.size_bits {
                // SAFETY: the kernel gave that untyped memory to this task.
                let untyped = unsafe { Untyped::from_bits(piece.description.slot) };
                untyped.retype(kind, &self.root, slot, 1)?;
                piece.used = start + size;
                return Ok(slot);
            }
        }
        Err(Error::NotEnoughMemory)
    }

    /// One object that only has to exist.
    pub(crate) fn make_kept(&mut self, kind: ObjectKind) -> Result<u64, Error> {
        let slot = self.make(kind)?;
        self.kept.push(slot);
        Ok(slot)
    }

    /// Zeroed pages for `bytes` at an address that is `address` modulo 2 MiB.
    pub(crate) fn make_pages(&mut self, address: u64, bytes: u64) -> Result<Vec<Page>, Error> {
        let mut pages = Vec::new();
        let mut at = address;
        while at < address + bytes {
            let page = if at.is_multiple_of(LARGE) && address + bytes - at >= LARGE {
                Page::Large(self.make_kept(ObjectKind::LargePage)?)
            } else {
                Page::Small(self.make_kept(ObjectKind::Granule)?)
            };
            at += page.bytes();
            pages.push(page);
        }
        Ok(pages)
    }

    /// Physically contiguous small pages, 2 MiB at most.
    pub(crate) fn make_contiguous(&mut self, bytes: u64) -> Result<Vec<Page>, Error> {
        let bits = bytes.next_power_of_two().ilog2() as u8;
        let memory = self.make(ObjectKind::Untyped(bits))?;
        let count = bytes.div_ceil(SMALL);
        let mut pages = Vec::new();
        // SAFETY: made above.
        let untyped = unsafe { Untyped::from_bits(memory) };
        for _ in 0..count {
            let slot = self.take_slots(1)?;
            untyped.retype(ObjectKind::Granule, &self.root, slot, 1)?;
            self.kept.push(slot);
            pages.push(Page::Small(slot));
        }
        self.slot(memory).delete()?;
        Ok(pages)
    }

    /// The page of device registers at physical address `address`. Pages must
    /// be asked for in the order of their addresses.
    pub(crate) fn device_page(&mut self, address: u64) -> Result<u64, Error> {
        let covers = |piece: &Piece| {
            let start = piece.description.address;
            (start..start + (1 << piece.description.size_bits)).contains(&address)
        };
        let found = self.devices.iter().position(covers);
        let index = found.ok_or(Error::InvalidArgument)?;
        let root_slot = init_slot::CNODE;
        // SAFETY: the kernel put the root task's CNode there.
        let root = unsafe { CNode::from_bits(root_slot) };
        let piece = self.devices.get_mut(index).ok_or(Error::InvalidArgument)?;
        let target = address - piece.description.address;
        // SAFETY: the kernel gave that untyped memory to this task.
        let untyped = unsafe { Untyped::from_bits(piece.description.slot) };
        let mut at = piece.used;
        if at > target {
            return Err(Error::InvalidArgument);
        }
        // Skip up to the page by the largest pieces that fit. Their capabilities
        // go with the others of untyped memory: deleted now, the kernel would
        // begin again at the piece's start.
        let mut filler = self.next_slot;
        while at < target {
            let aligned = if at == 0 { 63 } else { at.trailing_zeros() };
            let bits = aligned.min((target - at).ilog2());
            untyped.retype(ObjectKind::Untyped(bits as u8), &root, filler, 1)?;
            self.split.push(filler);
            filler += 1;
            at += 1 << bits;
        }
        let slot = filler;
        untyped.retype(ObjectKind::Granule, &root, slot, 1)?;
        piece.used = target + SMALL;
        self.next_slot = slot + 1;
        self.kept.push(slot);
        Ok(slot)
    }

    /// A copy of the capability in `source`.
    pub(crate) fn copy(&mut self, source: u64, rights: Rights) -> Result<u64, Error> {
        let slot = self.take_slots(1)?;
        self.slot(slot).copy(&self.slot(source), rights)?;
        Ok(slot)
    }

    /// Writes a mapping down.
    pub(crate) fn mapped(&mut self, mapping: Mapping) {
        self.ledger.push(mapping);
    }

    /// The last mapping was for a moment only.
    pub(crate) fn unmapped_last(&mut self) {
        self.ledger.pop();
    }

    /// Every page that is mapped.
    pub(crate) fn ledger(&self) -> &[Mapping] {
        &self.ledger
    }

    /// Slots of this task's CNode that were empty at its start.
    pub(crate) const fn end_slot(&self) -> u64 {
        self.end_slot
    }

    /// Keeps what is in `slot` alive to the end.
    pub(crate) fn keep(&mut self, slot: u64) {
        self.kept.push(slot);
    }

    /// Clears all memory that is left, and deletes the capabilities to it.
    /// What the boot loader and the kernel left there was copies of the image,
    /// with the key rings.
    pub(crate) fn scrub(&mut self) -> Result<u64, Error> {
        let mut left = 0;
        let spare = self.take_slots(1)?;
        for piece in &self.memory {
            let size = 1 << piece.description.size_bits;
            left += size - piece.used;
            if piece.used == 0 {
                // SAFETY: the kernel gave that untyped memory to this task.
                let untyped = unsafe { Untyped::from_bits(piece.description.slot) };
                // The kernel clears untyped memory when it is used first.
                untyped.retype(ObjectKind::Endpoint, &self.root, spare, 1)?;
                self.slot(spare).delete()?;
            }
        }
        for piece in self.memory.iter().chain(&self.devices) {
            self.slot(piece.description.slot).delete()?;
        }
        for slot in &self.split {
            self.slot(*slot).delete()?;
        }
        Ok(left)
    }

    /// Moves the capabilities that only keep objects alive into a CNode that
    /// nobody can reach: its own capability goes in last. Afterwards no thread,
    /// this one included, can map a page of a domain.
    pub(crate) fn seal(&mut self) -> Result<usize, Error> {
        let kept = core::mem::take(&mut self.kept);
        let radix = (kept.len() as u64 + 1).next_power_of_two().ilog2() as u8;
        let vault = self.make(ObjectKind::CNode(radix))?;
        // SAFETY: made above.
        let cnode = unsafe { CNode::from_bits(vault) };
        for (index, slot) in kept.iter().chain([&vault]).enumerate() {
            let target = cnode.slot(index as u64, radix);
            target.move_from(&self.slot(*slot))?;
        }
        Ok(kept.len())
    }
}

/// The small page in `slot`.
///
/// # Safety
/// There is one.
pub(crate) const unsafe fn granule(slot: u64) -> Granule {
    // SAFETY: the caller knows.
    unsafe { Cap::from_bits(slot) }
}

/// The large page in `slot`.
///
/// # Safety
/// There is one.
pub(crate) const unsafe fn large_page(slot: u64) -> LargePage {
    // SAFETY: the caller knows.
    unsafe { Cap::from_bits(slot) }
}
