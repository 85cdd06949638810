//! Messages that no honest application sends.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../../ipc/tests/noise/mod.rs"]
mod noise;

use ipc::badge::Badge;
use ipc::bounded::{List, Text};
use ipc::channel::SlotIndex;
use ipc::channel::local::{LocalDoorbell, Silent, pair};
use ipc::clock::{Clock, Instant};
use ipc::control::{
    Answer, Control, HandshakeError, HandshakeId, HandshakeRequest, Parameters, Request, Standing,
};
use ipc::handshake::{Completion, CompletionQueue, Directive};
use ipc::mailbox::Mailbox;
use ipc::net::{self, ConnectionId, Net, TcpPosition};
use ipc::provision::{ClientRights, ShimRights};
use ipc::record::Record;
use ipc::stats;
use ipc::tls::{Mode, PeerAuthentication};
use ipc::transport::{Client, MAX_MESSAGE, Protocol, Transport, TransportError, decode, dispatch};
use kernel_shim::{Application, Ports, Rights, Server, Windows};
use noise::{Sufferer, storm};
use tls::{Role, Version};

type Bell = LocalDoorbell<Silent>;
type Reply = Result<Answer, HandshakeError>;

const POSITION: TcpPosition = TcpPosition {
    tx_next: 1000,
    rx_next: 2000,
};

/// A network stack and a record layer that say yes.
struct Willing;

struct WillingNet;

impl Transport for WillingNet {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        Ok(dispatch::<Net>(request, reply, |request| match request {
            net::Request::Move { .. } => Ok(net::Answer::Moved { position: POSITION }),
            _ => Ok(net::Answer::Done),
        }))
    }
}

impl Transport for Willing {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        Ok(dispatch::<Record>(request, reply, |_| {
            Ok(ipc::record::Answer::Done)
        }))
    }
}

impl Windows for Willing {
    fn grant_install(&mut self, _: SlotIndex, _: Badge) {}
    fn revoke_install(&mut self, _: SlotIndex) {}
    fn grant_session(&mut self, _: u16, _: SlotIndex, _: Badge) {}
    fn revoke_session(&mut self, _: u16, _: SlotIndex) {}
}

struct Still;

impl Clock for Still {
    fn now(&self) -> Instant {
        Instant::from_millis(100)
    }
    fn unix_seconds(&self) -> u64 {
        0
    }
}

struct World {
    shim: Server<'static, WillingNet, Willing, Bell, Silent, Willing, Still>,
    offload: CompletionQueue<Bell>,
    started: Vec<HandshakeId>,
}

impl World {
    fn ask(&mut self, request: &Request) -> Reply {
        let message = postcard::to_allocvec(request).unwrap();
        let mut reply = [0; MAX_MESSAGE];
        let length = self.serve(request, &message, &mut reply);
        decode::<<Control as Protocol>::Reply>(&reply[..length]).unwrap()
    }

    fn is_started(&mut self) -> bool {
        let answer = self.ask(&Request::StartHandshake(request()));
        self.look(&answer);
        matches!(answer, Ok(Answer::Started(_)))
    }

    /// Cancels all that was started; the offload component takes its directives.
    fn cancel(&mut self) {
        for id in self.started.drain(..).collect::<Vec<_>>() {
            // A message may have cancelled it already.
            let _ = self.ask(&Request::Cancel(id));
        }
        while let Some(directive) = self.offload.receive() {
            if let Ok(Directive::Start(start)) = directive {
                let completion = Completion::Failed {
                    slot: start.slot,
                    generation: start.generation,
                    error: HandshakeError::Cancelled,
                    cause: None,
                };
                self.offload.send(&completion).unwrap();
            }
        }
        self.shim.run();
        while !matches!(self.ask(&Request::CollectAny), Ok(Answer::NothingCompleted)) {}
    }
}

impl Sufferer for World {
    type Protocol = Control;

    fn serve(&mut self, _: &Request, message: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> usize {
        self.shim.serve(Badge::Client(1).to_word(), message, reply)
    }

    fn look(&mut self, answer: &Reply) {
        if let Ok(Answer::Started(id)) = answer {
            self.started.push(*id);
            if self.started.len() > 2 {
                self.cancel();
            }
        }
    }

    fn recover(&mut self) {
        self.cancel();
        assert!(matches!(self.ask(&Request::Subscribe), Ok(Answer::Done)));
        assert!(self.is_started());
        self.cancel();
        self.started = Vec::with_capacity(4);
    }
}

fn request() -> HandshakeRequest {
    HandshakeRequest {
        connection: ConnectionId(77),
        role: Role::Server,
        mode: Mode::Autonomous,
        parameters: Box::new(Parameters {
            versions: List::from_items([Version::Tls13]).unwrap(),
            suites: List::new(),
            groups: List::new(),
            keyrings: List::from_items([Text::from_text("web").unwrap()]).unwrap(),
            peer_authentication: PeerAuthentication::None,
            server_name: Some(Text::from_text("example.org").unwrap()),
            alpn: List::new(),
            segment_size: 1400,
            resumption: false,
            expose_keys: false,
            allow_static_rsa: false,
            peer_schemes: List::new(),
        }),
        tcp_sequence: None,
        deadline: Instant::from_millis(10_000),
        group: 0,
        standing: Standing::New,
    }
}

#[test]
fn malformed_messages_get_an_answer_and_cost_nobody_else_anything() {
    let (shim_side, offload) = pair(4, 1024, 1024, Silent, Silent);
    let (forget, _forgotten) = pair(4, 64, 64, Silent, Silent);
    let (orders, _director) = pair(4, 1024, 64, Silent, Silent);
    let stats: &'static stats::Page = Box::leak(Box::default());
    let rights = ClientRights {
        client: 1,
        keyrings: vec![Text::from_text("web").unwrap()],
        roles: vec![Role::Server, Role::Client],
        modes: vec![Mode::Autonomous, Mode::Directed],
        expose_keys: true,
        static_rsa: true,
        audit: false,
        refused_steps: Vec::new(),
    };
    let ports = Ports {
        net: Client::new(WillingNet),
        record: Client::new(Willing),
        offload: Mailbox::new(shim_side),
        forget: Mailbox::new(forget),
        director: Some(Mailbox::new(orders)),
        applications: vec![Application {
            client: 1,
            bell: Silent,
            handshakes: 4,
            sessions: 4,
        }],
        windows: Willing,
        stats,
    };
    let mut world = World {
        shim: Server::new(ports, Rights::new(ShimRights(vec![rights])), Still),
        offload: Mailbox::new(offload),
        started: Vec::new(),
    };
    world.recover();
    storm(&mut world, [Request::StartHandshake(request())]);
}
