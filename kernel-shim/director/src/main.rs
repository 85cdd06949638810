//! The program of the domain `director`.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

use director::{Ports, Server};
use ipc::mailbox::Mailbox;
use sel4::runtime::{self, SystemClock};

sel4::system!();
sel4::entry!(main);

const SLOTS: u16 = system::FACTS.slots("segments");

const _: () = ipc::budget::fits(&director::budget(SLOTS), system::FACTS.heap);

fn main() -> ! {
    let held = system::Capabilities::take();
    let ports = Ports {
        shim: Mailbox::new(held.channel_orders),
        offload: Mailbox::new(held.channel_segments),
        slots: SLOTS,
        audit: |line| sel4::log!("audit {line}"),
        heap_used: runtime::heap_used,
        stats: runtime::counters(),
    };
    let mut server = Server::new(ports, SystemClock);
    loop {
        let is_busy = server.run();
        runtime::next_signals(is_busy, || server.untaken());
    }
}
