//! What this domain holds at most.

use core::mem::size_of;

use ipc::budget::{Line, block};
use ipc::control::Parameters;
use ipc::mailbox::MAX_LETTER;
use ipc::queue::MAX_QUEUED;
use ipc::segment::Segment;
use tls::record::MAX_RECORD;

use crate::autonomous::{AfterHandshake, Autonomous, Remembered};
use crate::by_request::KEPT;
use crate::directed::{Directed, TicketCache, Tickets};
use crate::in_progress::InProgress;
use crate::loans::{COPIES, GUARANTEED, POOL};
use crate::session::{self, TAKERS};
use crate::session_cache::{MAX_CHAIN, MAX_TICKET, PLACES};
use crate::ticket_keys::{KEY, KEYS};
use crate::work::WorkQueue;

/// What a handshake holds beside that. rustls' state and `ring`'s keys behind it are in
/// private types: measured, and held against this by `tests/crowd.rs`.
const HANDSHAKE: usize = InProgress::PLACE
    + block(size_of::<Autonomous>())
    + block(size_of::<Directed>())
    + 4 * 1024
    + KEY_SHARE
    + WorkQueue::PLACES
    + block(size_of::<Segment>())
    + COPIES * block(GUARANTEED);

/// A client's share of SecP384r1MLKEM1024, the longest, until the answer comes, with its
/// seed; and the hello with it, in the transcript and on its way.
const KEY_SHARE: usize = 2 * block(2 * 1024);

/// A session of TLS 1.3: its traffic secrets.
const SESSION: usize = session::SESSION + block(256);

/// Bytes of what takes the tickets of one session, with the server's chain. rustls' state
/// is in private types: measured, and held against this by `tests/crowd.rs`.
const TAKER: usize =
    block(size_of::<AfterHandshake>()) + block(size_of::<Tickets>()) + block(MAX_CHAIN) + 2 * 1024;

/// What a request asks for, as a configuration of rustls, and as one of directed mode,
/// and a client's lists of sessions for both.
const PROFILE: usize = 2 * block(size_of::<Parameters>())
    + block(Remembered::LIST)
    + block(TicketCache::LIST)
    + IN_USE;

/// A configuration that is not kept any more, and that a handshake in progress still
/// uses. The verifiers in it are the rings'.
const IN_USE: usize = 2048;

/// What is remembered of one session: its ticket, its chain, its secret.
const REMEMBERED: usize = block(MAX_TICKET) + block(MAX_CHAIN) + 256;

/// Key rings: their certificates and revocation lists as the key store has them (its region
/// is 128 KiB), and what verifiers make of the trust anchors; twice while they are replaced.
const KEYRINGS: usize = 2 * 2 * 128 * 1024;

/// The keys for the tickets of a client's sessions, with a bit for each ticket.
const TICKET_KEYS: usize = KEYS * (block(KEY) + 128) + 256;

/// Queues' buffers; the record in work of each mode, and what it leads to; suites.
const FIXED: usize = block(MAX_QUEUED)
    + 3 * block(MAX_LETTER)
    + 2 * (COPIES + 1) * block(2 * MAX_RECORD)
    + 64 * 1024;

/// For so many slots, and clients of the shim.
pub const fn budget(handshakes: u16, sessions: u16, clients: u16) -> [Line; 10] {
    const fn line(what: &'static str, count: usize, bytes: usize) -> Line {
        Line { what, count, bytes }
    }
    [
        line("handshakes", handshakes as usize, HANDSHAKE),
        line("bytes lent to handshakes", COPIES, POOL),
        line("sessions", sessions as usize, SESSION),
        line("sessions that take tickets", TAKERS, TAKER),
        line("configurations", KEPT, PROFILE),
        line("configurations in use", handshakes as usize, IN_USE),
        line("sessions to be resumed", PLACES, REMEMBERED),
        line("keys of tickets", clients as usize, TICKET_KEYS),
        line("key rings", 1, KEYRINGS),
        line("fixed", 1, FIXED),
    ]
}
