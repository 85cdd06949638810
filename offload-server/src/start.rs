//! What the server gets of what the system description gives this domain, and what the
//! program does around it.

use alloc::boxed::Box;

use ipc::clock::Instant;
use ipc::mailbox::Mailbox;
use ipc::queue::Queue;
use ipc::transport::Client;
use offload_server::Ports;
use sel4::runtime::{self, Bell, Caller};

use crate::system::{Capabilities, FACTS};

const SESSIONS: u16 = FACTS.slots("protected");
const CLIENTS: u16 = FACTS.applications.len() as u16;

const _: () = ipc::budget::fits(
    &offload_server::budget(FACTS.slots("handshake"), SESSIONS, CLIENTS),
    FACTS.heap,
);

/// As deep as rustls and `ring` go in a handshake, and more.
const STACK_USED: usize = 40 * 1024;
/// As deep as ML-KEM-1024 goes below them, and more.
const DEEP_STACK_USED: usize = STACK_USED + 64 * 1024;

pub(crate) fn ports(held: Capabilities) -> Ports<'static, Bell, Bell, Bell, Caller, Caller> {
    let install = held.window_install;
    Ports {
        net: held.channel_handshake,
        shim: Mailbox::new(held.channel_directives),
        director: Mailbox::new(held.channel_segments),
        forget: Mailbox::new(held.channel_session_ends),
        record: Queue::new(held.channel_post_handshake),
        keystore: Client::new(held.call_keystore_server),
        install: Box::new(move |slot| Client::new(install.caller(slot))),
        session_slots: SESSIONS,
        clients: CLIENTS,
        heap_used: runtime::heap_used,
        stats: runtime::counters(),
    }
}

pub(crate) fn scrub(went_deep: bool) {
    runtime::scrub_stack(match went_deep {
        true => DEEP_STACK_USED,
        false => STACK_USED,
    });
    runtime::scrub_registers();
}

/// The signals that are there, or that come until the deadline.
pub(crate) fn next_signals(is_busy: bool, deadline: Instant) -> u64 {
    if is_busy {
        return runtime::poll_signals();
    }
    runtime::wake_at(deadline);
    runtime::wait_signals()
}

/// Without key rings no handshake can be served, and the key store has logged why.
pub(crate) fn stay_down() -> ! {
    sel4::log!("no key rings");
    loop {
        runtime::wait_signals();
    }
}
