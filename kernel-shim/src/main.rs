//! The program of the domain `kernel-shim`.
#![no_std]
#![no_main]

extern crate alloc;

use ipc::channel::Channel;
use ipc::director::OrderQueue;
use ipc::handshake::{DirectiveQueue, ForgetQueue};
use ipc::stats::shim::HEAP;
use ipc::transport::{Client, MAX_MESSAGE};
use kernel_shim::{Application, Ports, Rights, Server};
use sel4::runtime::{self, Bell, Caller, Service, SystemClock, Wake};

mod system {
    include!(concat!(env!("OUT_DIR"), "/system.rs"));
}
mod windows;

sel4::entry!(main);

const _: () = ipc::budget::fits(
    &kernel_shim::budget(system::SLOTS_HANDSHAKE, system::SLOTS_PROTECTED),
    system::HEAP,
);

// Every slot of the channels is one application's.
const _: () = {
    let (mut handshakes, mut sessions) = (0, 0);
    let mut applications = system::APPLICATIONS.as_slice();
    while let [application, rest @ ..] = applications {
        handshakes += application.handshakes;
        sessions += application.sessions;
        applications = rest;
    }
    assert!(handshakes == system::SLOTS_HANDSHAKE);
    assert!(sessions == system::SLOTS_PROTECTED);
};

fn main() -> ! {
    // SAFETY: the constant of this domain.
    let rights = unsafe { runtime::provision(system::PROVISION_RIGHTS) };
    let rights = Rights::decode(rights).unwrap_or_else(|| panic!("no rights"));
    // SAFETY: the capabilities and the memory of these constants are used
    // nowhere else in this domain.
    let ports = unsafe { ports() };
    let stats = ports.stats;
    // SAFETY: this domain serves; the only `Service`.
    let service = unsafe { Service::new() };
    let mut server = Server::new(ports, rights, SystemClock);
    let mut request = [0; MAX_MESSAGE];
    let mut reply = [0; MAX_MESSAGE];
    let mut wake = service.wait(&mut request);
    loop {
        stats.set(HEAP, runtime::heap_used() as u64);
        runtime::wake_at(server.next_deadline());
        wake = match wake {
            Wake::Signal(_) => {
                server.run();
                service.wait(&mut request)
            }
            Wake::Call { badge, length } => {
                let asked = request.get(..length).unwrap_or_default();
                let length = server.serve(badge, asked, &mut reply);
                let answer = reply.get(..length).unwrap_or_default();
                service.reply_and_wait(answer, &mut request)
            }
        }
    }
}

/// # Safety
/// Called once.
unsafe fn ports() -> Ports<'static, Caller, Caller, Bell, Bell, windows::SystemWindows> {
    // SAFETY: the caller calls once, so each constant is used once.
    let offload = unsafe { Bell::new(system::SIGNAL_OFFLOAD_SERVER) };
    // SAFETY: as above.
    let offload = unsafe { Channel::new(system::CHANNEL_DIRECTIVES, offload) };
    // SAFETY: a second handle of the same notification does no harm.
    let forget = unsafe { Bell::new(system::SIGNAL_OFFLOAD_SERVER) };
    // SAFETY: as above.
    let forget = unsafe { Channel::new(system::CHANNEL_SESSION_ENDS, forget) };
    // SAFETY: as above.
    let director = unsafe { Bell::new(system::SIGNAL_DIRECTOR) };
    // SAFETY: as above.
    let director = unsafe { Channel::new(system::CHANNEL_ORDERS, director) };
    Ports {
        // SAFETY: as above.
        net: Client::new(unsafe { Caller::new(system::CALL_NETSTACK_SERVER) }),
        // SAFETY: as above.
        record: Client::new(unsafe { Caller::new(system::CALL_RECORD_SERVER) }),
        offload: DirectiveQueue::new(offload),
        forget: ForgetQueue::new(forget),
        director: OrderQueue::new(director),
        applications: system::APPLICATIONS
            .map(|of| Application {
                client: of.client,
                // SAFETY: as above.
                bell: unsafe { Bell::new(of.signal) },
                handshakes: of.handshakes,
                sessions: of.sessions,
            })
            .into(),
        // SAFETY: as above.
        windows: unsafe { windows::SystemWindows::new() },
        // SAFETY: as above.
        stats: unsafe { runtime::stats(system::STATS) },
    }
}
