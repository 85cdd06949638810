//! One relay: a client downstream, a backend or the status page upstream, and plaintext
//! between them.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use ipc::channel::{Channel, Doorbell, SlotIndex, Status};
use ipc::clock::Instant;
use ipc::control::{HandshakeId, SessionId};
use ipc::net::{Address, ConnectionId};
use ipc::ring::Misbehaved;
use ipc::tls::Mode;
use tls::{CipherSuite, Version};

use crate::guests::{GuestId, Places};
use crate::head::Head;
use crate::page::Kind;
use crate::pages::PageId;
use crate::report::{Ending, Side, Why};
use crate::table::Id;

/// Names a relay.
pub(crate) type RelayId = Id;

/// What the status page shows of a client's session.
pub(crate) struct Facts {
    pub(crate) session: SessionId,
    pub(crate) listener: usize,
    pub(crate) remote: Address,
    pub(crate) version: Version,
    pub(crate) suite: CipherSuite,
    pub(crate) mode: Mode,
    /// From the start of the handshake to its completion.
    pub(crate) started: Instant,
    pub(crate) completed: Instant,
    /// What the log says of it at its end ([`Agreed`](crate::report::Agreed)), where it does.
    pub(crate) agreed: Option<Agreed>,
}

/// Words for the log, of [`Agreed::MOST`] bytes at the most.
pub(crate) struct Agreed(Box<str>);

impl Agreed {
    /// Bytes.
    pub(crate) const MOST: usize = 320;

    /// As many of the words as there is room for.
    pub(crate) fn new(words: fmt::Arguments<'_>) -> Self {
        struct Cut(String);
        impl fmt::Write for Cut {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                // All of it is ASCII. What does not fit is left out, and one sign tells so.
                let room = Agreed::MOST - 1 - self.0.len().min(Agreed::MOST - 1);
                self.0
                    .push_str(text.get(..room.min(text.len())).unwrap_or_default());
                if room < text.len() && self.0.len() < Agreed::MOST {
                    self.0.push('~');
                }
                Ok(())
            }
        }
        let mut cut = Cut(String::with_capacity(Self::MOST));
        // It never fails.
        let _ = fmt::write(&mut cut, words);
        Self(cut.0.into_boxed_str())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A client and where its plaintext goes.
pub(crate) struct Relay {
    /// Its place in the configuration.
    pub(crate) listener: usize,
    /// Whom the client is counted to.
    pub(crate) guest: GuestId,
    /// What of it is counted to the client.
    pub(crate) places: Places,
    /// `None` for a client that speaks no TLS.
    pub(crate) facts: Option<Facts>,
    pub(crate) remote: Address,
    pub(crate) near: End,
    pub(crate) far: Far,
    /// From the client.
    pub(crate) up: Flow,
    /// To the client.
    pub(crate) down: Flow,
    /// The client has sent something.
    pub(crate) has_spoken: bool,
    /// It waits for its next turn.
    pub(crate) is_due: bool,
    /// It is counted as one that waits for its backend.
    pub(crate) is_opening: bool,
    /// The rule that was the client's.
    pub(crate) rule: Option<usize>,
    /// Bytes from the client, and to it.
    pub(crate) bytes: (u64, u64),
    /// Whose direction was over first.
    pub(crate) first: Option<Side>,
    /// Who ended it, and why, if not both directions came to their end.
    pub(crate) ending: Option<Ending>,
    pub(crate) began: Instant,
    /// When a byte moved last.
    pub(crate) progress: Instant,
    /// When what it is in must be over; [`Instant::NEVER`] for no such moment.
    pub(crate) until: Instant,
}

impl Relay {
    /// One direction's source was cut off: what is on its way still goes out.
    pub(crate) fn is_cut(&self) -> bool {
        self.up == Flow::Cut || self.down == Flow::Cut
    }

    /// Notes who ended it, if nobody has yet.
    pub(crate) fn note_ending(&mut self, by: Side, why: Why) {
        self.ending.get_or_insert(Ending { by, why });
    }

    /// Notes how far the direction is that comes from `by`.
    pub(crate) fn note_flow(&mut self, by: Side, flow: Flow) {
        match flow {
            Flow::Open => {}
            Flow::Ended => {
                self.first.get_or_insert(by);
            }
            Flow::Cut => self.note_ending(by, Why::Reset),
        }
    }

