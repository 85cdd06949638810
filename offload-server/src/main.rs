//! The program of the domain `offload-server`.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod start;

use sel4::runtime;

sel4::system!();
sel4::entry!(main);

const FROM_KEYSTORE: u64 = system::FACTS.signal_from("keystore-server");

fn main() -> ! {
    let mut server = start::server(system::Capabilities::take());
    sel4::log!("ready");
    loop {
        let turn = server.run();
        if turn.touched_secrets {
            start::scrub(turn.went_deep);
        }
        if server.flush() {
            start::scrub(false);
        }
        start::tell(&mut server);
        runtime::wake_at(server.next_deadline());
        let signals = runtime::next_signals(turn.is_busy, || server.untaken());
        if signals & FROM_KEYSTORE != 0 {
            server.refetch();
        }
    }
}
