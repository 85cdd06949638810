//! What sessions need after their handshake (R33): changing keys,
//! taking tickets.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use ipc::bounded::Bytes;
use ipc::channel::SlotIndex;
use ipc::clock::Instant;
use ipc::record::{PostHandshake, Request};
use tls::schedule13::TrafficSecrets;
use tls::{Alert, HandshakeType, Role, TrafficKey};

const KEY_UPDATE: u8 = HandshakeType::KEY_UPDATE.0;
const NEW_SESSION_TICKET: u8 = HandshakeType::NEW_SESSION_TICKET.0;
/// RFC 8446 §4.6.3.
const UPDATE_NOT_REQUESTED: u8 = 0;
const UPDATE_REQUESTED: u8 = 1;

/// Names the session that a handshake is for.
#[derive(Clone, Copy)]
pub(crate) struct SessionSlot {
    pub(crate) slot: SlotIndex,
    pub(crate) generation: u16,
}

/// Takes the tickets that a server sends after its handshake, for later sessions with it.
pub(crate) trait TakeTickets {
    /// Takes the one in the body of a NewSessionTicket (RFC 8446 §4.6.1).
    ///
    /// # Errors
    /// The alert for the server.
    fn take(&mut self, ticket: &[u8], now: Instant) -> Result<(), Alert>;
}

struct Session {
    generation: u16,
    role: Role,
    secrets: TrafficSecrets,
    /// A client's.
    tickets: Option<Box<dyn TakeTickets>>,
}

/// Bytes of one session in the table.
pub(crate) const SESSION: usize = size_of::<Option<Session>>();

/// Sessions that take tickets, at most: the latest. A server sends them right after the
/// handshake, so that the oldest have theirs.
pub(crate) const TAKERS: usize = 64;

/// Established TLS 1.3 sessions, by their slot at the record layer.
pub(crate) struct Sessions {
    table: Vec<Option<Session>>,
    /// Those that take tickets, the latest at the end.
    takers: VecDeque<(SlotIndex, u16)>,
}

impl Sessions {
    pub(crate) fn new(slots: u16) -> Self {
        Self {
            table: (0..slots).map(|_| None).collect(),
            takers: VecDeque::with_capacity(TAKERS),
        }
    }

    /// Whether the record layer has such a slot.
    pub(crate) fn has_slot(&self, slot: SlotIndex) -> bool {
        usize::from(slot) < self.table.len()
    }

    /// No session takes tickets any more: what they would be kept for is replaced, and what
    /// takes them has the key rings of before.
    pub(crate) fn drop_takers(&mut self) {
        for (slot, generation) in core::mem::take(&mut self.takers) {
            if let Some(session) = self.find(slot, generation) {
                session.tickets = None;
            }
        }
    }

    /// Keeps the secrets of a session; a session of the same slot is over.
    pub(crate) fn keep(
        &mut self,
        session: SessionSlot,
        role: Role,
        secrets: TrafficSecrets,
        tickets: Option<Box<dyn TakeTickets>>,
    ) {
        if tickets.is_some() {
            self.make_room();
            self.takers.push_back((session.slot, session.generation));
        }
        if let Some(place) = self.table.get_mut(usize::from(session.slot)) {
            *place = Some(Session {
                generation: session.generation,
                role,
                secrets,
                tickets,
            });
        }
    }

    /// The session that took tickets for longest takes no more, if there are too many.
    fn make_room(&mut self) {
        if self.takers.len() < TAKERS {
            return;
        }
        if let Some((slot, generation)) = self.takers.pop_front()
            && let Some(session) = self.find(slot, generation)
        {
            session.tickets = None;
        }
    }

    /// Forgets a session's secrets.
    pub(crate) fn forget(&mut self, slot: SlotIndex, generation: u16) {
        self.takers.retain(|taker| *taker != (slot, generation));
        if let Some(place) = self.table.get_mut(usize::from(slot)) {
            place.take_if(|session| session.generation == generation);
        }
    }

