//! Every slot that is not the domain's, by every operation that would be
//! worth something.

use ipc::boot::slot;
use sel4::cap::{
    CNode, Granule, IOPort, IrqHandler, MintData, ObjectKind, PortWidth, Tcb, Untyped,
};
use sel4::{Cap, Rights, log};

use crate::Held;

/// Addresses far outside would be faults; these lead to a slot.
pub(crate) fn try_all(held: &Held) {
    let mut refused = 0_u32;
    for number in 0..1 << slot::RADIX {
        if !held.slots.contains(&number) {
            refused += attempt(slot::cptr(number));
            // In the slot's low bits too: nothing is below an empty slot.
            refused += attempt(slot::cptr(number) | 1);
        }
    }
    for (window, slots) in held.windows {
        for index in 0..*slots {
            refused += attempt(slot::cptr(*window) | index);
        }
    }
    if held.tools > 0 {
        for index in held.tools..16 {
            refused += attempt(slot::cptr(slot::TOOLS) | index);
        }
    }
    log!("hostile: {refused} uses of capabilities refused");
    let received: u32 = held
        .slots
        .iter()
        .map(|number| own_cspace(held, *number))
        .sum();
    log!("hostile: {received} uses of its own CSpace refused");
    if !held.ports.is_empty() {
        let refused: u32 = held.ports.iter().map(|number| foreign_ports(*number)).sum();
        log!("hostile: {refused} uses of foreign I/O ports refused");
    }
}

/// Ports of others, through a range of its own: interval timer, clock, keyboard
/// controller, serial line, configuration of PCI.
fn foreign_ports(number: u64) -> u32 {
    // SAFETY: its own range; the kernel must refuse what is outside.
    let ports: IOPort = unsafe { Cap::from_bits(slot::cptr(number)) };
    let mut refused = 0;
    for port in [
        0x40, 0x43, 0x60, 0x64, 0x70, 0x71, 0x3f8, 0x3ff, 0xcf8, 0xcfc,
    ] {
        let results = [
            ports.read(port, PortWidth::Byte).is_err(),
            ports.write(port, PortWidth::Byte, 0).is_err(),
            ports.read(port, PortWidth::Long).is_err(),
        ];
        for survived in results.iter().filter(|refused| !**refused) {
            log!("hostile: SURVIVED: port {port:#x} by slot {number}: {survived}");
        }
        refused += results.iter().filter(|refused| **refused).count() as u32;
    }
    refused
}

/// Everything that a capability at `address` could be good for.
fn attempt(address: u64) -> u32 {
    // SAFETY: none; the kernel must refuse it.
    let cnode: CNode = unsafe { Cap::from_bits(address) };
    // SAFETY: none; the kernel must refuse it.
    let untyped: Untyped = unsafe { Cap::from_bits(address) };
    // SAFETY: none; the kernel must refuse it.
    let thread: Tcb = unsafe { Cap::from_bits(address) };
    // SAFETY: none; the kernel must refuse it.
    let page: Granule = unsafe { Cap::from_bits(address) };
    // SAFETY: none; the kernel must refuse it.
    let port: IOPort = unsafe { Cap::from_bits(address) };
    // SAFETY: none; the kernel must refuse it.
    let interrupt: IrqHandler = unsafe { Cap::from_bits(address) };
    let results = [
        (
            "a CNode",
            cnode.slot(slot::FAULT, slot::RADIX).delete().is_err(),
        ),
        (
            "memory",
            untyped.retype(ObjectKind::Endpoint, &cnode, 0, 1).is_err(),
        ),
        ("a thread", thread.suspend().is_err()),
        ("a page", page.frame_address().is_err()),
        ("a port", port.read(0x3f8, PortWidth::Byte).is_err()),
        ("an interrupt", interrupt.ack().is_err()),
    ];
    for (what, _) in results.iter().filter(|(_, refused)| !refused) {
        log!("hostile: SURVIVED: {what} at {address:#x}");
    }
    results.iter().filter(|(_, refused)| *refused).count() as u32
}

/// Forges a badge: a copy of what it holds, with the control authority's badge,
/// into an empty slot of its own. Nothing that it holds leads to its CSpace.
fn own_cspace(held: &Held, number: u64) -> u32 {
    if [slot::FAULT, slot::LOG].contains(&number)
        || held.calls.contains(&number)
        || held.signals.contains(&number)
        || number == slot::TOOLS
        || held.windows.iter().any(|(window, _)| *window == number)
    {
        // A call of these is a message, or is answered by what they lead to.
        return 0;
    }
    // SAFETY: none; the kernel must refuse it.
    let root: CNode = unsafe { Cap::from_bits(slot::cptr(number)) };
    let badge = MintData::Badge(ipc::badge::Badge::Control.to_word());
    let source = root.slot(slot::FIRST, slot::RADIX);
    let refused = root
        .slot(200, slot::RADIX)
        .mint(&source, Rights::CALL, badge)
        .is_err();
    if !refused {
        log!("hostile: SURVIVED: minted through slot {number}");
    }
    u32::from(refused)
}
