//! The program of the domain `record-server`.
#![no_std]
#![no_main]

mod system {
    include!(concat!(env!("OUT_DIR"), "/system.rs"));
}

sel4::entry!(main);

fn main() -> ! {
    sel4::log!("{} started", system::NAME);
    loop {
        sel4::runtime::wait_signals();
    }
}
