//! The program of the domain `gateway`.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;

use gateway::{Ports, Server, View};
use ipc::channel::Channel;
use ipc::stats::gateway::HEAP;
use ipc::transport::{Client, decode};
use sel4::runtime::{self, Bell, Caller, SystemClock};

mod system {
    include!(concat!(env!("OUT_DIR"), "/system.rs"));
}

sel4::entry!(main);

const _: () = ipc::budget::fits(
    &gateway::budget::budget(
        system::SLOTS_PLAINTEXT,
        system::SLOTS_BACKEND,
        system::HANDSHAKES,
    ),
    system::HEAP,
);

fn main() -> ! {
    // SAFETY: the constant of this domain.
    let config = unsafe { runtime::provision(system::PROVISION_GATEWAY_CONFIG) };
    let config = decode(config).unwrap_or_else(|| panic!("no configuration"));
    // SAFETY: the capabilities and the memory of these constants are used
    // nowhere else in this domain.
    let ports = unsafe { ports() };
    let stats = ports.stats;
    let mut server = Server::new(ports, config, SystemClock);
    sel4::log!("ready");
    let mut signals = 0;
    loop {
        // After any signal, the deadline's included, deadlines are checked.
        let has_more = server.run(signals & system::FROM_KERNEL_SHIM != 0);
        stats.set(HEAP, runtime::heap_used() as u64);
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
    // SAFETY: as above.
    let stats = unsafe { runtime::stats(system::STATS) };
    let others = [
        system::STATS_NETSTACK_SERVER,
        system::STATS_KEYSTORE_SERVER,
        system::STATS_RECORD_SERVER,
        system::STATS_KERNEL_SHIM,
        system::STATS_DIRECTOR,
        system::STATS_OFFLOAD_SERVER,
    ]
    // SAFETY: pages that other domains write and this one reads.
    .map(|page| unsafe { runtime::stats(page) });
    let [netstack, keystore, record_stats, shim, director, offload] = others;
    // SAFETY: the constant of this domain.
    let graph = unsafe { runtime::provision(system::PROVISION_CAPABILITY_GRAPH) };
    let mut key = [0; 16];
    if let Err(error) = getrandom::getrandom(&mut key) {
        panic!("{error}");
    }
    Ports {
        handshakes: system::HANDSHAKES,
        key,
        // SAFETY: as above.
        net: Client::new(unsafe { Caller::new(system::CALL_NETSTACK_SERVER) }),
        // SAFETY: as above.
        shim: Client::new(unsafe { Caller::new(system::CALL_KERNEL_SHIM) }),
        session: Box::new(|slot| {
            let cptr = system::WINDOW_SESSIONS + u64::from(slot);
            // SAFETY: a slot of this domain's own window; one call at a time.
            Client::new(unsafe { Caller::new(cptr) })
        }),
        // SAFETY: as above.
        plain: unsafe { Channel::new(system::CHANNEL_PLAINTEXT, record) },
        // SAFETY: as above.
        backend: unsafe { Channel::new(system::CHANNEL_BACKEND, net) },
        view: View::new(
            graph,
            [
                netstack,
                keystore,
                record_stats,
                shim,
                director,
                offload,
                stats,
            ],
        ),
        log: Box::new(runtime::log::write),
        stats,
    }
}
