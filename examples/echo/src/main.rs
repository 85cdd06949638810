//! The program of the domain `echo`.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;

use echo::{Ports, Server};
use ipc::channel::Channel;
use ipc::transport::Client;
use sel4::runtime::{self, Bell, Caller, SystemClock};

mod system {
    include!(concat!(env!("OUT_DIR"), "/system.rs"));
}

sel4::entry!(main);

fn main() -> ! {
    // SAFETY: the capabilities and the memory of these constants are used nowhere else
    // in this domain.
    let ports = unsafe { ports() };
    let mut server = Server::new(ports, SystemClock);
    sel4::log!("ready");
    let mut signals = 0;
    loop {
        let has_more = server.run(signals & system::FROM_KERNEL_SHIM != 0);
        runtime::wake_at(server.next_deadline());
        signals = match has_more {
            true => runtime::poll_signals(),
            false => runtime::wait_signals(),
        };
    }
}

/// # Safety
/// Called once.
unsafe fn ports() -> Ports<'static, Caller, Caller, Bell, Bell> {
    // SAFETY: the caller calls once, so each constant is used once.
    let record = unsafe { Bell::new(system::SIGNAL_RECORD_SERVER) };
    // SAFETY: as above.
    let net = unsafe { Bell::new(system::SIGNAL_NETSTACK_SERVER) };
    Ports {
        // SAFETY: as above.
        net: Client::new(unsafe { Caller::new(system::CALL_NETSTACK_SERVER) }),
        // SAFETY: as above.
        shim: Client::new(unsafe { Caller::new(system::CALL_KERNEL_SHIM) }),
        session: Box::new(|slot| {
            let cptr = system::WINDOW_ECHO_SESSIONS + u64::from(slot);
            // SAFETY: a slot of this domain's own window; one call at a time.
            Client::new(unsafe { Caller::new(cptr) })
        }),
        // SAFETY: as above.
        plain: unsafe { Channel::new(system::CHANNEL_ECHO_PLAINTEXT, record) },
        // SAFETY: as above.
        connections: unsafe { Channel::new(system::CHANNEL_ECHO_CONNECTIONS, net) },
        log: runtime::log::write,
    }
}
