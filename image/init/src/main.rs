//! The root task's program.
#![no_std]
#![no_main]

extern crate alloc;

mod serial;

use sel4::cap::IOPort;
use sel4::{BootInfo, init_slot, log};

sel4::root_task!(main, stack = 0x10000, heap = 0x100000);

fn main(boot: BootInfo) -> ! {
    // SAFETY: slot of the kernel.
    let port = unsafe { IOPort::from_bits(init_slot::IO_PORT) };
    serial::init(port).unwrap();
    sel4::runtime::log::use_sink(serial::write);
    log!("hello tsc {} untyped {}", boot.tsc_hz(), boot.untyped().count());
    for u in boot.untyped() { log!("{u:x?}"); }
    panic!("end");
}
