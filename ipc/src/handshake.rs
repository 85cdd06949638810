//! Directives of the kernel shim to the offload component, and its completions.
//!
//! Directives go down, completions come up: exactly one completion for each start (R9).
//! Each handshake slot has a mailbox of its own each way ([`mailbox`](crate::mailbox)),
//! with room for all that one handshake can have outstanding:
//!
//! - down: the `Cancel` of the slot's last handshake, if its completion crossed it;
//!   then a `Start`; one `Displace` at a time, and a `Cancel` once in a
//!   handshake;
//! - up: one `Established` or `Failed`. A slot is used again only after the shim has
//!   taken that.

use alloc::boxed::Box;

use postcard::experimental::max_size::MaxSize;
use serde::{Deserialize, Serialize};
use tls::Role;

use crate::channel::SlotIndex;
use crate::clock::Instant;
use crate::control::{Cause, Established, Failure, HandshakeError, Parameters, Standing};
use crate::mailbox::{Letter, Mailbox, framed};
use crate::net::TcpPosition;
use crate::tls::Mode;

/// Whose handshake it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub struct Origin {
    /// The client that asked for it.
    pub client: u16,
    /// [`HandshakeRequest::group`](crate::control::HandshakeRequest::group).
    pub group: u32,
    /// [`HandshakeRequest::deadline`](crate::control::HandshakeRequest::deadline).
    pub deadline: Instant,
    /// [`HandshakeRequest::standing`](crate::control::HandshakeRequest::standing).
    pub standing: Standing,
}

/// A handshake to begin.
#[derive(Serialize, Deserialize, MaxSize)]
pub struct Start {
    /// Handshake slot: also the slot of the connection in the channel to the network stack.
    pub slot: SlotIndex,
    /// Counts the uses of the slot; repeated in the completion.
    pub generation: u16,
    /// The session's slot at the record layer: the place of the install capability in the
    /// window.
    pub session: SlotIndex,
    /// Counts the uses of the session slot, modulo [`GENERATIONS`](crate::badge::GENERATIONS).
    pub session_generation: u16,
    /// Autonomous: run the handshake by yourself. Directed: nothing happens on the
    /// connection but what segments of the director say ([`crate::director`]); answered to
    /// it by [`Verdict::Begun`](crate::segment::Verdict::Begun).
    pub mode: Mode,
    /// Server or client.
    pub role: Role,
    /// Whose handshake it is.
    pub origin: Origin,
    /// What to agree to and insist on. Directed: key rings, segment size and rights; the
    /// rest is the director's affair.
    pub parameters: Box<Parameters>,
    /// Where the TCP connection stands.
    pub position: TcpPosition,
}

/// From the shim to the offload component.
#[derive(Serialize, Deserialize, MaxSize)]
pub enum Directive {
    /// Begin a handshake.
    Start(Start),
    /// Give the handshake in `slot` up, if it is still of this generation.
    Cancel {
        /// Handshake slot.
        slot: SlotIndex,
        /// The generation meant.
        generation: u16,
    },
    /// Make room: of the handshakes of the same client as the one in `slot`, in
    /// the role of server, whose peer owes the next message, the oldest without a whole
    /// ClientHello ends as [`Resource::Displaced`](crate::control::Resource::Displaced);
    /// if there is none, the oldest that began half a second ago or more. If there is none
    /// of those, nothing happens. At most one that the offload component has not taken.
    Displace {
        /// Handshake slot.
        slot: SlotIndex,
        /// The generation meant.
        generation: u16,
        /// Only those of the same group, too.
        same_group: bool,
    },
}

/// A session is over: forget what its post-handshake messages would need. Each
/// session slot has a mailbox of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub struct Forget {
    /// The session's slot at the record layer.
    pub session: SlotIndex,
    /// Of the session; other generations are ignored.
    pub generation: u16,
}

/// Nothing is sent to the shim in the mailboxes of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Never {}

/// From the offload component to the shim.
#[derive(Serialize, Deserialize, MaxSize)]
pub enum Completion {
    /// Keys are installed; the connection is exactly after the peer's
    /// Finished.
    Established {
        /// Handshake slot.
        slot: SlotIndex,
        /// As in the start.
        generation: u16,
        /// What was agreed on.
        established: Box<Established>,
    },
    /// There is no session.
    Failed {
        /// Handshake slot.
        slot: SlotIndex,
        /// As in the start.
        generation: u16,
        /// Why.
        error: HandshakeError,
        /// What of the peer's part was wrong, where that does not tell.
        cause: Option<Cause>,
    },
}

impl Completion {
    /// Slot and generation of the handshake, and what became of it.
    pub fn into_parts(self) -> (SlotIndex, u16, Result<Box<Established>, Failure>) {
        match self {
            Self::Established {
                slot,
                generation,
                established,
            } => (slot, generation, Ok(established)),
            Self::Failed {
                slot,
                generation,
                error,
                cause,
            } => (slot, generation, Err(Failure { error, cause })),
        }
    }
}

/// Bytes of the encoding of a directive or completion that says no more than which
/// handshake it means, and why: its kind, slot, generation and [`Failure`].
const SHORT: usize = 1 + 3 + 3 + Failure::POSTCARD_MAX_SIZE;

impl Letter for Directive {
    const ROOM: usize = framed(Self::POSTCARD_MAX_SIZE) + 4 * framed(SHORT);

    fn slot(&self) -> SlotIndex {
        let (Self::Start(Start { slot, .. })
        | Self::Cancel { slot, .. }
        | Self::Displace { slot, .. }) = self;
        *slot
    }
}

impl Letter for Completion {
    const ROOM: usize = framed(Self::POSTCARD_MAX_SIZE) + framed(SHORT);

    fn slot(&self) -> SlotIndex {
        let (Self::Established { slot, .. } | Self::Failed { slot, .. }) = self;
        *slot
    }
}

impl Letter for Forget {
    // The offload component takes all of them before it establishes anything, so no
    // slot has more than the one of its last session and the one of the session
    // before.
    const ROOM: usize = 2 * framed(Self::POSTCARD_MAX_SIZE);

    fn slot(&self) -> SlotIndex {
        self.session
    }
}

impl Letter for Never {
    const ROOM: usize = 0;

    fn slot(&self) -> SlotIndex {
        match *self {}
    }
}

/// The shim's end, one slot for each handshake.
pub type DirectiveQueue<D> = Mailbox<Directive, Completion, D>;
/// The offload component's end.
pub type CompletionQueue<D> = Mailbox<Completion, Directive, D>;
/// The shim's end, one slot for each session.
pub type ForgetQueue<D> = Mailbox<Forget, Never, D>;
/// The offload component's end.
pub type ForgetInbox<D> = Mailbox<Never, Forget, D>;

/// The rings of `image/system.toml` hold what a slot can say.
const _: () = assert!(Directive::ROOM <= 1024 && Completion::ROOM <= 1024 && Forget::ROOM <= 64);
