//! What a domain shows of itself: one page of counters that it writes and the
//! gateway reads, for the status page and `/metrics`.

use core::sync::atomic::{AtomicU64, Ordering, fence};

use crate::tls::Label;

/// Counters in a page.
pub const COUNTERS: usize = 64;

/// Key rings that a page tells of.
pub const RINGS: usize = 64;
/// Words of a label.
const LABEL: usize = 4;
const WORD: usize = size_of::<u64>();

/// A page of counters. Shared memory: written by one domain only.
#[repr(C, align(4096))]
pub struct Page {
    counters: [AtomicU64; COUNTERS],
    rings: [RingCell; RINGS],
}

/// What a page tells of a key ring.
#[repr(C)]
struct RingCell {
    /// Filled up with zeros.
    label: [AtomicU64; LABEL],
    /// Zero where there is no ring.
    not_after: AtomicU64,
}

const _: () = assert!(size_of::<Page>() == 4096);

impl Default for Page {
    fn default() -> Self {
        let ring = || RingCell {
            label: [const { AtomicU64::new(0) }; LABEL],
            not_after: AtomicU64::new(0),
        };
        Self {
            counters: [const { AtomicU64::new(0) }; COUNTERS],
            rings: core::array::from_fn(|_| ring()),
        }
    }
}

/// One counter of a domain: its place in the page, and what it is in OpenMetrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Whose it is.
    pub domain: &'static str,
    /// Place in the page, below [`COUNTERS`].
    pub place: usize,
    /// As OpenMetrics wants it, without the `handoff_` prefix. Names ending in `_total`
    /// only ever grow; others are gauges. Domains that count the same have the same name.
    pub name: &'static str,
    /// Labels besides `domain`, as OpenMetrics writes them; may be empty.
    pub labels: &'static str,
    /// What it counts.
    help: &'static str,
}

impl Counter {
    /// A place in a page that is shown under no name.
    pub const fn nameless(place: usize) -> Self {
        Self {
            domain: "",
            place,
            name: "",
            labels: "",
            help: "",
        }
    }

    /// The same of this domain.
    pub const fn of(self, domain: &'static str) -> Self {
        Self { domain, ..self }
    }

    /// What it counts, a sentence.
    pub fn help(&self) -> &'static str {
        self.help.trim_start()
    }

    /// The name without what OpenMetrics adds to that of a counter's family, and the
    /// type of the family.
    pub fn family(&self) -> (&'static str, &'static str) {
        match self.name.strip_suffix("_total") {
            Some(family) => (family, "counter"),
            None => (self.name, "gauge"),
        }
    }

    /// The unit, if it has one.
    pub fn unit(&self) -> Option<&'static str> {
        self.family().0.ends_with("_bytes").then_some("bytes")
    }
}

impl Page {
    /// Adds to a counter.
    pub fn add(&self, counter: Counter, count: u64) {
        if let Some(cell) = self.counters.get(counter.place) {
            // One writer: no read-modify-write is needed.
            let value = cell.load(Ordering::Relaxed).wrapping_add(count);
            cell.store(value, Ordering::Relaxed);
        }
    }

    /// Sets a gauge.
    pub fn set(&self, counter: Counter, value: u64) {
        if let Some(cell) = self.counters.get(counter.place) {
            cell.store(value, Ordering::Relaxed);
        }
    }

