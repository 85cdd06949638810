//! The NIC and the timer, as far as the platform hands them over.

use crate::nic;
use ipc::boot::{DEVICE_MAGIC, DeviceSnapshot, interrupt, place, slot};
use sel4::cap::IrqHandler;
use sel4::log;
use sel4::runtime::wait_signals;

/// Registers of the HPET (IA-PC HPET 1.0a §2.3).
const GENERAL_CAPABILITIES: usize = 0x000;
const GENERAL_CONFIGURATION: usize = 0x010;
const MAIN_COUNTER: usize = 0x0f0;
const TIMER_0_CONFIGURATION: usize = 0x100;
const TIMER_0_COMPARATOR: usize = 0x108;

pub(crate) fn run() {
    // The dma region comes first, then the snapshot; 2 MiB apart.
    let page = (place::REGIONS + 0x20_0000) as *const DeviceSnapshot;
    // SAFETY: the root task has filled that page and mapped it there, for good.
    let snapshot = unsafe { &*page };
    log!(
        "NIC {} vendor {:02x?}",
        if snapshot.magic == DEVICE_MAGIC {
            "found"
        } else {
            "MISSING"
        },
        &snapshot.config[..4]
    );
    for bar in snapshot.bars.iter().filter(|bar| bar.size > 0) {
        // SAFETY: the root task mapped the registers there.
        let word = unsafe { (bar.address as *const u32).read_volatile() };
        log!(
            "bar {:#x} size {:#x} first word {word:#x}",
            bar.physical,
            bar.size
        );
    }
    log!(
        "dma {:#x} bytes {:#x}",
        snapshot.dma_physical,
        snapshot.dma_bytes
    );
    // SAFETY: the description gives this domain the NIC's handler first.
    let handler = unsafe { IrqHandler::from_bits(slot::cptr(slot::FIRST)) };
    // SAFETY: the root task has mapped what the snapshot names.
    unsafe { nic::run(snapshot, &handler) };
    // SAFETY: the description gives this domain the timer's handler second.
    let handler = unsafe { IrqHandler::from_bits(slot::cptr(slot::FIRST + 1)) };
    timer(
        snapshot.timer_address as usize,
        snapshot.timer_pin,
        &handler,
    );
}

fn read(base: usize, register: usize) -> u64 {
    // SAFETY: the root task mapped the HPET's registers at `base`.
    unsafe { ((base + register) as *const u64).read_volatile() }
}

fn write(base: usize, register: usize, value: u64) {
    // SAFETY: as in `read`.
    unsafe { ((base + register) as *mut u64).write_volatile(value) };
}

fn timer(base: usize, pin: u64, handler: &IrqHandler) {
    let period = read(base, GENERAL_CAPABILITIES) >> 32;
    let routes = read(base, TIMER_0_CONFIGURATION) >> 32;
    log!("timer period {period} fs, pins {routes:#x}");
    // Edge-triggered, one shot, on that pin.
    write(base, TIMER_0_CONFIGURATION, pin << 9 | 1 << 2);
    write(base, GENERAL_CONFIGURATION, 1);
    let mut good = true;
    for _ in 0..3 {
        let due = read(base, MAIN_COUNTER) + 1_000_000_000_000 / period;
        write(base, TIMER_0_COMPARATOR, due);
        good &= wait_signals() == 1 << interrupt::TIMER;
        good &= handler.ack().is_ok() && read(base, MAIN_COUNTER) >= due;
    }
    log!(
        "{} the timer interrupts",
        if good { "ok" } else { "FAILED" }
    );
}
