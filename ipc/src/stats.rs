//! What a domain shows of itself: one page of counters that it writes and the
//! gateway reads, for the status page and `/metrics`.

use core::sync::atomic::{AtomicU64, Ordering};

/// Counters in a page.
pub const COUNTERS: usize = 64;

/// A page of counters. Shared memory: written by one domain only.
#[repr(C, align(4096))]
pub struct Page([AtomicU64; COUNTERS]);

impl Default for Page {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; COUNTERS])
    }
}

/// One counter of a domain: its place in the page and its name in
/// OpenMetrics. Names ending in `_total` only ever grow; others are gauges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Place in the page, below [`COUNTERS`].
    pub place: usize,
    /// As OpenMetrics wants it, without the `handoff_` prefix.
    pub name: &'static str,
}

impl Page {
    /// Adds to a counter.
    pub fn add(&self, counter: Counter, count: u64) {
        if let Some(cell) = self.0.get(counter.place) {
            // One writer: no read-modify-write is needed.
            let value = cell.load(Ordering::Relaxed).wrapping_add(count);
            cell.store(value, Ordering::Relaxed);
        }
    }

    /// Sets a gauge.
    pub fn set(&self, counter: Counter, value: u64) {
        if let Some(cell) = self.0.get(counter.place) {
            cell.store(value, Ordering::Relaxed);
        }
    }

    /// Reads a counter; what another domain wrote there is only its word.
    pub fn read(&self, counter: Counter) -> u64 {
        self.0
            .get(counter.place)
            .map_or(0, |cell| cell.load(Ordering::Relaxed))
    }
}

/// Place of the counter that the runtime of every domain keeps: how often it was
/// restarted.
pub const RESTARTS_PLACE: usize = COUNTERS - 1;

