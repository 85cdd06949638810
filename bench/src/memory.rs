//! What handshakes in progress and sessions hold on the heaps.

use alloc::vec::Vec;

use ipc::stats::{self, Counter};
use ipc::tls::Mode;
use sel4::log;

use crate::settings::Case;
use crate::site::Site;
use crate::tls::ClientEnd;

/// Handshakes, or sessions, at once.
const COUNT: u64 = 192;

/// Network stack, key store, record layer, shim, director, offload component.
const GAUGES: [(&str, Counter); 6] = [
    ("netstack_server", stats::netstack::HEAP),
    ("keystore_server", stats::keystore::HEAP),
    ("record_server", stats::record::HEAP),
    ("kernel_shim", stats::shim::HEAP),
    ("director", stats::director::HEAP),
    ("offload_server", stats::offload::HEAP),
];

/// The domains of [`GAUGES`].
pub(crate) const DOMAINS: [&str; 6] = [
    "netstack-server",
    "keystore-server",
    "record-server",
    "kernel-shim",
    "director",
    "offload-server",
];

/// The heaps before the first connection.
pub(crate) fn measure_rest(site: &Site) {
    for (used, (name, _)) in heaps(site).into_iter().zip(GAUGES) {
        log!("figure heap_at_rest_{name} {used}");
    }
}

/// The heaps with many handshakes in progress, and with many sessions.
pub(crate) fn measure(site: &mut Site, case: &Case) {
    let before = heaps(site);
    let mut clients = Vec::new();
    for _ in 0..COUNT {
        let (end, connection) = site.connect(case.port);
        site.start(case, Mode::Autonomous, connection);
        let mut tls = ClientEnd::new(&case.client);
        site.say(end, &mut tls);
        // The server has said all that it can: it waits for Finished.
        clients.push((end, tls));
    }
    report(site, "handshake", before);
    let mut sessions = Vec::new();
    for (end, tls) in clients {
        sessions.push(site.finish(end, tls));
    }
    report(site, "session", before);
    for session in sessions {
        site.close_session(session);
    }
}

fn heaps(site: &Site) -> [u64; 6] {
    let mut used = [0; 6];
    for ((to, page), (_, gauge)) in used.iter_mut().zip(site.pages).zip(GAUGES) {
        *to = page.read(gauge);
    }
    used
}

fn report(site: &Site, what: &str, before: [u64; 6]) {
    for ((now, before), (name, _)) in heaps(site).into_iter().zip(before).zip(GAUGES) {
        let each = now.saturating_sub(before) / COUNT;
        log!("figure heap_per_{what}_{name} {each}");
    }
}
