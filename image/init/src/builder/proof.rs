//! What was built is what was described: each slot of each CSpace, each page of each
//! address space, and each slot of this task, as the kernel reports it.
//!
//! ADR 0061 tells what this kernel can be asked and what it can't.

use alloc::vec::Vec;

use init::{Capability, Domain};
use ipc::boot::slot;
use sel4::cap::{CNode, CNodeSlot, Endpoint, IOPort, MintData, ObjectKind, PortWidth, Tcb};
use sel4::{Cap, Error, MessageInfo, Rights, init_slot, log};

use super::watch::PRIORITY;
use super::{FAULT_BADGE, Refusal, Work, lookup};
use crate::resources::Resources;

/// Bits that lead to a slot of a domain's root CNode, its guard counted.
pub(super) const ROOT_DEPTH: u8 = 64 - slot::LOW_BITS;
/// Slots of a tools CNode.
const TOOLS: u64 = 16;
/// A badge that no domain gets.
const PROBE: u64 = 0x07a5_badc;

/// What a slot must hold.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// What is sent through it arrives at this task's slot `object` with `badge`.
    Sends { object: u64, badge: u64 },
    /// What is sent to this task's slot `object` arrives there.
    Receives { object: u64 },
    /// A CNode through which the table is seen.
    Table(u16),
    /// The CNode of a manager's tables.
    Tools,
    /// An interrupt's handler; the kernel can't be asked which.
    Interrupt,
    /// These I/O ports, and none beside them.
    Ports { first: u16, last: u16 },
}

/// This task's priority during the proof: below that of the thread that receives,
/// which therefore waits, or has received, whenever this task runs.
const BELOW: u8 = PRIORITY - 1;

/// Tools of the proof: two empty slots, a thread that receives, and where that waits
/// afterwards.
pub(super) struct Probe {
    held: u64,
    other: u64,
    thread: Tcb,
    quiet: u64,
    found: usize,
    pub(super) wrong: usize,
}

