//! One program for all probes: each domain does what its name says.
#![no_std]
#![no_main]

extern crate alloc;

mod debt;
mod device;
mod forbidden;
mod manager;
mod nic;
mod permitted;

sel4::entry!(main);

fn main() -> ! {
    let name = sel4::runtime::boot_facts().name;
    let length = name.iter().position(|byte| *byte == 0);
    match length.and_then(|length| name.get(..length)) {
        Some(b"netstack-server") => device::run(),
        Some(b"echo") => permitted::echo(),
        Some(b"manager") => manager::run(),
        Some(b"caller") => permitted::call(),
        Some(b"reads-elsewhere") => forbidden::read_elsewhere(),
        Some(b"writes-its-program") => forbidden::write_program(),
        Some(b"overflows-its-stack") => forbidden::overflow_stack(),
        Some(b"calls-an-empty-slot") => forbidden::call_empty_slot(),
        Some(b"calls-outside-its-cspace") => forbidden::call_outside(),
        Some(b"reads-a-port") => forbidden::read_port(),
        Some(b"makes-up-a-system-call") => forbidden::make_up_system_call(),
        Some(b"invokes-its-cspace") => forbidden::invoke_cspace(),
        Some(b"panics") => panic!("on purpose"),
        Some(b"panics-with-a-value") => panic!(
            "the value {}",
            core::hint::black_box(sel4::runtime::boot_facts().domain)
        ),
        Some(b"talks-without-end") => forbidden::talk_without_end(),
        Some(b"lasts") => sel4::log!("probes done"),
        Some(b"keystore-server") => {}
        Some(b"tells-the-time") => permitted::tell_time(),
        Some(b"writes-the-time") => forbidden::write_time(),
        Some(b"owes") => debt::owe(),
        Some(b"asks") => debt::ask(),
        _ => sel4::log!("no such probe"),
    }
    loop {
        sel4::runtime::wait_signals();
    }
}
