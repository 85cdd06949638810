//! The directive queue between the kernel shim and the offload component.
//!
//! Down goes what to do, up comes what became of it: exactly one completion
//! for each start (R9).

use alloc::boxed::Box;

use postcard::experimental::max_size::MaxSize;
use serde::{Deserialize, Serialize};

use crate::bounded::Blob;
use crate::channel::SlotIndex;
use crate::control::{Established, HandshakeError, Parameters};
use crate::net::TcpPosition;
use crate::queue::Queue;
use crate::segment::{Segment, Verdict};
use crate::tls::Role;

/// The longest end-entity certificate of a peer that is kept.
pub const MAX_PEER_CERTIFICATE: usize = 4096;

/// From the shim to the offload component.
#[derive(Serialize, Deserialize, MaxSize)]
pub enum Directive {
    /// Run a handshake by yourself, on the connection in `slot` of the channel
    /// to the network stack.
    Start {
        /// Handshake slot: also the slot of the connection.
        slot: SlotIndex,
        /// Counts the uses of the slot; repeated in the completion.
        generation: u16,
        /// The session's slot at the record layer: the place of the install
        /// capability in the window.
        session: SlotIndex,
        /// Counts the uses of the session slot, modulo 4096.
        session_generation: u16,
        /// Server or client.
        role: Role,
        /// What to agree to and insist on.
        parameters: Box<Parameters>,
        /// Where the TCP connection stands.
        position: TcpPosition,
    },
    /// Begin a directed handshake: nothing happens on the connection but what
    /// segments say. Answered by [`Verdict::Begun`].
    Direct {
        /// Handshake slot: also the slot of the connection.
        slot: SlotIndex,
        /// Counts the uses of the slot; repeated in each answer.
        generation: u16,
        /// The session's slot at the record layer.
        session: SlotIndex,
        /// Counts the uses of the session slot, modulo 4096.
        session_generation: u16,
        /// Server or client.
        role: Role,
        /// Key rings, segment size and rights; the rest is the shim's affair.
        parameters: Box<Parameters>,
        /// Where the TCP connection stands.
        position: TcpPosition,
    },
    /// One step of the directed handshake in `slot`.
    Segment {
        /// Handshake slot.
        slot: SlotIndex,
        /// The generation meant.
        generation: u16,
        /// The step.
        segment: Segment,
    },
    /// Give the handshake in `slot` up, if it is still of this generation.
    Cancel {
        /// Handshake slot.
        slot: SlotIndex,
        /// The generation meant.
        generation: u16,
    },
    /// The session that came out of the handshake is over: forget what
    /// post-handshake messages would need.
    Forget {
        /// The session's slot at the record layer.
        session: SlotIndex,
    },
}

/// From the offload component to the shim.
#[derive(Serialize, Deserialize, MaxSize)]
pub enum Completion {
    /// Keys are installed; the connection stands exactly behind the peer's
    /// Finished.
    Established {
        /// Handshake slot.
        slot: SlotIndex,
        /// As in the start.
        generation: u16,
        /// What was agreed on.
        established: Box<Established>,
        /// The peer's end-entity certificate (DER), empty without one.
        peer_certificate: Blob<MAX_PEER_CERTIFICATE>,
    },
    /// What became of one segment of a directed handshake.
    Segment {
        /// Handshake slot.
        slot: SlotIndex,
        /// As in the start.
        generation: u16,
        /// What became of it.
        verdict: Verdict,
    },
    /// There is no session.
    Failed {
        /// Handshake slot.
        slot: SlotIndex,
        /// As in the start.
        generation: u16,
        /// Why.
        error: HandshakeError,
    },
}

/// The shim's end of the queue.
pub type DirectiveQueue<D> = Queue<Directive, Completion, D>;
/// The offload component's end of the queue.
pub type CompletionQueue<D> = Queue<Completion, Directive, D>;