    /// Reads a counter; what another domain wrote there is only its word.
    pub fn read(&self, counter: Counter) -> u64 {
        self.counters
            .get(counter.place)
            .map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    /// Tells of the key ring at a place until when the certificates are valid that it shows,
    /// in seconds since 1970; zero takes it back.
    pub fn set_ring(&self, place: usize, label: &Label, not_after: u64) {
        let Some(cell) = self.rings.get(place) else {
            return;
        };
        // Whoever reads meanwhile finds no ring.
        cell.not_after.store(0, Ordering::Relaxed);
        let mut chunks = label.as_bytes().chunks(WORD);
        for word in &cell.label {
            let mut bytes = [0; WORD];
            let chunk = chunks.next().unwrap_or_default();
            for (to, from) in bytes.iter_mut().zip(chunk) {
                *to = *from;
            }
            word.store(u64::from_le_bytes(bytes), Ordering::Relaxed);
        }
        cell.not_after.store(not_after, Ordering::Release);
    }

    /// The key rings that are told of; what another domain wrote there is only its word, and
    /// a label is any text.
    pub fn rings(&self) -> impl Iterator<Item = (Label, u64)> {
        self.rings.iter().filter_map(|cell| {
            // Read-only memory where another domain reads: no `Acquire` load.
            let not_after = cell.not_after.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            if not_after == 0 {
                return None;
            }
            let mut bytes = [0; LABEL * WORD];
            for (to, word) in bytes.chunks_exact_mut(WORD).zip(&cell.label) {
                to.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
            }
            let text = bytes.split(|byte| *byte == 0).next()?;
            let label = Label::from_text(core::str::from_utf8(text).ok()?).ok()?;
            Some((label, not_after))
        })
    }
}

/// Bytes in use on the heap of any domain.
pub const HEAP: Counter = Counter {
    domain: "",
    place: 15,
    name: "heap_bytes",
    labels: "",
    help: "Bytes in use on a domain's heap.",
};
/// The size of its heap, which the runtime of every domain tells, whatever its program.
pub const HEAP_LIMIT: Counter = Counter {
    domain: "",
    place: COUNTERS - 2,
    name: "heap_limit_bytes",
    labels: "",
    help: "Bytes of a domain's heap, used or not.",
};
/// How often it was restarted, which the runtime counts as well.
pub const RESTARTS: Counter = Counter {
    domain: "",
    place: COUNTERS - 1,
    name: "restarts_total",
    labels: "",
    help: "Times that a domain was restarted.",
};

/// The counters of the domain of that name: those of every domain, and its own if it is named
/// in `counters!`.
pub fn of(domain: &str) -> &'static [Counter] {
    let own = ALL.iter().find(|(name, _)| *name == domain);
    own.map_or(&[HEAP, HEAP_LIMIT, RESTARTS], |(_, counters)| counters)
}

