//! The program of the domain `director`.
#![no_std]
#![no_main]

extern crate alloc;

use director::{Ports, Server};
use ipc::channel::Channel;
use ipc::mailbox::Mailbox;
use sel4::runtime::{self, Bell, SystemClock};

mod system {
    include!(concat!(env!("OUT_DIR"), "/system.rs"));
}

sel4::entry!(main);

const _: () = ipc::budget::fits(&director::budget(system::SLOTS_SEGMENTS), system::HEAP);

fn main() -> ! {
    // SAFETY: the capabilities and the memory of these constants are used
    // nowhere else in this domain.
    let mut server = Server::new(unsafe { ports() }, SystemClock);
    loop {
        match server.run() {
            true => runtime::poll_signals(),
            false => runtime::wait_signals(),
        };
    }
}

/// # Safety
/// Called once.
unsafe fn ports() -> Ports<'static, Bell, Bell> {
    // SAFETY: the caller calls once, so each constant is used once.
    let shim = unsafe { Bell::new(system::SIGNAL_KERNEL_SHIM) };
    // SAFETY: as above.
    let shim = unsafe { Channel::new(system::CHANNEL_ORDERS, shim) };
    // SAFETY: as above.
    let offload = unsafe { Bell::new(system::SIGNAL_OFFLOAD_SERVER) };
    // SAFETY: as above.
    let offload = unsafe { Channel::new(system::CHANNEL_SEGMENTS, offload) };
    Ports {
        shim: Mailbox::new(shim),
        offload: Mailbox::new(offload),
        slots: system::SLOTS_SEGMENTS,
        audit: |line| sel4::log!("audit {line}"),
        heap_used: runtime::heap_used,
        // SAFETY: as above.
        stats: unsafe { runtime::stats(system::STATS) },
    }
}
