//! The program of the measuring domains: the application's place in the system, with its
//! capabilities; `echo`, which answers calls; `idle`, which runs when no other domain
//! does.
//!
//! Every figure is a number of instructions: `cargo xtask bench` starts the
//! machine so that one tick of the time-stamp counter is one instruction.
#![no_std]
#![no_main]

extern crate alloc;

mod alone;
mod bulk;
mod echo;
mod memory;
mod meter;
mod rekeyed;
mod resumed;
mod settings;
mod site;
#[cfg(feature = "static-rsa")]
mod timing;
mod tls;

use alloc::boxed::Box;
use alloc::vec::Vec;

use ipc::channel::Channel;
use ipc::provision::{Gateway, Keyrings};
use ipc::tls::Mode;
use ipc::transport::{Client, decode};
use sel4::log;
use sel4::runtime::{self, Bell, Caller};

use meter::{Meter, median};
use settings::Case;
use site::Site;

mod system {
    include!(concat!(env!("OUT_DIR"), "/system.rs"));
}

sel4::entry!(main);

/// How often each handshake is made.
const ROUNDS: usize = 20;

fn main() -> ! {
    let name = runtime::boot_facts().name;
    if name.starts_with(b"echo\0") {
        echo::answer();
    }
    if name.starts_with(b"idle\0") {
        echo::idle();
    }
    // SAFETY: the constant of this domain.
    let configured = unsafe { runtime::provision(system::PROVISION_GATEWAY_CONFIG) };
    let Some((gateway, keyrings)) = decode::<(Gateway, Keyrings)>(configured) else {
        panic!("no configuration");
    };
    // SAFETY: called once, before anything else uses these constants.
    let mut site = unsafe { site() };
    #[cfg(feature = "static-rsa")]
    {
        timing::measure(&site.meter, &keyrings);
        log!("done");
    }
    let cases: Vec<Case> = gateway
        .listeners
        .iter()
        .filter(|listener| listener.name != "directed")
        .map(|listener| Case::new(listener, &keyrings))
        .collect();
    site.listen(&cases);
    // SAFETY: the capability of this constant, used nowhere else.
    let echo = unsafe { Caller::new(system::CALL_ECHO) };
    echo::measure(&echo, &site);
    memory::measure_rest(&site);
    for case in &cases {
        handshakes(&mut site, case);
    }
    for case in &cases {
        resumed::measure(&mut site, case, ROUNDS);
    }
    if let Some(case) = cases.first() {
        rekeyed::measure(&mut site, case, ROUNDS);
        bulk::measure(&mut site, case);
        memory::measure(&mut site, case);
    }
    log!("done");
    loop {
        runtime::wait_signals();
    }
}

/// One kind of handshake: rustls alone, TCP alone, the whole system.
fn handshakes(site: &mut Site, case: &Case) {
    let name = &case.name;
    let alone = alone::measure(&site.meter, case, ROUNDS);
    log!("figure alone_server_{name} {}", alone.server);
    log!("figure alone_client_{name} {}", alone.client);
    let (mut opened, mut closed) = (Vec::new(), Vec::new());
    // The first round is not counted: caches of addresses, of configurations
    // and of sockets are filled.
    for round in 0..=ROUNDS {
        let start = site.meter.start();
        let pair = site.connect_plain(case);
        site.play(&pair, &alone.flights);
        let after_flights = site.meter.since(&start);
        site.close_plain(pair);
        if round > 0 {
            opened.push(after_flights);
            closed.push(site.meter.since(&start));
        }
    }
    log!("figure tcp_{name} {}", median(&mut opened));
    log!("figure tcp_closed_{name} {}", median(&mut closed));
    for (mode, prefix) in [
        (Mode::Autonomous, "whole"),
        (Mode::Directed, "directed_whole"),
    ] {
        opened.clear();
        closed.clear();
        for round in 0..=ROUNDS {
            let start = site.meter.start();
            let session = site.handshake(case, mode);
            let after_handshake = site.meter.since(&start);
            site.close_session(session);
            if round > 0 {
                opened.push(after_handshake);
                closed.push(site.meter.since(&start));
            }
        }
        log!("figure {prefix}_{name} {}", median(&mut opened));
        log!("figure {prefix}_closed_{name} {}", median(&mut closed));
    }
}

/// # Safety
/// Called once.
unsafe fn site() -> Site {
    // SAFETY: the caller calls once, so each constant is used once.
    let record = unsafe { Bell::new(system::SIGNAL_RECORD_SERVER) };
    // SAFETY: as above.
    let net = unsafe { Bell::new(system::SIGNAL_NETSTACK_SERVER) };
    let pages = [
        system::STATS_NETSTACK_SERVER,
        system::STATS_KEYSTORE_SERVER,
        system::STATS_RECORD_SERVER,
        system::STATS_KERNEL_SHIM,
        system::STATS_DIRECTOR,
        system::STATS_OFFLOAD_SERVER,
    ]
    // SAFETY: pages that other domains write and this one reads.
    .map(|page| unsafe { runtime::stats(page) });
    Site {
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
        pages,
        // SAFETY: a page that another domain writes and this one reads.
        meter: Meter::new(unsafe { runtime::stats(system::STATS_IDLE) }),
        buffer: Vec::new(),
    }
}
