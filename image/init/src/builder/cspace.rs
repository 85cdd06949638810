//! CSpaces: what each domain holds.

use init::{Capability, Domain};
use ipc::boot::{interrupt, slot};
use sel4::cap::{CNode, IrqControl, IrqHandler, MintData, Notification, ObjectKind};
use sel4::{Error, Rights, init_slot};

use super::devices::TIMER_PIN;
use super::proof::ROOT_DEPTH;
use super::{FAULT_BADGE, NIC_VECTOR, PORT_VECTOR, TIMER_VECTOR, Work, lookup};

/// How an interrupt arrives.
struct Source {
    /// The pin of the I/O APIC.
    pin: u64,
    /// Triggered by level, not by edge.
    level: bool,
    active_low: bool,
    vector: u64,
    /// The bit that it signals.
    bit: u32,
}

impl Work<'_> {
    /// Fills a domain's CSpace with what the plan lists, and nothing else.
    pub(super) fn make_cspace(
        &mut self,
        number: usize,
        domain: &Domain,
        fault: u64,
        log: u64,
    ) -> Result<CNode, Error> {
        let plain = self.resources.make(ObjectKind::CNode(slot::RADIX))?;
        // SAFETY: made just now.
        let root = unsafe { CNode::from_bits(plain) };
        let number = number as u16;
        let notification = *lookup(&self.notifications, number)?;
        let fault_badge = MintData::Badge(FAULT_BADGE | u64::from(number));
        let log_badge = MintData::Badge(1 << number);
        self.put(
            &root,
            slot::NOTIFICATION,
            notification,
            Rights::READ,
            MintData::Badge(0),
        )?;
        self.put(&root, slot::FAULT, fault, Rights::CALL, fault_badge)?;
        self.put(&root, slot::LOG, log, Rights::WRITE, log_badge)?;
        let mut count = 3;
        if domain.serves {
            let endpoint = *lookup(&self.endpoints, number)?;
            self.put(
                &root,
                slot::ENDPOINT,
                endpoint,
                Rights::READ,
                MintData::Badge(0),
            )?;
            count += 1;
        }
        for (target, capability) in &domain.slots {
            match *capability {
                Capability::Call { domain, badge } => {
                    let endpoint = *lookup(&self.endpoints, domain)?;
                    self.put(
                        &root,
                        *target,
                        endpoint,
                        Rights::CALL,
                        MintData::Badge(badge),
                    )?;
                }
                Capability::Signal { domain, badge } => {
                    let notification = *lookup(&self.notifications, domain)?;
                    self.put(
                        &root,
                        *target,
                        notification,
                        Rights::WRITE,
                        MintData::Badge(badge),
                    )?;
                }
                Capability::Window { table } => {
                    let cnode = *lookup(&self.tables, table)?;
                    let radix = lookup(&self.plan.tables, table)?.radix;
                    let guard = u32::from(slot::LOW_BITS - radix);
                    self.put(
                        &root,
                        *target,
                        cnode,
                        Rights::ALL,
                        MintData::GuardSize(guard),
                    )?;
                }
                Capability::Ports { first, last } => {
                    let ports = self.ports((first, last))?;
                    let source = self.resources.slot(ports.bits());
                    root.slot(*target, slot::RADIX).move_from(&source)?;
                }
                Capability::NicInterrupt
                | Capability::TimerInterrupt
                | Capability::PortInterrupt { .. } => {
                    let handler = self.issue_interrupt(*capability)?;
                    // There may be no NIC.
                    let Some(handler) = handler else { continue };
                    let source = self.resources.slot(handler);
                    root.slot(*target, slot::RADIX).move_from(&source)?;
                }
            }
            count += 1;
        }
        if !domain.tools.is_empty() {
            count += self.make_tools(&root, domain)?;
        }
        self.capabilities += count;
        let guarded = self.resources.take_slots(1)?;
        let skipped = 64 - u32::from(slot::RADIX) - u32::from(slot::LOW_BITS);
        let source = self.resources.slot(plain);
        let target = self.resources.slot(guarded);
        target.mint(&source, Rights::ALL, MintData::GuardSize(skipped))?;
        self.resources.slot(plain).delete()?;
        // SAFETY: made just now.
        Ok(unsafe { CNode::from_bits(guarded) })
    }

    /// Mints the capability in this task's slot `source` into slot `target` of
    /// a domain's CSpace.
    fn put(
        &self,
        root: &CNode,
        target: u64,
        source: u64,
        rights: Rights,
        data: MintData,
    ) -> Result<(), Error> {
        let source = self.resources.slot(source);
        root.slot(target, slot::RADIX).mint(&source, rights, data)
    }

    /// The CNode with the capabilities by which a manager changes tables.
    fn make_tools(&mut self, root: &CNode, domain: &Domain) -> Result<usize, Error> {
        const RADIX: u8 = 4;
        let tools = self.resources.make(ObjectKind::CNode(RADIX))?;
        // SAFETY: made just now.
        let cnode = unsafe { CNode::from_bits(tools) };
        for (index, table) in domain.tools.iter().enumerate() {
            let source = self.resources.slot(*lookup(&self.tables, *table)?);
            let target = cnode.slot(index as u64, RADIX);
            target.copy(&source, Rights::ALL)?;
        }
        let source = self.resources.slot(tools);
        let guard = MintData::GuardSize(u32::from(slot::LOW_BITS - RADIX));
        root.slot(slot::TOOLS, slot::RADIX)
            .mint(&source, Rights::ALL, guard)?;
        self.resources.slot(tools).delete()?;
        Ok(domain.tools.len() + 1)
    }

    /// The slot of a new handler for an interrupt, which has no notification yet; none
    /// where there is no NIC.
    fn issue_interrupt(&mut self, which: Capability) -> Result<Option<u64>, Error> {
        let Some(source) = self.source_of(which) else {
            return Ok(None);
        };
        let handler = self.resources.take_slots(1)?;
        // SAFETY: the kernel put it there.
        let control = unsafe { IrqControl::from_bits(init_slot::IRQ_CONTROL) };
        let root = self.resources.root();
        control.issue_ioapic(
            root,
            handler,
            64,
            source.pin,
            source.level,
            source.active_low,
            source.vector,
        )?;
        Ok(Some(handler))
    }

    /// How an interrupt arrives, and which bit it signals.
    fn source_of(&self, which: Capability) -> Option<Source> {
        let edge = |pin, vector, bit| Source {
            pin,
            level: false,
            active_low: false,
            vector,
            bit,
        };
        match which {
            Capability::TimerInterrupt => Some(edge(TIMER_PIN, TIMER_VECTOR, interrupt::TIMER)),
            Capability::PortInterrupt { pin } => {
                Some(edge(pin.into(), PORT_VECTOR, interrupt::PORT))
            }
            Capability::NicInterrupt => self.nic.map(|nic| Source {
                pin: nic.pin,
                level: true,
                active_low: nic.active_low,
                vector: NIC_VECTOR,
                bit: interrupt::NIC,
            }),
            _ => None,
        }
    }

    /// Makes each interrupt signal the notification of its domain, through the very
    /// handler that this domain holds.
    pub(super) fn connect_interrupts(&mut self) -> Result<(), Error> {
        let plan = self.plan;
        let held = self.resources.take_slots(1)?;
        for (number, domain) in plan.domains.iter().enumerate() {
            let notification = *lookup(&self.notifications, number as u16)?;
            for (target, capability) in &domain.slots {
                let Some(source) = self.source_of(*capability) else {
                    continue;
                };
                let badged = self.resources.take_slots(1)?;
                let all = self.resources.slot(notification);
                let bit = MintData::Badge(1 << source.bit);
                self.resources.slot(badged).mint(&all, Rights::WRITE, bit)?;
                let cspace = lookup(&self.cspaces, number as u16)?;
                let there = cspace.slot(*target, ROOT_DEPTH);
                self.resources.slot(held).move_from(&there)?;
                // SAFETY: moved there just now.
                let handler = unsafe { IrqHandler::from_bits(held) };
                // SAFETY: minted just now.
                handler.set_notification(&unsafe { Notification::from_bits(badged) })?;
                // An interrupt from before was not delivered, and would be the last.
                handler.ack()?;
                there.move_from(&self.resources.slot(held))?;
                self.resources.slot(badged).delete()?;
            }
        }
        Ok(())
    }
}
