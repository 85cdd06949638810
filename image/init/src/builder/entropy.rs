//! What the domains' random numbers start from: the seed of each, and the source of
//! entropy beside the processor (virtio 1.2 §5.4), where the machine has one.
//!
//! The source is asked once, before there is any domain. Its bytes are mixed into this
//! task's generator, which every seed comes from. Then it is switched off, its memory
//! cleared, and no domain has a capability to it.

use alloc::vec;

use device::Confined;
use init::pci::Place;
use ipc::boot::{DeviceSnapshot, PAGE, place};
use sel4::cap::{Cache, ObjectKind};
use sel4::runtime::SystemClock;
use sel4::{BootInfo, Error, log};
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::{DeviceStatus, Transport};
use zeroize::{Zeroize, Zeroizing};

use super::confine::ENTROPY_DOMAIN;
use super::own_device::{Mapped, agree};
use super::{Refusal, Work};
use crate::hardware::{PCI_PORTS, Pci};
use crate::resources::{Page, granule};
use crate::space::Space;

/// The source while it is asked. Its memory is a page that nobody uses, two of the queue,
/// the buffer.
const MAPPED: Mapped = Mapped {
    registers: 0x6900_0000,
    memory: 0x6a00_0000,
    bytes: 4 * PAGE,
    domain: ENTROPY_DOMAIN,
};
/// Bytes that are asked for: the samples of the test at the start (SP 800-90B §4.3),
/// and more than the generator can hold.
const ASKED: usize = 1024;
/// Seconds until a source that does not answer is none.
const PATIENCE: u64 = 5;
/// The one queue (virtio 1.2 §5.4.2), and how many requests it holds.
const REQUESTS: u16 = 0;
const QUEUE: usize = 2;

impl Work<'_> {
    /// Looks for the source.
    pub(super) fn find_entropy(&mut self) -> Result<(), Error> {
        self.entropy = self.find_own(Pci::find_entropy, MAPPED)?;
        Ok(())
    }

    /// Mixes the source's bytes into this task's generator.
    ///
    /// # Errors
    /// [`Refusal::Entropy`] when the source does not answer or fails its tests.
    pub(super) fn gather_entropy(&mut self, boot: &BootInfo) -> Result<(), Refusal> {
        let Some(mut source) = self.entropy.take() else {
            log!("init: random numbers: no virtio-rng");
            return Ok(());
        };
        let opened = self.open_own(boot, &mut source)?;
        // On the heap, so that no copy remains.
        let mut received = Zeroizing::new(vec![0; ASKED]);
        let deadline = SystemClock::ticks() + PATIENCE * boot.tsc_hz();
        // SAFETY: registers and memory were mapped above, for this call.
        let asked = unsafe { ask(opened.snapshot, deadline, &mut received) };
        self.switch_off(source.place)?;
        self.asked = Some(source.place);
        if let Some(space) = opened.space {
            let copies = space.pages.into_iter().map(|(slot, _)| slot);
            for slot in copies.chain([space.slot]) {
                self.resources.slot(slot).delete()?;
            }
        }
        // SAFETY: mapped above, and the source that wrote there is off.
        let bytes = unsafe {
            core::slice::from_raw_parts_mut(MAPPED.memory as *mut u8, MAPPED.bytes as usize)
        };
        bytes.zeroize();
        let registers = source.registers.iter().map(|register| register.slot);
        for slot in registers.chain(opened.memory.iter().map(|page| page.slot())) {
            // SAFETY: small pages, mapped above.
            unsafe { granule(slot) }.frame_unmap()?;
            self.resources.unmapped_last();
        }
        asked.map_err(Refusal::Entropy)?;
        if !getrandom::is_sound(&received) {
            return Err(Refusal::Entropy("fails its health tests"));
        }
        getrandom::add(&received).map_err(Refusal::Random)?;
        log!("init: random numbers: {ASKED} bytes of virtio-rng, sound");
        Ok(())
    }

    fn switch_off(&mut self, source: Place) -> Result<(), Error> {
        let ports = self.ports(PCI_PORTS)?;
        let slot = ports.bits();
        Pci::new(ports).switch_off(source)?;
        self.resources.slot(slot).delete()
    }

    /// Draws a seed and leaves it in a page of that address space alone. This task does
    /// not keep it: a later reader of its memory can't find it.
    pub(super) fn leave_seed(&mut self, space: &mut Space) -> Result<(), Refusal> {
        let mut seed = Zeroizing::new([0; getrandom::SEED_BYTES]);
        getrandom::getrandom(seed.as_mut_slice()).map_err(Refusal::Random)?;
        let page = Page::Small(self.resources.make_kept(ObjectKind::Granule)?);
        let page = self.inject_seed(page)?;
        // SAFETY: a seed is plain bytes and fits a page.
        unsafe { self.fill_page(page, &*seed)? };
        let resources = &mut self.resources;
        space.map(resources, page, place::SEED, true, Cache::WriteBack)?;
        Ok(())
    }
}

/// Has the source that `snapshot` describes fill `rest`, a page at most, and resets
/// it. An error says what the source does.
///
/// # Safety
/// As [`device::open`].
unsafe fn ask(
    snapshot: &'static DeviceSnapshot,
    deadline: u64,
    rest: &mut [u8],
) -> Result<(), &'static str> {
    // SAFETY: passed on from the caller.
    let opened = unsafe { device::open(snapshot) };
    let mut transport = opened.map_err(|_| "is none of version 1.0 or later")?;
    let asked = fill(&mut transport, deadline, rest);
    device::close(transport);
    asked
}

/// Asks the source behind `transport` until `rest` is full.
fn fill(
    transport: &mut Confined<PciTransport>,
    deadline: u64,
    mut rest: &mut [u8],
) -> Result<(), &'static str> {
    let status = agree(transport);
    let queue = VirtQueue::<device::Memory, QUEUE>::new(transport, REQUESTS, false, false);
    let mut queue = queue.map_err(|_| "has no queue")?;
    // It is asked whether it is done.
    queue.set_dev_notify(false);
    transport.set_status(status | DeviceStatus::DRIVER_OK);
    let buffer = device::take(rest.len()).ok_or("has no memory")?;
    while !rest.is_empty() {
        // SAFETY: the memory was taken for this buffer alone, which is not read until the
        // source has returned it.
        let part = unsafe { core::slice::from_raw_parts_mut(buffer.as_ptr(), rest.len()) };
        // SAFETY: it stays mapped until the source is off, whatever becomes of this.
        let token = unsafe { queue.add(&[], &mut [&mut *part]) }.map_err(|_| "takes no request")?;
        transport.notify(REQUESTS);
        while !queue.can_pop() {
            if SystemClock::ticks() > deadline {
                return Err("does not answer");
            }
            core::hint::spin_loop();
        }
        // SAFETY: the buffer of `add`.
        let written = unsafe { queue.pop_used(token, &[], &mut [&mut *part]) };
        let written = written.map_err(|_| "answers what was not asked")? as usize;
        if written == 0 {
            return Err("gives nothing");
        }
        let (to, after) = rest
            .split_at_mut_checked(written)
            .ok_or("gives more than was asked for")?;
        to.copy_from_slice(part.get(..written).unwrap_or_default());
        rest = after;
    }
    Ok(())
}
