//! A real shim and a real director between the test and the offload component.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use ipc::badge::Badge;
use ipc::bounded::Text;
use ipc::channel::SlotIndex;
use ipc::channel::local::Silent;
use ipc::channel::local::pair;
use ipc::clock::Instant;
use ipc::control::{
    Answer, Control, Failure, HandshakeError, HandshakeId, HandshakeRequest, Parameters, Request,
    Standing,
};
use ipc::director::SegmentQueue;
use ipc::handshake::{Completion, DirectiveQueue, ForgetQueue};
use ipc::mailbox::Mailbox;
use ipc::net::{self, ConnectionId, Net, TcpPosition};
use ipc::provision::{ClientRights, RefusedSteps, ShimRights};
use ipc::record::{self, Record};
use ipc::tls::Mode;
use ipc::transport::{Client, MAX_MESSAGE, Protocol, Transport, TransportError, decode, dispatch};
use kernel_shim::{Application, Ports, Rights, Server, Windows};
use tls::Role;

use super::{Bell, Now, POSITION};

type Reply = Result<Answer, HandshakeError>;

/// Bytes of each connection that were taken from it.
type Taken = Rc<RefCell<HashMap<ConnectionId, u32>>>;

/// A network stack that counts what is taken from it, and accepts what was sent (its
/// segments are checked elsewhere).
struct Stack(Taken);

impl Transport for Stack {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        Ok(dispatch::<Net>(request, reply, |request| match request {
            net::Request::Move {
                connection,
                expected_tx_next,
                ..
            } => {
                let taken = *self.0.borrow().get(&connection).unwrap_or(&0);
                let position = TcpPosition {
                    tx_next: expected_tx_next.unwrap_or(POSITION.tx_next),
                    rx_next: POSITION.rx_next.wrapping_add(taken),
                };
                Ok(net::Answer::Moved { position })
            }
            _ => Ok(net::Answer::Done),
        }))
    }
}

struct Slots;

impl Transport for Slots {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        Ok(dispatch::<Record>(request, reply, |_| {
            Ok(record::Answer::Done)
        }))
    }
}

/// Session capabilities go to the test.
#[derive(Clone, Default)]
struct Nowhere(Rc<RefCell<Vec<Badge>>>);

impl Windows for Nowhere {
    fn grant_install(&mut self, _: SlotIndex, _: Badge) {}
    fn revoke_install(&mut self, _: SlotIndex) {}
    fn grant_session(&mut self, _: u16, _: SlotIndex, badge: Badge) {
        self.0.borrow_mut().push(badge);
    }
    fn revoke_session(&mut self, _: u16, _: SlotIndex) {}
}

type Shim = Server<'static, Stack, Slots, Bell, Silent, Nowhere, Now>;

pub struct Director {
    shim: Shim,
    director: director::Server<'static, Bell, Bell, Now>,
    taken: Taken,
    started: HashMap<HandshakeId, SlotIndex>,
    sessions: Nowhere,
}

thread_local! {
    static AUDIT: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Lines of the audit log since the last call.
pub fn audit() -> Vec<String> {
    AUDIT.with(|lines| std::mem::take(&mut *lines.borrow_mut()))
}

fn audited() -> usize {
    AUDIT.with(|lines| lines.borrow().len())
}

const CLIENT: Badge = Badge::Client(1);

impl Director {
    pub fn new<'a>(
        (offload, forget, segments): (DirectiveQueue<Bell>, ForgetQueue<Bell>, SegmentQueue<Bell>),
        labels: impl Iterator<Item = &'a str>,
        slots: u16,
        refused_steps: Vec<RefusedSteps>,
    ) -> Self {
        let taken = Taken::default();
        let rights = ClientRights {
            client: 1,
            keyrings: labels.map(|l| Text::from_text(l).unwrap()).collect(),
            roles: vec![Role::Server, Role::Client],
            modes: vec![Mode::Directed],
            expose_keys: true,
            static_rsa: true,
            audit: true,
            refused_steps,
        };
        let sessions = Nowhere::default();
        let (orders, inbox) = pair(slots, 1024, 64, Silent, Silent);
        let director = director::Ports {
            shim: Mailbox::new(inbox),
            offload: segments,
            slots,
            audit: |line| AUDIT.with(|lines| lines.borrow_mut().push(line.to_string())),
            heap_used: || 0,
            stats: Box::leak(Box::default()),
        };
        let ports = Ports {
            net: Client::new(Stack(taken.clone())),
            record: Client::new(Slots),
            offload,
            forget,
            applications: vec![Application {
                client: 1,
                bell: Silent,
                handshakes: slots,
                sessions: slots.max(8),
            }],
            windows: sessions.clone(),
            director: Some(Mailbox::new(orders)),
            stats: Box::leak(Box::default()),
        };
        let rights = Rights::new(ShimRights(vec![rights]));
        Self {
            shim: Server::new(ports, rights, Now),
            director: director::Server::new(director, Now),
            taken,
            started: HashMap::new(),
            sessions,
        }
    }

    /// The application closes all its sessions.
    pub fn close_sessions(&mut self) {
        let sessions = core::mem::take(&mut *self.sessions.0.borrow_mut());
        for session in sessions {
            let closed = self.call_as(session, &Request::CloseSession);
            assert!(matches!(closed, Ok(Answer::Done)));
        }
    }

    /// Takes verdicts; true if there was one.
    pub fn run(&mut self) -> bool {
        let before = audited();
        self.shim.run();
        while self.director.run() {}
        audited() > before
    }

    /// Starts a handshake, which gets `slot`.
    pub fn start(&mut self, slot: SlotIndex, role: Role, parameters: Parameters) {
        self.set_taken(slot, 0);
        let request = HandshakeRequest {
            connection: ConnectionId(slot.into()),
            role,
            mode: Mode::Directed,
            parameters: Box::new(parameters),
            tcp_sequence: None,
            deadline: Instant::NEVER,
            group: 0,
            standing: Standing::New,
        };
        match self.call(&Request::StartHandshake(request)) {
            Ok(Answer::Started(id)) => {
                assert_eq!(id.0 & 0xffff, u32::from(slot), "another slot is free");
                self.started.insert(id, slot);
            }
            Ok(_) => panic!("another answer"),
            Err(error) => panic!("not started: {error:?}"),
        }
    }

    /// So many bytes of the connection in `slot` are taken.
    pub fn set_taken(&mut self, slot: SlotIndex, bytes: u32) {
        let connection = ConnectionId(slot.into());
        self.taken.borrow_mut().insert(connection, bytes);
    }

    pub fn completion(&mut self) -> Option<Completion> {
        let (id, result) = match self.call(&Request::CollectAny) {
            Ok(Answer::Established(id, result)) => (id, Ok(result.established)),
            Ok(Answer::Failed(id, failure)) => (id, Err(failure)),
            _ => return None,
        };
        let slot = self.started.remove(&id).unwrap();
        let generation = 1;
        Some(match result {
            Ok(established) => Completion::Established {
                slot,
                generation,
                established,
            },
            Err(Failure { error, cause }) => Completion::Failed {
                slot,
                generation,
                error,
                cause,
            },
        })
    }

    fn call(&mut self, request: &Request) -> Reply {
        self.call_as(CLIENT, request)
    }

    fn call_as(&mut self, badge: Badge, request: &Request) -> Reply {
        let request = postcard::to_allocvec(request).unwrap();
        let mut reply = [0; MAX_MESSAGE];
        let length = self.shim.serve(badge.to_word(), &request, &mut reply);
        decode::<<Control as Protocol>::Reply>(&reply[..length]).unwrap()
    }
}
