//! The shim, with the offload component and the record layer behind it, as the test
//! plays them: tables of the shipped sizes, results when the test says.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use ipc::bounded::Text;
use ipc::clock::Instant;
use ipc::control::{
    Answer, Control, Established, HandshakeError, HandshakeId, HandshakeRequest, Request,
    RequestError, Resource, SessionId, SessionResult, Standing,
};
use ipc::net::{ConnectionId, TcpPosition};
use ipc::transport::{MAX_MESSAGE, dispatch};
use tls::{CipherSuite, Role, Version};

use super::net::{Net, State};
use super::{Side, Sizes};

struct Handshake {
    request: HandshakeRequest,
    session: u16,
    /// Its peer has shown a whole ClientHello.
    has_spoken: bool,
    is_over: bool,
    order: u64,
}

pub(crate) struct Shim {
    sizes: Sizes,
    net: Rc<RefCell<Net>>,
    plain: Rc<RefCell<Side>>,
    handshakes: Vec<Option<Handshake>>,
    generation: u32,
    sessions: Vec<Option<ConnectionId>>,
    over: VecDeque<(HandshakeId, Result<u16, HandshakeError>)>,
    /// A result is there that was not signalled yet.
    pub(crate) has_rung: bool,
    order: u64,
    /// Handshakes that gave way, before their result was collected.
    pub(crate) displaced: usize,
    /// Does not do what `Displace` asks for.
    pub(crate) is_deaf: bool,
    /// How often it was asked to make room.
    pub(crate) asked: usize,
    /// How many were asked for and not collected, at the most.
    pub(crate) most_displaced: usize,
}

impl Shim {
    pub(crate) fn new(sizes: Sizes, net: Rc<RefCell<Net>>, plain: Rc<RefCell<Side>>) -> Self {
        Self {
            sizes,
            net,
            plain,
            handshakes: (0..sizes.handshakes).map(|_| None).collect(),
            generation: 0,
            sessions: vec![None; usize::from(sizes.sessions)],
            over: VecDeque::new(),
            has_rung: false,
            order: 0,
            displaced: 0,
            is_deaf: false,
            asked: 0,
            most_displaced: 0,
        }
    }

    /// Handshakes in progress.
    pub(crate) fn in_progress(&self) -> usize {
        self.handshakes
            .iter()
            .flatten()
            .filter(|h| !h.is_over)
            .count()
    }

    pub(crate) fn has_session(&self, slot: u16) -> bool {
        self.sessions[usize::from(slot)].is_some()
    }

    pub(crate) fn sessions(&self) -> usize {
        self.sessions.iter().flatten().count()
    }

    fn of(&mut self, connection: ConnectionId) -> Option<(usize, &mut Handshake)> {
        let mut places = self.handshakes.iter_mut().enumerate();
        places.find_map(|(place, found)| {
            let found = found.as_mut()?;
            (found.request.connection == connection && !found.is_over).then_some((place, found))
        })
    }

    /// Whether the handshake of a connection is in progress.
    pub(crate) fn has(&mut self, connection: ConnectionId) -> bool {
        self.of(connection).is_some()
    }

    /// How the gateway asked for the handshake of a connection.
    pub(crate) fn standing(&mut self, connection: ConnectionId) -> Option<Standing> {
        let found = self.of(connection);
        found.map(|(_, handshake)| handshake.request.standing)
    }

    /// When the handshake of a connection must be over.
    pub(crate) fn deadline(&mut self, connection: ConnectionId) -> Option<Instant> {
        let found = self.of(connection);
        found.map(|(_, handshake)| handshake.request.deadline)
    }

    /// The peer shows a whole ClientHello.
    pub(crate) fn speak(&mut self, connection: ConnectionId) -> bool {
        let found = self.of(connection);
        found
            .map(|(_, handshake)| handshake.has_spoken = true)
            .is_some()
    }

    /// The connections of handshakes as client, in progress.
    pub(crate) fn to_backends(&self) -> Vec<ConnectionId> {
        let handshakes = self.handshakes.iter().flatten();
        let of_client = handshakes.filter(|h| h.request.role == Role::Client && !h.is_over);
        of_client.map(|h| h.request.connection).collect()
    }

    fn id(&self, place: usize) -> HandshakeId {
        HandshakeId(u32::try_from(place).unwrap() | self.generation << 16)
    }

    /// The handshake is done; the session's slot.
    pub(crate) fn establish(&mut self, connection: ConnectionId) -> Option<u16> {
        let (place, handshake) = self.of(connection)?;
        handshake.is_over = true;
        let session = handshake.session;
        self.plain.borrow_mut().open(session);
        self.finish(place, Ok(session));
        Some(session)
    }