/// The first line of several is that of the family.
macro_rules! counters {
    ($($(#[$doc:meta])* $module:ident $domain:literal { $(
        $(#[doc = $help:literal])+ $constant:ident = $place:literal $name:literal $($labels:literal)?;
    )* })*) => {
        $($(#[$doc])*
        pub mod $module {
            use super::Counter;
            $($(#[doc = $help])+ pub const $constant: Counter = Counter {
                domain: $domain,
                place: $place,
                name: $name,
                labels: concat!($($labels)?),
                help: concat!($($help),+),
            };)*
            /// Bytes in use on its heap.
            pub const HEAP: Counter = super::HEAP.of($domain);
            /// The size of its heap.
            pub const HEAP_LIMIT: Counter = super::HEAP_LIMIT.of($domain);
            /// How often it was restarted.
            pub const RESTARTS: Counter = super::RESTARTS.of($domain);
            /// Every counter of this domain.
            pub const ALL: &[Counter] = &[$($constant,)* HEAP, HEAP_LIMIT, RESTARTS];
        })*
        /// Each domain's counters.
        const ALL: &[(&str, &[Counter])] = &[$(($domain, $module::ALL)),*];
    };
}

counters! {
    /// The network stack's counters.
    netstack "netstack-server" {
        /// Times that a domain was woken.
        WAKEUPS = 0 "wakeups_total";
        /// Ethernet frames of the NIC.
        FRAMES_IN = 1 "frames_total" "direction=\"in\"";
        /// Ethernet frames of the NIC.
        FRAMES_OUT = 2 "frames_total" "direction=\"out\"";
        /// Connections of clients accepted.
        ACCEPTED = 3 "connections_accepted_total";
        /// Connections to backends opened.
        CONNECTED = 4 "connections_opened_total";
        /// TCP connections that exist.
        CONNECTIONS = 5 "connections";
        /// Connections that the network stack ended or refused, by reason.
        HALF_OPEN_DROPPED = 6 "connections_dropped_total" "reason=\"half_open\"";
        /// Connections that the network stack ended or refused, by reason.
        DEADLINES = 7 "connections_dropped_total" "reason=\"deadline\"";
        /// Segments that were not the next one, or that a connection did not take (RFC 5961).
        SEGMENTS_REFUSED = 8 "segments_rejected_total" "reason=\"order\"";
        /// Requests refused, for want of rights or because they can't be carried out.
        DENIED = 9 "requests_refused_total";
        /// Connections that the network stack ended or refused, by reason.
        TABLE_FULL = 10 "connections_dropped_total" "reason=\"table_full\"";
        /// SYNs left without an answer, whose clients retry, by reason.
        BACKLOG_FULL = 11 "syns_unanswered_total" "reason=\"backlog\"";
        /// Connections that the network stack ended or refused, by reason.
        PEER_FULL = 12 "connections_dropped_total" "reason=\"share\"";
        /// Connections that the network stack ended or refused, by reason.
        EVICTED = 13 "connections_dropped_total" "reason=\"evicted\"";
        /// Frames that are nothing that this system takes.
        DROPPED = 14 "frames_dropped_total";
        /// Segments that were not the next one, or that a connection did not take (RFC 5961).
        GUARDED = 16 "segments_rejected_total" "reason=\"blind\"";
        /// Times that a path was found to be narrow.
        NARROWED = 17 "paths_narrowed_total";
        /// Messages of a narrow path that were rejected.
        NARROWED_REFUSED = 18 "path_messages_rejected_total";
        /// Neighbours that moved to another Ethernet address.
        MOVED = 19 "neighbours_moved_total";
        /// Connections that the network stack ended or refused, by reason.
        RESET_EARLY = 20 "connections_dropped_total" "reason=\"reset\"";
        /// SYNs left without an answer, whose clients retry, by reason.
        DEFERRED = 21 "syns_unanswered_total" "reason=\"released\"";
    }
    /// The offload component's counters.
    offload "offload-server" {
        /// Times that a domain was woken.
        WAKEUPS = 0 "wakeups_total";
        /// Handshakes started.
        STARTED = 1 "handshakes_started_total";
        /// Handshakes that led to a session.
        FINISHED = 2 "handshakes_finished_total";
        /// Handshakes that came to nothing.
        FAILED = 3 "handshakes_failed_total";
        /// Handshakes in progress.
        IN_PROGRESS = 4 "handshakes_in_progress";
        /// Post-handshake messages handled.
        POST_HANDSHAKE = 5 "post_handshake_messages_total";
        /// Key rings with a revocation list that is out of date.
        CRLS_OVERDUE = 6 "key_rings_crl_overdue";
        /// Key rings whose OCSP response is out of date.
        OCSP_OVERDUE = 7 "key_rings_ocsp_overdue";
    }
    /// The key store's counters.
    keystore "keystore-server" {
        /// Calls of the key store.
        CALLS = 0 "calls_total";
        /// Signatures made.
        SIGNED = 1 "signatures_total";
        /// Requests refused, for want of rights or because they can't be carried out.
        REFUSED = 2 "requests_refused_total";
        /// Pre-master secrets returned, valid ones and substitutes.
        DECRYPTED = 3 "pre_master_secrets_total";
        /// Updates of key rings, by what became of them.
        ROTATED = 4 "rotations_total" "result=\"accepted\"";
        /// Updates of key rings, by what became of them.
        ROTATIONS_REFUSED = 5 "rotations_total" "result=\"refused\"";
        /// Version of the last update of key rings, also before a restart.
        VERSION = 6 "rotation_version";
    }
    /// The record layer's counters.
    record "record-server" {
        /// Times that a domain was woken.
        WAKEUPS = 0 "wakeups_total";
        /// Sessions open.
        SESSIONS = 1 "sessions";
        /// Records opened and sealed.
        OPENED = 2 "records_total" "direction=\"in\"";
        /// Records opened and sealed.
        SEALED = 3 "records_total" "direction=\"out\"";
        /// Plaintext of records.
        BYTES_IN = 4 "plaintext_bytes_total" "direction=\"in\"";
        /// Plaintext of records.
        BYTES_OUT = 5 "plaintext_bytes_total" "direction=\"out\"";
        /// Sessions that ended without close_notify.
        TRUNCATED = 6 "sessions_truncated_total";
        /// Sessions ended by a fatal alert, sent or received.
        ALERTS = 7 "fatal_alerts_total";
        /// Keys changed after the handshake.
        REKEYS = 8 "key_updates_total";
    }
    /// The kernel shim's counters.
    shim "kernel-shim" {
        /// Times that a domain was woken.
        WAKEUPS = 0 "wakeups_total";
        /// Handshakes started.
        STARTED = 1 "handshakes_started_total";
        /// Results that applications collected.
        COLLECTED = 2 "results_collected_total";
        /// Requests refused, for want of rights or because they can't be carried out.
        REFUSED = 3 "requests_refused_total";
        /// Handshakes in progress.
        IN_PROGRESS = 4 "handshakes_in_progress";
        /// Sessions open.
        SESSIONS = 5 "sessions";
    }
    /// The director's counters.
    director "director" {
        /// Times that a domain was woken.
        WAKEUPS = 0 "wakeups_total";
        /// Segments of directed handshakes sent.
        SEGMENTS = 1 "segments_sent_total";
        /// Segments of directed handshakes that the policy refused.
        REFUSED = 2 "segments_refused_total";
    }
    /// The gateway's counters.
    gateway "gateway" {
        /// Times that a domain was woken.
        WAKEUPS = 0 "wakeups_total";
        /// Plaintext relayed, from clients (up) and to them (down).
        BYTES_UP = 1 "relayed_bytes_total" "direction=\"up\"";
        /// Plaintext relayed, from clients (up) and to them (down).
        BYTES_DOWN = 2 "relayed_bytes_total" "direction=\"down\"";
        /// Sessions open.
        SESSIONS = 3 "sessions";
        /// Handshakes that came to nothing.
        FAILED = 4 "handshakes_failed_total";
        /// Backends that could not be had.
        BACKEND_FAILED = 5 "backends_failed_total";
        /// Connections of clients turned away, by reason.
        AWAY_CONNECTIONS = 6 "turned_away_total" "reason=\"connections\"";
        /// Connections of clients turned away, by reason.
        AWAY_SESSIONS = 7 "turned_away_total" "reason=\"sessions\"";
        /// Connections of clients turned away, by reason.
        AWAY_WAITING = 8 "turned_away_total" "reason=\"waiting\"";
        /// Connections of clients turned away, by reason.
        AWAY_SILENT = 9 "turned_away_total" "reason=\"silent\"";
        /// Connections of clients turned away, by reason.
        AWAY_ROOM = 10 "turned_away_total" "reason=\"room\"";
        /// Sessions ended because no byte moved.
        IDLE = 11 "idle_timeouts_total";
        /// Requests to the status page that were incomplete at their deadline.
        REQUESTS_LATE = 12 "request_timeouts_total";
        /// Handshakes cancelled because no other domain ended them by their deadline.
        OVERDUE = 13 "handshakes_overdue_total";
        /// Requests to the status page that were answered with Retry-After.
        PAGES_BUSY = 14 "pages_busy_total";
        /// Client addresses, or prefixes, that have a connection.
        ADDRESSES = 16 "client_addresses";
        /// Connections of clients turned away, by reason.
        AWAY_ENDED = 17 "turned_away_total" "reason=\"ended\"";
        /// Connections of clients turned away, by reason.
        AWAY_LATE = 18 "turned_away_total" "reason=\"late\"";
        /// Connections of clients turned away, by reason.
        AWAY_BACKEND = 19 "turned_away_total" "reason=\"backend\"";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_counter_has_a_place_and_a_series_of_its_own() {
        for (domain, counters) in ALL {
            let places: HashSet<_> = counters.iter().map(|c| c.place).collect();
            let series: HashSet<_> = counters.iter().map(|c| (c.name, c.labels)).collect();
            assert_eq!(
                (places.len(), series.len()),
                (counters.len(), counters.len())
            );
            assert!(places.iter().all(|place| *place < COUNTERS), "{domain}");
            assert!(counters.iter().all(|c| c.domain == *domain));
        }
    }

    #[test]
    fn a_domain_that_is_not_named_has_the_counters_of_every_domain() {
        let places = |counters: &[Counter]| counters.iter().map(|c| c.place).collect::<Vec<_>>();
        let others = places(of("hello"));
        assert_eq!(others, [HEAP.place, HEAP_LIMIT.place, RESTARTS.place]);
        for (domain, _) in ALL {
            assert!(places(of(domain)).ends_with(&others), "{domain}");
        }
    }

    #[test]
    fn rings_are_told_of_until_they_are_taken_back_and_a_hostile_label_is_left_out() {
        let page = Page::default();
        let label = |text: &str| Label::from_text(text).unwrap();
        let longest = label(&"x".repeat(32));
        page.set_ring(0, &label("web"), 7);
        page.set_ring(63, &longest, u64::MAX);
        page.set_ring(64, &label("none"), 7);
        let told = || page.rings().collect::<Vec<_>>();
        assert_eq!(told(), [(label("web"), 7), (longest.clone(), u64::MAX)]);
        page.set_ring(0, &label("a"), 8);
        assert_eq!(told(), [(label("a"), 8), (longest.clone(), u64::MAX)]);
        page.set_ring(0, &label("a"), 0);
        assert_eq!(told(), [(longest, u64::MAX)]);
        for word in &page.rings[63].label {
            word.store(u64::MAX, Ordering::Relaxed);
        }
        assert_eq!(told(), []);
    }

    #[test]
    fn those_of_one_family_say_the_same_of_it() {
        let all: Vec<&Counter> = ALL.iter().flat_map(|(_, counters)| *counters).collect();
        for one in &all {
            let help = one.help();
            assert!(
                help.ends_with('.') && !help.contains(['\\', '\n', '"']),
                "{help}"
            );
            for other in all.iter().filter(|other| other.name == one.name) {
                assert_eq!(one.help(), other.help(), "{}", one.name);
                // All of a family have the same labels.
                let label = |counter: &Counter| counter.labels.split('=').next();
                assert_eq!(label(one), label(other), "{}", one.name);
            }
        }
    }
}