    /// How it ended, when it has.
    pub(crate) fn ending(&self) -> Ending {
        let is_clean = self.up == Flow::Ended && self.down == Flow::Ended;
        let why = if is_clean { Why::Closed } else { Why::Reset };
        self.ending.unwrap_or(Ending {
            by: self.first.unwrap_or(Side::Gateway),
            why,
        })
    }
}

/// How far one direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// More may come.
    Open,
    /// All has been passed on, the end too.
    Ended,
    /// All that there was has been passed on, and it is not all that there should be.
    Cut,
}

/// The end of a relay that plaintext goes in and out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A session, in this slot of the channel to the record layer.
    Session(SlotIndex),
    /// A TCP connection, in this slot of the channel to the network stack.
    Connection {
        connection: ConnectionId,
        slot: SlotIndex,
    },
}

/// The upstream end of a relay.
pub(crate) enum Far {
    /// The status page.
    Page(Page),
    /// A TCP connection that is being opened, or has just been, for TLS.
    Opening {
        connection: ConnectionId,
        slot: SlotIndex,
    },
    /// The connection waits for room in the shim's tables.
    Waiting,
    /// The handshake with the backend is in progress.
    Securing(HandshakeId),
    /// Plaintext goes in and out.
    Open {
        end: End,
        /// The backend has answered once.
        is_established: bool,
    },
}

/// One HTTP request and its answer.
pub(crate) enum Page {
    /// The request's head, as far as it has come.
    Asking(Head),
    /// The answer.
    Answering {
        answer: Answer,
        /// Bytes of it that are on their way.
        sent: usize,
    },
}

/// An answer. None but [`Answer::Made`] has memory of its own.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// This status.
    Refusal(&'static str),
    /// A body that is always the same, or the head of that answer alone.
    Fixed { body: Fixed, head_only: bool },
    /// A body that was made for this request.
    Made { kind: Kind, page: PageId },
    /// The head of such an answer, with the length of its body.
    Head { kind: Kind, length: usize },
}

/// A body that is always the same.
#[derive(Clone, Copy)]
pub(crate) enum Fixed {
    /// All is well.
    Ok,
    /// The capability graph.
    Graph,
    /// What keeps the status page up to date.
    Script,
}

/// Both channels that an end can be in.
pub(crate) struct Wires<'a, P, B> {
    pub(crate) sessions: &'a mut Channel<P>,
    pub(crate) connections: &'a mut Channel<B>,
}

impl<P: Doorbell, B: Doorbell> Wires<'_, P, B> {
    pub(crate) fn readable(&self, end: End) -> Result<usize, Misbehaved> {
        match end {
            End::Session(slot) => self.sessions.readable(slot),
            End::Connection { slot, .. } => self.connections.readable(slot),
        }
    }

    pub(crate) fn writable(&mut self, end: End) -> Result<usize, Misbehaved> {
        match end {
            End::Session(slot) => self.sessions.writable(slot),
            End::Connection { slot, .. } => self.connections.writable(slot),
        }
    }

    /// Bytes that were written and not read yet by the other side.
    pub(crate) fn unread(&self, end: End) -> Result<usize, Misbehaved> {
        match end {
            End::Session(slot) => self.sessions.unread(slot),
            End::Connection { slot, .. } => self.connections.unread(slot),
        }
    }

    pub(crate) fn read(&mut self, end: End, out: &mut [u8]) -> Result<usize, Misbehaved> {
        match end {
            End::Session(slot) => self.sessions.read(slot, out),
            End::Connection { slot, .. } => self.connections.read(slot, out),
        }
    }

    pub(crate) fn write(&mut self, end: End, bytes: &[u8]) -> Result<usize, Misbehaved> {
        match end {
            End::Session(slot) => self.sessions.write(slot, bytes),
            End::Connection { slot, .. } => self.connections.write(slot, bytes),
        }
    }

    pub(crate) fn peer_status(&self, end: End) -> Status {
        match end {
            End::Session(slot) => self.sessions.peer_status(slot),
            End::Connection { slot, .. } => self.connections.peer_status(slot),
        }
    }

    /// Sets our own status and tells the other side.
    pub(crate) fn signal(&mut self, end: End, flags: u16) {
        match end {
            End::Session(slot) => {
                self.sessions.set_status(slot, flags);
                self.sessions.notify(slot);
            }
            End::Connection { slot, .. } => {
                self.connections.set_status(slot, flags);
                self.connections.notify(slot);
            }
        }
    }
}