    /// What the record layer is to do. A session that is not known here began
    /// before this component did: it goes on without new keys.
    pub(crate) fn answer(&mut self, asked: &PostHandshake, now: Instant) -> Request {
        use PostHandshake::{Message, RekeyDue};
        let (Message { generation, .. } | RekeyDue { generation, .. }) = asked;
        let answer = self
            .answer_known(asked, now)
            .unwrap_or_else(|| match asked {
                Message { message, .. } if message.first() == Some(&NEW_SESSION_TICKET) => {
                    Answer::Proceed
                }
                _ => refuse(Alert::INTERNAL_ERROR),
            });
        answer.into_request(*generation)
    }

    fn answer_known(&mut self, asked: &PostHandshake, now: Instant) -> Option<Answer> {
        match asked {
            PostHandshake::Message {
                slot,
                generation,
                message,
            } => {
                let session = self.find(*slot, *generation)?;
                Some(match &message[..] {
                    [KEY_UPDATE, 0, 0, 1, UPDATE_NOT_REQUESTED] => session.rekey(false, true),
                    [KEY_UPDATE, 0, 0, 1, UPDATE_REQUESTED] => session.rekey(true, true),
                    // RFC 8446 §4.6.3: any other value.
                    [KEY_UPDATE, 0, 0, 1, _] => refuse(Alert::ILLEGAL_PARAMETER),
                    [KEY_UPDATE, ..] => refuse(Alert::DECODE_ERROR),
                    [NEW_SESSION_TICKET, _, _, _, ticket @ ..] => session.take_ticket(ticket, now),
                    _ => refuse(Alert::UNEXPECTED_MESSAGE),
                })
            }
            PostHandshake::RekeyDue { slot, generation } => {
                Some(self.find(*slot, *generation)?.rekey(true, false))
            }
        }
    }

    fn find(&mut self, slot: SlotIndex, generation: u16) -> Option<&mut Session> {
        self.table
            .get_mut(usize::from(slot))?
            .as_mut()
            .filter(|session| session.generation == generation)
    }
}

impl Session {
    /// Keeps a ticket for a later session with the same server.
    fn take_ticket(&mut self, ticket: &[u8], now: Instant) -> Answer {
        let Some(tickets) = &mut self.tickets else {
            return match self.role {
                // To a server none is sent.
                Role::Server => refuse(Alert::UNEXPECTED_MESSAGE),
                // It was asked not to resume, or has had its tickets.
                Role::Client => Answer::Proceed,
            };
        };
        match tickets.take(ticket, now) {
            Ok(()) => Answer::Proceed,
            Err(alert) => refuse(alert),
        }
    }

    /// New keys out (announced to the peer by a KeyUpdate with update_not_requested) and
    /// in.
    fn rekey(&mut self, out: bool, inward: bool) -> Answer {
        let peer = match self.role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        let rx = inward.then(|| self.secrets.update(peer));
        let tx = out.then(|| self.secrets.update(self.role));
        let message: &[u8] = match out {
            true => &[KEY_UPDATE, 0, 0, 1, UPDATE_NOT_REQUESTED],
            false => &[],
        };
        let (Some(rx), Some(tx), Ok(message)) = (made(rx), made(tx), Bytes::from_slice(message))
        else {
            return refuse(Alert::INTERNAL_ERROR);
        };
        Answer::Rekey { message, tx, rx }
    }
}

/// `None` when a key was to be made and was not.
fn made(key: Option<Option<TrafficKey>>) -> Option<Option<TrafficKey>> {
    match key {
        None => Some(None),
        Some(key) => key.map(Some),
    }
}

fn refuse(alert: Alert) -> Answer {
    Answer::Refuse(alert)
}

/// The message to the record layer, without the session that is meant.
#[expect(
    clippy::large_enum_variant,
    reason = "on the stack of one call, not in tables"
)]
enum Answer {
    Rekey {
        message: Bytes<64>,
        tx: Option<TrafficKey>,
        rx: Option<TrafficKey>,
    },
    Refuse(Alert),
    Proceed,
}

impl Answer {
    fn into_request(self, generation: u16) -> Request {
        match self {
            Self::Rekey { message, tx, rx } => Request::Rekey {
                generation,
                message,
                tx,
                rx,
            },
            Self::Refuse(alert) => Request::Refuse {
                generation,
                alert: alert.0,
            },
            Self::Proceed => Request::Proceed { generation },
        }
    }
}
