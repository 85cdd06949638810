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

use ipc::provision::{Gateway, Keyrings};
use ipc::tls::Mode;
use ipc::transport::{Client, decode};
use sel4::log;
use sel4::runtime::{self, Caller};

use meter::{Meter, median};
use settings::Case;
use site::Site;

sel4::system!();
sel4::entry!(main);

// The figures are those of one application.
const _: () = assert!(system::FACTS.applications.len() == 1);

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
    let held = system::Capabilities::take();
    let configured = held.provision_gateway_config;
    let Some((gateway, keyrings)) = decode::<(Gateway, Keyrings)>(configured) else {
        panic!("no configuration");
    };
    let (mut site, echo) = site(held);
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

fn site(held: system::Capabilities) -> (Site, Caller) {
    // No status page is made.
    let _ = held.provision_capability_graph;
    let counters = |name: &str| {
        let mut all = held.counters.iter();
        let found = all.find(|(of, _)| *of == name);
        found.map_or_else(|| panic!("no counters of {name}"), |(_, page)| *page)
    };
    let sessions = held.window_sessions;
    let site = Site {
        net: Client::new(held.call_netstack_server),
        shim: Client::new(held.call_kernel_shim),
        session: Box::new(move |slot| Client::new(sessions.caller(slot))),
        plain: held.channel_plaintext,
        backend: held.channel_backend,
        pages: memory::DOMAINS.map(counters),
        meter: Meter::new(counters("idle")),
        buffer: Vec::new(),
    };
    (site, held.call_echo)
}
