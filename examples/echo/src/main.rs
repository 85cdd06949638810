//! The program of the domain `echo`.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::boxed::Box;

use echo::{Ports, Server};
use ipc::transport::Client;
use sel4::runtime::{self, SystemClock};

sel4::system!();
sel4::entry!(main);

fn main() -> ! {
    const FROM_SHIM: u64 = system::FACTS.signal_from("kernel-shim");
    let held = system::Capabilities::take();
    let ports = Ports {
        net: Client::new(held.call_netstack_server),
        shim: Client::new(held.call_kernel_shim),
        session: Box::new(move |slot| Client::new(held.window_echo_sessions.caller(slot))),
        plain: held.channel_echo_plaintext,
        connections: held.channel_echo_connections,
        log: runtime::log::write,
    };
    let mut server = Server::new(ports, SystemClock);
    sel4::log!("ready");
    let mut signals = 0;
    loop {
        let has_more = server.run(signals & FROM_SHIM != 0);
        runtime::wake_at(server.next_deadline());
        signals = match has_more {
            true => runtime::poll_signals(),
            false => runtime::wait_signals(),
        };
    }
}