impl Work<'_> {
    /// Compares everything with the plan.
    ///
    /// Nothing else may signal or send meanwhile: no domain runs, and no interrupt is
    /// connected.
    ///
    /// # Errors
    /// [`Refusal::Policy`] when there is a difference; the log tells each.
    pub(super) fn prove(&mut self, fault: u64, log: u64) -> Result<(), Refusal> {
        // SAFETY: the kernel put this thread there.
        let own: Tcb = unsafe { Cap::from_bits(init_slot::TCB) };
        own.set_priority(BELOW)?;
        let proved = self.compare(fault, log);
        own.set_priority(PRIORITY)?;
        proved
    }

    fn compare(&mut self, fault: u64, log: u64) -> Result<(), Refusal> {
        let mut probe = self.make_probe()?;
        let plan = self.plan;
        for (domain, notification) in plan.domains.iter().zip(&self.notifications) {
            let left = drain(*notification);
            if left != 0 {
                log!(
                    "policy: {}: signals {left:#x} came before the proof",
                    domain.name
                );
            }
        }
        for (number, domain) in plan.domains.iter().enumerate() {
            let expected = self.expected(number, domain, fault, log)?;
            self.walk_cspace(number, domain, &expected, &mut probe)?;
        }
        for number in 0..plan.tables.len() {
            self.walk_table(number as u16, &mut probe)?;
        }
        let pages = self.walk_pages(&mut probe)?;
        for slot in [probe.thread.bits(), probe.quiet] {
            self.resources.slot(slot).delete()?;
        }
        let (found, wrong) = (probe.found, probe.wrong);
        if found != self.capabilities {
            log!(
                "policy: {found} capabilities found, {} declared",
                self.capabilities
            );
        }
        if wrong > 0 || found != self.capabilities {
            return Err(Refusal::Policy);
        }
        let spaces = plan.domains.len();
        log!("policy: {pages} pages in {spaces} address spaces as declared");
        log!("policy: {found} capabilities as declared, 0 others");
        Ok(())
    }

    fn make_probe(&mut self) -> Result<Probe, Error> {
        let thread = self.make_own_thread()?;
        Ok(Probe {
            held: self.resources.take_slots(1)?,
            other: self.resources.take_slots(1)?,
            thread,
            quiet: self.resources.make(ObjectKind::Endpoint)?,
            found: 0,
            wrong: 0,
        })
    }

    /// What the plan says of a domain's slots.
    fn expected(
        &self,
        number: usize,
        domain: &Domain,
        fault: u64,
        log: u64,
    ) -> Result<Vec<(u64, Expected)>, Error> {
        let own = number as u16;
        let mut list = Vec::new();
        let object = *lookup(&self.notifications, own)?;
        list.push((slot::NOTIFICATION, Expected::Receives { object }));
        let badge = FAULT_BADGE | u64::from(own);
        list.push((
            slot::FAULT,
            Expected::Sends {
                object: fault,
                badge,
            },
        ));
        let badge = 1 << number;
        list.push((slot::LOG, Expected::Sends { object: log, badge }));
        if domain.serves {
            let object = *lookup(&self.endpoints, own)?;
            list.push((slot::ENDPOINT, Expected::Receives { object }));
        }
        if !domain.tools.is_empty() {
            list.push((slot::TOOLS, Expected::Tools));
        }
        for (target, capability) in &domain.slots {
            let expected = match *capability {
                Capability::Call { domain, badge } => {
                    let object = *lookup(&self.endpoints, domain)?;
                    Expected::Sends { object, badge }
                }
                Capability::Signal { domain, badge } => {
                    let object = *lookup(&self.notifications, domain)?;
                    Expected::Sends { object, badge }
                }
                Capability::Window { table } => Expected::Table(table),
                Capability::NicInterrupt if self.nic.is_none() => continue,
                Capability::NicInterrupt
                | Capability::TimerInterrupt
                | Capability::PortInterrupt { .. } => Expected::Interrupt,
                Capability::Ports { first, last } => Expected::Ports { first, last },
            };
            list.push((*target, expected));
        }
        Ok(list)
    }

    /// Looks into every slot of a domain's root CNode.
    fn walk_cspace(
        &self,
        number: usize,
        domain: &Domain,
        expected: &[(u64, Expected)],
        probe: &mut Probe,
    ) -> Result<(), Error> {
        let cspace = lookup(&self.cspaces, number as u16)?;
        let held = self.resources.slot(probe.held);
        for index in 0..1 << slot::RADIX {
            let there = cspace.slot(index, ROOT_DEPTH);
            let wanted = expected.iter().find(|(slot, _)| *slot == index);
            let is_there = take(&held, &there)?;
            let good = match (wanted, is_there) {
                (None, false) => continue,
                (Some((_, expected)), true) => self.is_as_expected(expected, probe)?,
                (Some(_), false) | (None, true) => false,
            };
            if is_there {
                there.move_from(&held)?;
            }
            probe.found += 1;
            if !good {
                let what = if wanted.is_none() {
                    "undeclared"
                } else {
                    "not as declared"
                };
                log!("policy: {}: slot {index} is {what}", domain.name);
                probe.wrong += 1;
            }
            match wanted {
                Some((_, Expected::Table(table))) => {
                    self.walk_window(cspace, index, *table, domain, probe)?;
                }
                Some((_, Expected::Tools)) => self.walk_tools(cspace, domain, probe)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Asks the kernel about the capability in the probe's slot.
    fn is_as_expected(&self, expected: &Expected, probe: &Probe) -> Result<bool, Error> {
        match *expected {
            Expected::Sends { object, badge } => {
                Ok(probe.arrives(probe.held, object, object)? == Some(badge))
            }
            Expected::Receives { object } => {
                let other = self.resources.slot(probe.other);
                let source = self.resources.slot(object);
                other.mint(&source, Rights::CALL, MintData::Badge(PROBE))?;
                let got = probe.arrives(probe.other, probe.held, object)?;
                other.delete()?;
                Ok(got == Some(PROBE))
            }
            // Their content tells, when they are back in their place.
            Expected::Table(_) | Expected::Tools => Ok(true),
            Expected::Interrupt => Ok(true),
            Expected::Ports { first, last } => {
                // SAFETY: the probe's slot; what is in it is what is asked about.
                let ports: IOPort = unsafe { Cap::from_bits(probe.held) };
                let reads = |port| ports.read(port, PortWidth::Byte).is_ok();
                let beside = [first.checked_sub(1), last.checked_add(1)];
                Ok(reads(first) && reads(last) && !beside.into_iter().flatten().any(reads))
            }
        }
    }

    /// A window is empty, and its table is seen through it.
    fn walk_window(
        &self,
        cspace: &CNode,
        index: u64,
        table: u16,
        domain: &Domain,
        probe: &mut Probe,
    ) -> Result<(), Error> {
        let held = self.resources.slot(probe.held);
        let radix = lookup(&self.plan.tables, table)?.radix;
        // SAFETY: made by `make_tables`.
        let own = unsafe { CNode::from_bits(*lookup(&self.tables, table)?) };
        let last = (1 << radix) - 1;
        let marker = own.slot(last, radix);
        let source = self.resources.slot(*lookup(&self.notifications, 0)?);
        let marked = marker.copy(&source, Rights::NONE).is_ok();
        let through = cspace.slot(slot::cptr(index) | last, 64);
        let seen = marked && take(&held, &through)?;
        held.delete()?;
        marker.delete()?;
        if !seen {
            log!("policy: {}: slot {index} is another window", domain.name);
            probe.wrong += 1;
        }
        Ok(())
    }

    /// A manager's tools are its tables and nothing else.
    fn walk_tools(&self, cspace: &CNode, domain: &Domain, probe: &mut Probe) -> Result<(), Error> {
        let held = self.resources.slot(probe.held);
        let other = self.resources.slot(probe.other);
        for index in 0..TOOLS {
            let there = cspace.slot(slot::cptr(slot::TOOLS) | index, 64);
            let wanted = domain.tools.get(index as usize);
            let is_there = take(&held, &there)?;
            let good = match (wanted, is_there) {
                (None, false) => continue,
                (Some(table), true) => {
                    let described = lookup(&self.plan.tables, *table)?;
                    // SAFETY: whatever is there, the kernel checks its kind.
                    let seen = unsafe { CNode::from_bits(probe.held) };
                    // SAFETY: made by `make_tables`.
                    let own = unsafe { CNode::from_bits(*lookup(&self.tables, *table)?) };
                    let last = (1 << described.radix) - 1;
                    let (seen, own) = (
                        seen.slot(last, described.radix),
                        own.slot(last, described.radix),
                    );
                    let source = self.resources.slot(*lookup(&self.notifications, 0)?);
                    // A mint source may be full: then what is in it is the mark.
                    let marked = own.copy(&source, Rights::NONE).is_ok();
                    let same = other.move_from(&seen).is_ok();
                    if same {
                        own.move_from(&other)?;
                    }
                    if marked {
                        own.delete()?;
                    }
                    same
                }
                (Some(_), false) | (None, true) => false,
            };
            if is_there {
                there.move_from(&held)?;
            }
            probe.found += 1;
            if !good {
                log!("policy: {}: tool {index} is not as declared", domain.name);
                probe.wrong += 1;
            }
        }
        Ok(())
    }

    /// A window is empty at the start; a mint source holds the unbadged
    /// endpoints that the plan lists, in that order.
    fn walk_table(&self, number: u16, probe: &mut Probe) -> Result<(), Error> {
        let table = lookup(&self.plan.tables, number)?;
        // SAFETY: made by `make_tables`.
        let cnode = unsafe { CNode::from_bits(*lookup(&self.tables, number)?) };
        let held = self.resources.slot(probe.held);
        for index in 0..1 << table.radix {
            let there = cnode.slot(index, table.radix);
            let wanted = table.endpoints.get(index as usize);
            let is_there = take(&held, &there)?;
            let good = match (wanted, is_there) {
                (None, false) => continue,
                (Some(domain), true) => {
                    let object = *lookup(&self.endpoints, *domain)?;
                    probe.arrives(probe.held, object, object)? == Some(0)
                }
                (Some(_), false) | (None, true) => false,
            };
            if is_there {
                there.move_from(&held)?;
            }
            probe.found += 1;
            if !good {
                log!(
                    "policy: table {}: slot {index} is not as declared",
                    table.name
                );
                probe.wrong += 1;
            }
        }
        Ok(())
    }
}

impl Probe {
    /// Sends once through the capability in slot `from`; the badge with which that
    /// arrives at the one in slot `to`, if it does. `object` is this task's own
    /// capability of what is described.
    ///
    /// The kernel gives a definite answer: the thread has a higher priority, so it
    /// waits before this task sends, and has received when this task looks.
    fn arrives(&self, from: u64, to: u64, object: u64) -> Result<Option<u64>, Error> {
        // A signal that is there already would be taken for the one that is sent.
        drain(object);
        self.thread.write_receiver(to, self.quiet)?;
        self.thread.resume()?;
        // SAFETY: whatever is there, a send that does not wait does no harm.
        let endpoint: Endpoint = unsafe { Cap::from_bits(from) };
        endpoint.nb_send(MessageInfo::new(0, 0, 0));
        self.thread.suspend()?;
        let badge = self.thread.received()?;
        // If nobody received it, the signal is still there.
        drain(object);
        Ok(badge)
    }
}

/// Clears what was signalled at this task's own notification in that slot; its
/// bits. Nothing happens to an endpoint where nobody sends.
fn drain(object: u64) -> u64 {
    // SAFETY: this task made the object and its capability has all rights; another
    // kind is a fault of this task.
    let object: Endpoint = unsafe { Cap::from_bits(object) };
    object.nb_recv()
}

/// Moves what is in `from` to `to`; `false` when there is nothing.
fn take(to: &CNodeSlot<'_>, from: &CNodeSlot<'_>) -> Result<bool, Error> {
    match to.move_from(from) {
        Ok(()) => Ok(true),
        Err(Error::FailedLookup) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Every slot of this task is empty but those that `stays` names, and the one of
/// its CNode, which goes last.
///
/// # Errors
/// [`Refusal::Policy`] when this task holds something else; the log tells.
pub(super) fn sweep(resources: &mut Resources, stays: impl Fn(u64) -> bool) -> Result<(), Refusal> {
    let spare = resources.take_slots(1)?;
    let scratch = resources.slot(spare);
    let (mut kept, mut others) = (0, 0);
    for number in 1..resources.end_slot() {
        if number == init_slot::CNODE || number == spare {
            continue;
        }
        let there = resources.slot(number);
        if !take(&scratch, &there)? {
            continue;
        }
        there.move_from(&scratch)?;
        if stays(number) {
            kept += 1;
        } else {
            others += 1;
            log!("policy: the monitor holds slot {number}, which is undeclared");
        }
    }
    log!("policy: the monitor keeps {kept} capabilities and no memory");
    if others > 0 {
        return Err(Refusal::Policy);
    }
    Ok(())
}
