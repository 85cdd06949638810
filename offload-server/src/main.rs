//! The program of the domain `offload-server`.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod start;

use offload_server::{Server, StartError};
use sel4::runtime::SystemClock;

sel4::system!();
sel4::entry!(main);

const FROM_KEYSTORE: u64 = system::FACTS.signal_from("keystore-server");

fn main() -> ! {
    let ports = start::ports(system::Capabilities::take());
    let mut server = match Server::new(ports, SystemClock) {
        Ok(server) => server,
        Err(StartError::NoKeyrings) => start::stay_down(),
        Err(StartError::NoAnswer) => panic!("the key store does not answer"),
    };
    sel4::log!("ready");
    loop {
        let turn = server.run();
        if turn.touched_secrets {
            start::scrub(turn.went_deep);
        }
        if server.flush() {
            start::scrub(false);
        }
        if start::next_signals(turn.is_busy, server.next_deadline()) & FROM_KEYSTORE != 0 {
            server.refetch();
        }
    }
}
