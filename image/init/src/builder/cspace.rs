//! CSpaces: what each domain holds.

use init::{Capability, Domain};
use ipc::boot::{interrupt, slot};
use sel4::cap::{CNode, IrqControl, IrqHandler, MintData, Notification, ObjectKind};
use sel4::{Error, Rights, init_slot};

use super::devices::TIMER_PIN;
use super::{FAULT_BADGE, NIC_VECTOR, PORT_VECTOR, TIMER_VECTOR, Work, lookup};

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
                    let handler = self.issue_interrupt(*capability, notification)?;
                    // There may be no card.
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

    /// Makes an interrupt signal the notification of its domain; the handler's
    /// slot.
    fn issue_interrupt(
        &mut self,
        which: Capability,
        notification: u64,
    ) -> Result<Option<u64>, Error> {
        let (pin, level, active_low, vector, bit) = match (which, self.card) {
            (Capability::TimerInterrupt, _) => {
                (TIMER_PIN, false, false, TIMER_VECTOR, interrupt::TIMER)
            }
            (Capability::PortInterrupt { pin }, _) => {
                (pin.into(), false, false, PORT_VECTOR, interrupt::PORT)
            }
            (_, Some(card)) => (card.pin, true, card.active_low, NIC_VECTOR, interrupt::NIC),
            (_, None) => return Ok(None),
        };
        let handler = self.resources.take_slots(1)?;
        // SAFETY: the kernel put it there.
        let control = unsafe { IrqControl::from_bits(init_slot::IRQ_CONTROL) };
        let root = self.resources.root();
        control.issue_ioapic(root, handler, 64, pin, level, active_low, vector)?;
        let badged = self.resources.take_slots(1)?;
        let source = self.resources.slot(notification);
        let target = self.resources.slot(badged);
        target.mint(&source, Rights::WRITE, MintData::Badge(1 << bit))?;
        // SAFETY: issued just now.
        let irq = unsafe { IrqHandler::from_bits(handler) };
        // SAFETY: minted just now.
        irq.set_notification(&unsafe { Notification::from_bits(badged) })?;
        self.resources.slot(badged).delete()?;
        Ok(Some(handler))
    }
}
