//! The program of the domain `gateway`.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod start;

use gateway::Server;
use ipc::stats::gateway::HEAP;
use ipc::transport::decode;
use sel4::runtime::{self, SystemClock};

sel4::system!();
sel4::entry!(main);

const FROM_SHIM: u64 = system::FACTS.signal_from("kernel-shim");

fn main() -> ! {
    let held = system::Capabilities::take();
    let config = decode(held.provision_gateway_config);
    let config = config.unwrap_or_else(|| panic!("no configuration"));
    let mut server = Server::new(start::ports(held), config, SystemClock);
    sel4::log!("ready");
    let mut signals = 0;
    loop {
        // After any signal, the deadline's included, deadlines are checked.
        let has_more = server.run(signals & FROM_SHIM != 0);
        runtime::counters().set(HEAP, runtime::heap_used() as u64);
        runtime::wake_at(server.next_deadline());
        signals = runtime::next_signals(has_more, || server.untaken());
    }
}
