//! The program of the domain `record-server`.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;

use ipc::channel::{Channel, Joined};
use ipc::clock::Clock;
use ipc::queue::Queue;
use ipc::stats::record::HEAP;
use ipc::transport::MAX_MESSAGE;
use record_server::{Limits, Ports, Server, may_carry_keys};
use sel4::runtime::{self, Bell, Service, SystemClock, Wake};

mod system {
    include!(concat!(env!("OUT_DIR"), "/system.rs"));
}

sel4::entry!(main);

const _: () = ipc::budget::fits(
    &record_server::budget(system::SLOTS_PROTECTED),
    system::HEAP,
);

/// Nearly twice as deep as `ring` went with any suite when measured.
const STACK_USED: usize = 12 * 1024;

fn main() -> ! {
    // SAFETY: the capability of this constant, used nowhere else.
    let net = unsafe { Bell::new(system::SIGNAL_NETSTACK_SERVER) };
    // SAFETY: the memory of this constant, used nowhere else.
    let net = unsafe { Channel::new(system::CHANNEL_PROTECTED, net) };
    let [first, others @ ..] = system::PLAINTEXT.map(|of| {
        // SAFETY: as above.
        let bell = unsafe { Bell::new(of.signal) };
        // SAFETY: as above.
        unsafe { Channel::new(of.channel, bell) }
    });
    let app = Joined::new(first, Box::new(others));
    // SAFETY: as above.
    let offload = unsafe { Bell::new(system::SIGNAL_OFFLOAD_SERVER) };
    // SAFETY: as above.
    let offload = unsafe { Channel::new(system::CHANNEL_POST_HANDSHAKE, offload) };
    // SAFETY: the only reference of this domain to its own page.
    let stats = unsafe { runtime::stats(system::STATS) };
    // SAFETY: this domain serves; the only `Service`.
    let service = unsafe { Service::new() };
    let ports = Ports {
        net,
        app,
        offload: Queue::new(offload),
        stats,
    };
    let limits = Limits::rekey_after(runtime::boot_facts().rekey_after);
    let mut server = Server::new(ports, limits);
    let mut request = [0; MAX_MESSAGE];
    let mut reply = [0; MAX_MESSAGE];
    let mut wake = service.wait(&mut request);
    loop {
        match wake {
            Wake::Signal(_) => {
                server.run(SystemClock.now());
                stats.set(HEAP, runtime::heap_used() as u64);
            }
            Wake::Call { badge, length } => {
                let asked = request.get_mut(..length).unwrap_or_default();
                let length = server.serve(badge, asked, &mut reply, SystemClock.now());
                // Keys came in by the request or went by its effect.
                asked.fill(0);
                stats.set(HEAP, runtime::heap_used() as u64);
                if may_carry_keys(badge) {
                    runtime::scrub_stack(STACK_USED);
                    runtime::scrub_registers();
                }
                let answer = reply.get(..length).unwrap_or_default();
                if !server.is_busy() {
                    wake = service.reply_and_wait(answer, &mut request);
                    continue;
                }
                service.reply(answer);
            }
        }
        // Calls come between two turns.
        wake = loop {
            if !server.is_busy() {
                break service.wait(&mut request);
            }
            if let Some(wake) = service.poll(&mut request) {
                break wake;
            }
            server.run(SystemClock.now());
        };
    }
}
