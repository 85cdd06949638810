//! What the server gets of what the system description gives this domain, and what the
//! program does around it.

use alloc::boxed::Box;

use ipc::mailbox::Mailbox;
use ipc::queue::Queue;
use ipc::transport::Client;
use offload_server::{Ports, Server, StartError};
use sel4::runtime::{self, Bell, Caller, SystemClock};

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

type System = Server<'static, (Bell, Bell, Bell, Caller, SystemClock)>;

/// # Panics
/// At start-up: without the key store there are no handshakes.
pub(crate) fn server(held: Capabilities) -> System {
    let install = held.window_install;
    let ports = Ports {
        net: held.channel_handshake,
        shim: Mailbox::new(held.channel_directives),
        director: held.channel_segments.map(Mailbox::new),
        forget: Mailbox::new(held.channel_session_ends),
        record: Queue::new(held.channel_post_handshake),
        keystore: Client::new(held.call_keystore_server),
        install: Box::new(move |slot| Client::new(install.caller(slot))),
        session_slots: SESSIONS,
        clients: CLIENTS,
        heap_used: runtime::heap_used,
        stats: runtime::counters(),
    };
    match Server::new(ports, SystemClock) {
        Ok(server) => server,
        Err(StartError::NoKeyrings) => stay_down(),
        Err(StartError::NoAnswer) => panic!("the key store does not answer"),
    }
}

pub(crate) fn scrub(went_deep: bool) {
    runtime::scrub_stack(match went_deep {
        true => DEEP_STACK_USED,
        false => STACK_USED,
    });
    runtime::scrub_registers();
}

/// Says which revocation lists and OCSP responses are out of date.
pub(crate) fn tell(server: &mut System) {
    while let Some(ring) = server.overdue_crl() {
        sel4::log!("key ring {ring}: a revocation list is out of date");
    }
    while let Some(ring) = server.overdue_response() {
        sel4::log!("key ring {ring}: its OCSP response is out of date");
    }
}

/// Without key rings no handshake can be served, and the key store has logged why.
fn stay_down() -> ! {
    sel4::log!("no key rings");
    loop {
        runtime::wait_signals();
    }
}
