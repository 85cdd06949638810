//! The program of the domain `offload-server`.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;

use ipc::channel::Channel;
use ipc::mailbox::Mailbox;
use ipc::queue::Queue;
use ipc::transport::Client;
use offload_server::{Ports, Server, StartError};
use sel4::runtime::{self, Bell, Caller, SystemClock};

mod system {
    include!(concat!(env!("OUT_DIR"), "/system.rs"));
}

sel4::entry!(main);

const _: () = ipc::budget::fits(
    &offload_server::budget(
        system::SLOTS_HANDSHAKE,
        system::SLOTS_PROTECTED,
        system::CLIENTS,
    ),
    system::HEAP,
);

/// As deep as rustls and `ring` go in a handshake, and more.
const STACK_USED: usize = 40 * 1024;

fn main() -> ! {
    // SAFETY: the capabilities and the memory of these constants are used
    // nowhere else in this domain.
    let ports = unsafe { ports() };
    let mut server = match Server::new(ports, SystemClock) {
        Ok(server) => server,
        Err(StartError::NoKeyrings) => stay_down(),
        Err(StartError::NoAnswer) => panic!("the key store does not answer"),
    };
    sel4::log!("ready");
    loop {
        let turn = server.run();
        if turn.touched_secrets {
            scrub();
        }
        if server.flush() {
            scrub();
        }
        let signals = match turn.is_busy {
            true => runtime::poll_signals(),
            false => {
                runtime::wake_at(server.next_deadline());
                runtime::wait_signals()
            }
        };
        if signals & system::FROM_KEYSTORE_SERVER != 0 {
            server.refetch();
        }
    }
}

fn scrub() {
    runtime::scrub_stack(STACK_USED);
    runtime::scrub_registers();
}

/// Without key rings no handshake can be served, and the key store has logged why.
fn stay_down() -> ! {
    sel4::log!("no key rings");
    loop {
        runtime::wait_signals();
    }
}

/// # Safety
/// Called once.
unsafe fn ports() -> Ports<'static, Bell, Bell, Bell, Caller, Caller> {
    // SAFETY: the caller calls once, so each constant is used once.
    let net = unsafe { Bell::new(system::SIGNAL_NETSTACK_SERVER) };
    // SAFETY: as above.
    let shim = unsafe { Bell::new(system::SIGNAL_KERNEL_SHIM) };
    // SAFETY: as above.
    let shim = unsafe { Channel::new(system::CHANNEL_DIRECTIVES, shim) };
    // SAFETY: as above.
    let director = unsafe { Bell::new(system::SIGNAL_DIRECTOR) };
    // SAFETY: as above.
    let director = unsafe { Channel::new(system::CHANNEL_SEGMENTS, director) };
    // SAFETY: a second handle of the same notification does no harm.
    let forget = unsafe { Bell::new(system::SIGNAL_KERNEL_SHIM) };
    // SAFETY: as above.
    let forget = unsafe { Channel::new(system::CHANNEL_SESSION_ENDS, forget) };
    // SAFETY: as above.
    let record = unsafe { Bell::new(system::SIGNAL_RECORD_SERVER) };
    // SAFETY: as above.
    let record = unsafe { Channel::new(system::CHANNEL_POST_HANDSHAKE, record) };
    Ports {
        // SAFETY: as above.
        net: unsafe { Channel::new(system::CHANNEL_HANDSHAKE, net) },
        shim: Mailbox::new(shim),
        director: Mailbox::new(director),
        forget: Mailbox::new(forget),
        record: Queue::new(record),
        // SAFETY: as above.
        keystore: Client::new(unsafe { Caller::new(system::CALL_KEYSTORE_SERVER) }),
        install: Box::new(|slot| {
            let cptr = system::WINDOW_INSTALL + u64::from(slot);
            // SAFETY: a slot of this domain's own window; one call at a time.
            Client::new(unsafe { Caller::new(cptr) })
        }),
        session_slots: system::SLOTS_PROTECTED,
        clients: system::CLIENTS,
        heap_used: runtime::heap_used,
        // SAFETY: as above.
        stats: unsafe { runtime::stats(system::STATS) },
    }
}
