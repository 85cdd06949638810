//! What the monitor keeps to see whether domains go on.

use ipc::boot::interrupt;
use sel4::cap::{Granule, IrqControl, IrqHandler, MintData, Notification, ObjectKind, Tcb, VSpace};
use sel4::{Cap, Error, Rights, init_slot};

use super::{TICK_BADGE, Watched, Work};
use crate::hardware::CLOCK_PORTS;
use crate::ticker::{self, Ticker};

/// Vector of the clock's interrupt, as the kernel counts them.
const TICKER_VECTOR: u64 = 12;

/// The priority of this task, and of its threads when they are made.
pub(super) const PRIORITY: u8 = 255;

/// The thread that measures what domains get of the processor.
pub(crate) struct Gauge {
    pub(crate) thread: Tcb,
    /// Where it waits in the end; nobody sends there.
    pub(crate) endpoint: u64,
}

impl Work<'_> {
    pub(super) fn make_gauge(&mut self) -> Result<Gauge, Error> {
        Ok(Gauge {
            thread: self.make_own_thread()?,
            endpoint: self.resources.make(ObjectKind::Endpoint)?,
        })
    }

    /// A thread in this address space that needs neither stack nor IPC buffer.
    pub(super) fn make_own_thread(&mut self) -> Result<Tcb, Error> {
        let thread = self.resources.make(ObjectKind::Tcb)?;
        // SAFETY: made just now.
        let thread: Tcb = unsafe { Cap::from_bits(thread) };
        // SAFETY: the kernel put this task's address space there.
        let vspace: VSpace = unsafe { Cap::from_bits(init_slot::VSPACE) };
        // SAFETY: no capability: the thread needs no IPC buffer.
        let buffer: Granule = unsafe { Cap::from_bits(0) };
        let root = self.resources.root();
        thread.configure(0, PRIORITY, root, &vspace, 0, &buffer)?;
        Ok(thread)
    }

    /// The notifications by which the monitor wakes each domain at the moment that the
    /// domain asked for. Not before the proof, which checks who signals whom.
    pub(super) fn make_wakers(&mut self, domains: &mut [Watched]) -> Result<(), Error> {
        for (domain, notification) in domains.iter_mut().zip(&self.notifications) {
            let slot = self.resources.take_slots(1)?;
            let source = self.resources.slot(*notification);
            let badge = MintData::Badge(1 << interrupt::DEADLINE);
            let target = self.resources.slot(slot);
            target.mint(&source, Rights::WRITE, badge)?;
            // SAFETY: minted just now.
            domain.waker = unsafe { Notification::from_bits(slot) };
        }
        Ok(())
    }

    /// The monitor's clock, which signals its notification.
    pub(super) fn make_ticker(&mut self, log: u64) -> Result<Ticker, Error> {
        let ports = self.ports(CLOCK_PORTS)?;
        let handler = self.resources.take_slots(1)?;
        // SAFETY: the kernel put it there.
        let control = unsafe { IrqControl::from_bits(init_slot::IRQ_CONTROL) };
        let root = self.resources.root();
        control.issue_ioapic(root, handler, 64, ticker::PIN, false, false, TICKER_VECTOR)?;
        let badged = self.resources.take_slots(1)?;
        let source = self.resources.slot(log);
        let target = self.resources.slot(badged);
        target.mint(&source, Rights::WRITE, MintData::Badge(TICK_BADGE))?;
        // SAFETY: issued just now.
        let interrupt: IrqHandler = unsafe { Cap::from_bits(handler) };
        // SAFETY: minted just now.
        interrupt.set_notification(&unsafe { Notification::from_bits(badged) })?;
        self.resources.slot(badged).delete()?;
        Ok(Ticker::new(ports, interrupt))
    }
}
