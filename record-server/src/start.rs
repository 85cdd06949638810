//! What the server gets of what the system description gives this domain, and how its
//! turns and calls alternate.

use alloc::boxed::Box;

use ipc::channel::Joined;
use ipc::clock::Clock;
use ipc::queue::Queue;
use ipc::stats::record::HEAP;
use ipc::transport::MAX_MESSAGE;
use record_server::{Limits, Ports, Server, may_carry_keys};
use sel4::runtime::{self, Bell, Service, SystemClock, Wake};

use crate::system::{Capabilities, FACTS};

const _: () = ipc::budget::fits(&record_server::budget(FACTS.slots("protected")), FACTS.heap);

/// Nearly twice as deep as `ring` went with any suite when measured.
const STACK_USED: usize = 12 * 1024;

type System = Server<'static, Bell, Bell, Bell>;

pub(crate) fn server(held: Capabilities) -> (System, Service) {
    let [first, others @ ..] = held.plaintext;
    let ports = Ports {
        net: held.channel_protected,
        app: Joined::new(first, Box::new(others)),
        offload: Queue::new(held.channel_post_handshake),
        stats: runtime::counters(),
    };
    let limits = Limits::rekey_after(runtime::boot_facts().rekey_after);
    (Server::new(ports, limits), held.service)
}

/// Does what a call asks, and leaves nothing of it where keys may have been. What is still to
/// be answered; an answer with secrets has gone.
pub(crate) fn answer<'a>(
    server: &mut System,
    service: &Service,
    badge: u64,
    asked: &mut [u8],
    reply: &'a mut [u8; MAX_MESSAGE],
) -> Option<&'a [u8]> {
    let length = server.serve(badge, asked, reply, SystemClock.now());
    // Keys came in by the request or went by its effect.
    asked.fill(0);
    runtime::counters().set(HEAP, runtime::heap_used() as u64);
    let has_exported = server.take_exported();
    if has_exported {
        service.reply(reply.get(..length).unwrap_or_default());
        reply.fill(0);
    }
    if has_exported || may_carry_keys(badge) {
        runtime::scrub_stack(STACK_USED);
        runtime::scrub_registers();
    }
    match has_exported {
        true => None,
        false => reply.get(..length),
    }
}

/// What the monitor is told before a wait.
pub(crate) fn rest(server: &System) {
    runtime::wake_at(server.next_deadline());
    runtime::note_untaken(|| server.untaken());
}

/// Waits for a call or a signal; turns that are due come before.
pub(crate) fn next(
    server: &mut System,
    service: &Service,
    request: &mut [u8; MAX_MESSAGE],
) -> Wake {
    loop {
        if !server.is_busy() {
            rest(server);
            return service.wait(request);
        }
        // Calls come between two turns.
        if let Some(wake) = service.poll(request) {
            return wake;
        }
        server.run(SystemClock.now());
    }
}