/// The counters of the domain of that name: one of another program has only those of
/// every domain.
pub fn of(domain: &str) -> &'static [Counter] {
    match domain {
        "netstack-server" => netstack::ALL,
        "keystore-server" => keystore::ALL,
        "record-server" => record::ALL,
        "kernel-shim" => shim::ALL,
        "director" => director::ALL,
        "offload-server" => offload::ALL,
        "gateway" => gateway::ALL,
        _ => &[],
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $module:ident { $($(#[$item_doc:meta])* $constant:ident = $place:literal $name:literal;)* })*) => {
        $($(#[$doc])*
        pub mod $module {
            use super::Counter;
            $($(#[$item_doc])* pub const $constant: Counter = Counter { place: $place, name: $name };)*
            /// Every counter of this domain.
            pub const ALL: &[Counter] = &[$($constant),*];
        })*
    };
}

counters! {
    /// The network stack's counters.
    netstack {
        /// Times that it was woken.
        WAKEUPS = 0 "netstack_wakeups_total";
        /// Ethernet frames received.
        FRAMES_IN = 1 "netstack_frames_in_total";
        /// Ethernet frames sent.
        FRAMES_OUT = 2 "netstack_frames_out_total";
        /// Connections accepted.
        ACCEPTED = 3 "netstack_accepted_total";
        /// Connections opened to backends.
        CONNECTED = 4 "netstack_connected_total";
        /// Connections that exist.
        CONNECTIONS = 5 "netstack_connections";
        /// Half-open connections evicted.
        HALF_OPEN_DROPPED = 6 "netstack_half_open_dropped_total";
        /// Connections closed because their deadline passed.
        DEADLINES = 7 "netstack_deadlines_total";
        /// Segments refused because they were not the next one.
        SEGMENTS_REFUSED = 8 "netstack_segments_refused_total";
        /// Requests refused for want of rights.
        DENIED = 9 "netstack_denied_total";
        /// Connections refused, by a reset, because nothing could be evicted.
        TABLE_FULL = 10 "netstack_table_full_total";
        /// SYNs left without an answer because the listener's backlog was full; their
        /// clients retry.
        BACKLOG_FULL = 11 "netstack_backlog_full_total";
        /// Connections refused, by a reset, because their peer had its share.
        PEER_FULL = 12 "netstack_peer_full_total";
        /// Connections without an owner that were evicted.
        EVICTED = 13 "netstack_evicted_total";
        /// Frames that are nothing that this system takes.
        DROPPED = 14 "netstack_frames_dropped_total";
        /// Bytes in use on the heap.
        HEAP = 15 "netstack_heap_bytes";
        /// Segments that a connection did not take (RFC 5961).
        GUARDED = 16 "netstack_segments_guarded_total";
        /// Times that a path was found to be narrow.
        NARROWED = 17 "netstack_paths_narrowed_total";
        /// "Too big" messages that were rejected.
        NARROWED_REFUSED = 18 "netstack_paths_refused_total";
        /// Neighbours that moved to another Ethernet address.
        MOVED = 19 "netstack_neighbours_moved_total";
        /// Connections that their peer reset before it had sent what they wait for.
        RESET_EARLY = 20 "netstack_reset_early_total";
        /// SYNs left without an answer because what still sends to peers that it was
        /// released for has the memory; their clients retry.
        DEFERRED = 21 "netstack_syns_deferred_total";
        /// Times that it was restarted.
        RESTARTS = 63 "netstack_restarts_total";
    }
    /// The offload component's counters.
    offload {
        /// Times that it was woken.
        WAKEUPS = 0 "offload_wakeups_total";
        /// Handshakes started.
        STARTED = 1 "offload_handshakes_started_total";
        /// Handshakes finished.
        FINISHED = 2 "offload_handshakes_finished_total";
        /// Handshakes failed.
        FAILED = 3 "offload_handshakes_failed_total";
        /// Handshakes in progress.
        IN_PROGRESS = 4 "offload_handshakes_in_progress";
        /// Post-handshake messages handled.
        POST_HANDSHAKE = 5 "offload_post_handshake_total";
        /// Bytes in use on the heap.
        HEAP = 15 "offload_heap_bytes";
        /// Times that it was restarted.
        RESTARTS = 63 "offload_restarts_total";
    }
    /// The key store's counters.
    keystore {
        /// Times that it was called.
        CALLS = 0 "keystore_calls_total";
        /// Signatures made.
        SIGNED = 1 "keystore_signatures_total";
        /// Requests refused.
        REFUSED = 2 "keystore_refused_total";
        /// Pre-master secrets returned, valid ones and substitutes.
        DECRYPTED = 3 "keystore_pre_master_secrets_total";
        /// Updates of key rings accepted.
        ROTATED = 4 "keystore_rotations_total";
        /// Updates refused.
        ROTATIONS_REFUSED = 5 "keystore_rotations_refused_total";
        /// Version of the last update accepted, also before a restart.
        VERSION = 6 "keystore_rotation_version";
        /// Bytes in use on the heap.
        HEAP = 15 "keystore_heap_bytes";
        /// Times that it was restarted.
        RESTARTS = 63 "keystore_restarts_total";
    }
    /// The record layer's counters.
    record {
        /// Times that it was woken.
        WAKEUPS = 0 "record_wakeups_total";
        /// Sessions open.
        SESSIONS = 1 "record_sessions";
        /// Records opened.
        OPENED = 2 "record_records_opened_total";
        /// Records sealed.
        SEALED = 3 "record_records_sealed_total";
        /// Plaintext bytes received.
        BYTES_IN = 4 "record_plaintext_bytes_in_total";
        /// Plaintext bytes sent.
        BYTES_OUT = 5 "record_plaintext_bytes_out_total";
        /// Sessions that ended without close_notify.
        TRUNCATED = 6 "record_truncated_total";
        /// Sessions ended by a fatal alert, sent or received.
        ALERTS = 7 "record_fatal_alerts_total";
        /// Keys changed after the handshake.
        REKEYS = 8 "record_rekeys_total";
        /// Bytes in use on the heap.
        HEAP = 15 "record_heap_bytes";
        /// Times that it was restarted.
        RESTARTS = 63 "record_restarts_total";
    }
    /// The kernel shim's counters.
    shim {
        /// Times that it was woken.
        WAKEUPS = 0 "shim_wakeups_total";
        /// Handshakes started.
        STARTED = 1 "shim_handshakes_started_total";
        /// Results collected.
        COLLECTED = 2 "shim_results_collected_total";
        /// Requests refused by rights or limits.
        REFUSED = 3 "shim_refused_total";
        /// Handshakes in progress.
        IN_PROGRESS = 4 "shim_handshakes_in_progress";
        /// Sessions established.
        SESSIONS = 5 "shim_sessions";
        /// Bytes in use on the heap.
        HEAP = 15 "shim_heap_bytes";
        /// Times that it was restarted.
        RESTARTS = 63 "shim_restarts_total";
    }
    /// The director's counters.
    director {
        /// Times that it was woken.
        WAKEUPS = 0 "director_wakeups_total";
        /// Segments sent.
        SEGMENTS = 1 "director_segments_total";
        /// Segments that the policy refused.
        REFUSED = 2 "director_refused_total";
        /// Bytes in use on the heap.
        HEAP = 15 "director_heap_bytes";
        /// Times that it was restarted.
        RESTARTS = 63 "director_restarts_total";
    }
    /// The gateway's counters.
    gateway {
        /// Times that it was woken.
        WAKEUPS = 0 "gateway_wakeups_total";
        /// Bytes from clients to backends.
        BYTES_UP = 1 "gateway_bytes_up_total";
        /// Bytes from backends to clients.
        BYTES_DOWN = 2 "gateway_bytes_down_total";
        /// Sessions forwarded or served.
        SESSIONS = 3 "gateway_sessions";
        /// Handshakes that failed.
        FAILED = 4 "gateway_handshakes_failed_total";
        /// Backends that could not be reached.
        BACKEND_FAILED = 5 "gateway_backend_failed_total";
        /// Connections refused: their address has as many as it may.
        AWAY_CONNECTIONS = 6 "gateway_away_connections_total";
        /// Connections refused: their address has as many sessions as it may.
        AWAY_SESSIONS = 7 "gateway_away_sessions_total";
        /// Connections that waited for a handshake in vain.
        AWAY_WAITING = 8 "gateway_away_waiting_total";
        /// Connections that said nothing and gave way to others.
        AWAY_SILENT = 9 "gateway_away_silent_total";
        /// Connections refused because a table was full.
        AWAY_ROOM = 10 "gateway_away_room_total";
        /// Relays closed because no byte moved.
        IDLE = 11 "gateway_idle_timeouts_total";
        /// Requests to the status page that were incomplete at their deadline.
        REQUESTS_LATE = 12 "gateway_request_timeouts_total";
        /// Handshakes cancelled because no other domain ended them by their deadline.
        OVERDUE = 13 "gateway_handshakes_overdue_total";
        /// Requests to the status page that were answered with Retry-After.
        PAGES_BUSY = 14 "gateway_pages_busy_total";
        /// Bytes in use on the heap.
        HEAP = 15 "gateway_heap_bytes";
        /// Client addresses, or prefixes, that have a connection.
        ADDRESSES = 16 "gateway_addresses";
        /// Connections that their clients closed before a whole hello.
        AWAY_ENDED = 17 "gateway_away_ended_total";
        /// Connections whose hello was incomplete at its deadline.
        AWAY_LATE = 18 "gateway_away_late_total";
        /// Times that it was restarted.
        RESTARTS = 63 "gateway_restarts_total";
    }
}