    pub(crate) fn fail(&mut self, connection: ConnectionId, error: HandshakeError) {
        let (place, handshake) = self.of(connection).unwrap();
        handshake.is_over = true;
        let session = handshake.session;
        self.sessions[usize::from(session)] = None;
        self.net.borrow_mut().leave(connection, State::Released);
        self.finish(place, Err(error));
    }

    fn finish(&mut self, place: usize, outcome: Result<u16, HandshakeError>) {
        let id = self.id(place);
        self.over.push_back((id, outcome));
        self.has_rung = true;
    }

    fn start(&mut self, request: HandshakeRequest) -> Result<Answer, HandshakeError> {
        let full = HandshakeError::Resource;
        let place = self.handshakes.iter().position(Option::is_none);
        let place = place.ok_or(full(Resource::Handshakes))?;
        let session = self.sessions.iter().position(Option::is_none);
        let session = session.ok_or(full(Resource::Sessions))?;
        let connection = request.connection;
        match self.net.borrow().state(connection) {
            State::Accepted | State::Attached(_) => {}
            _ => return Err(HandshakeError::Request(RequestError::Connection)),
        }
        self.net.borrow_mut().leave(connection, State::Moved);
        self.sessions[session] = Some(connection);
        self.order += 1;
        self.handshakes[place] = Some(Handshake {
            request,
            session: u16::try_from(session).unwrap(),
            has_spoken: false,
            is_over: false,
            order: self.order,
        });
        Ok(Answer::Started(self.id(place)))
    }

    fn displace(&mut self, group: Option<u32>) {
        self.asked += 1;
        if self.is_deaf {
            return;
        }
        let handshakes = self.handshakes.iter().flatten();
        let silent = handshakes.filter(|h| {
            let is_asked_for = group.is_none_or(|group| h.request.group == group);
            h.request.role == Role::Server && !h.has_spoken && !h.is_over && is_asked_for
        });
        let oldest = silent.min_by_key(|h| h.order).map(|h| h.request.connection);
        if let Some(connection) = oldest {
            self.displaced += 1;
            self.most_displaced = self.most_displaced.max(self.displaced);
            self.fail(connection, HandshakeError::Resource(Resource::Displaced));
        }
    }

    fn collect(&mut self) -> Answer {
        let Some((id, outcome)) = self.over.pop_front() else {
            return Answer::NothingCompleted;
        };
        let handshake = self.handshakes[(id.0 & 0xffff) as usize].take().unwrap();
        match outcome {
            Ok(slot) => Answer::Established(
                id,
                SessionResult {
                    session: SessionId(handshake.order),
                    slot,
                    established: Box::new(established()),
                    shim_wakeups: 0,
                    tcp: TcpPosition::default(),
                    started: Instant::default(),
                    completed: Instant::default(),
                },
            ),
            Err(error) => {
                if error == HandshakeError::Resource(Resource::Displaced) {
                    self.displaced -= 1;
                }
                Answer::Failed(id, error.into())
            }
        }
    }

    pub(crate) fn serve(&mut self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> usize {
        dispatch::<Control>(request, reply, |request| match request {
            Request::Begin | Request::Subscribe => Ok(Answer::Done),
            Request::StartHandshake(request) => self.start(request),
            Request::CollectAny => Ok(self.collect()),
            Request::Cancel(id) => {
                let found = self.handshakes[(id.0 & 0xffff) as usize].as_ref();
                let found = found.filter(|found| !found.is_over);
                let connection = found.map(|found| found.request.connection);
                if let Some(connection) = connection {
                    self.fail(connection, HandshakeError::Cancelled);
                }
                Ok(Answer::Done)
            }
            Request::Displace { group } => {
                self.displace(group);
                Ok(Answer::Done)
            }
            other => panic!("this shim has no answer to {other:?}"),
        })
    }

    pub(crate) fn serve_session(
        &mut self,
        slot: u16,
        request: &[u8],
        reply: &mut [u8; MAX_MESSAGE],
    ) -> usize {
        dispatch::<Control>(request, reply, |request| {
            assert_eq!(request, Request::CloseSession);
            if let Some(connection) = self.sessions[usize::from(slot)].take() {
                self.net.borrow_mut().leave(connection, State::Released);
                self.plain.borrow_mut().close(slot);
            }
            Ok(Answer::Done)
        })
    }
}

fn established() -> Established {
    Established {
        version: Version::Tls13,
        suite: CipherSuite::Aes128GcmSha256,
        group: None,
        sequence: (0, 0),
        key_check: None,
        keys: None,
        peer: None,
        alpn: None,
        server_name: None,
        keyring: Text::from_text("web").unwrap(),
        resumed: false,
        peer_scheme: None,
        tcp: TcpPosition::default(),
        first_byte: Instant::default(),
        installed: Instant::default(),
    }
}
