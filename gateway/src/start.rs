//! What the server gets of what the system description gives this domain.

use alloc::boxed::Box;

use gateway::{Ports, View};
use ipc::transport::Client;
use sel4::runtime::{self, Bell, Caller, SystemClock};

use crate::system::{Capabilities, FACTS};

const _: () = ipc::budget::fits(
    &gateway::budget::budget(
        FACTS.slots("plaintext"),
        FACTS.slots("backend"),
        FACTS.handshakes,
    ),
    FACTS.heap,
);

/// What it runs on.
pub(crate) type System = (Caller, Caller, Bell, Bell, SystemClock);

pub(crate) fn ports(held: Capabilities) -> Ports<'static, System> {
    let mut key = [0; 16];
    if let Err(error) = getrandom::getrandom(&mut key) {
        panic!("{error}");
    }
    let own = ("gateway", runtime::counters());
    let counters = held.counters.into_iter().chain([own]);
    let sessions = held.window_sessions;
    Ports {
        handshakes: FACTS.handshakes,
        key,
        net: Client::new(held.call_netstack_server),
        shim: Client::new(held.call_kernel_shim),
        session: Box::new(move |slot| Client::new(sessions.caller(slot))),
        plain: held.channel_plaintext,
        backend: held.channel_backend,
        view: View::new(held.provision_capability_graph, kernel(), counters),
        log: Box::new(runtime::log::write),
        stats: runtime::counters(),
    }
}

/// The kernel's name and version, as the root task tells it.
fn kernel() -> &'static str {
    let name = &runtime::boot_facts().kernel;
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    core::str::from_utf8(name).unwrap_or("?")
}
