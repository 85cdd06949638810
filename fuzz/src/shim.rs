//! The shim's state machines of directed mode: the input is what the offload
//! component says of the peer.

use ipc::badge::Badge;
use ipc::bounded::{Blob, List, Text};
use ipc::channel::SlotIndex;
use ipc::channel::local::{LocalDoorbell, Silent, pair};
use ipc::clock::Instant;
use ipc::control::{Answer, Control, HandshakeError, HandshakeRequest, Request, Standing};
use ipc::handshake::{Completion, CompletionQueue, Directive};
use ipc::keystore::KeyKind;
use ipc::mailbox::Mailbox;
use ipc::net::{self, ConnectionId, Net, TcpPosition};
use ipc::provision::{ClientRights, ShimRights};
use ipc::record::Record;
use ipc::segment::{MAX_PART, Segment, Ticket, Verdict};
use ipc::stats;
use ipc::tls::{Mode, PeerAuthentication};
use tls::{Alert, CipherSuite, Role};
use ipc::transport::{Client, MAX_MESSAGE, Protocol, Transport, TransportError, decode, dispatch};
use kernel_shim::{Application, Ports, Rights, Server, Windows};

use crate::bytes::Bytes;
use crate::wire::world::{Now, parameters};

const RINGS: [&str; 2] = ["web", "other"];

type Bell = LocalDoorbell<Silent>;
type Shim<'a> = Server<'a, Stack, Slots, Bell, Silent, Nowhere, Now>;

/// A network stack that does what it is asked.
struct Stack;

impl Transport for Stack {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        Ok(dispatch::<Net>(request, reply, |request| match request {
            net::Request::Move { .. } => Ok(net::Answer::Moved {
                position: TcpPosition::default(),
            }),
            _ => Ok(net::Answer::Done),
        }))
    }
}

/// A record layer that does.
struct Slots;

impl Transport for Slots {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        Ok(dispatch::<Record>(request, reply, |_| {
            Ok(ipc::record::Answer::Done)
        }))
    }
}

struct Nowhere;

impl Windows for Nowhere {
    fn grant_install(&mut self, _: SlotIndex, _: Badge) {}
    fn revoke_install(&mut self, _: SlotIndex) {}
    fn grant_session(&mut self, _: u16, _: SlotIndex, _: Badge) {}
    fn revoke_session(&mut self, _: u16, _: SlotIndex) {}
}

/// The server's states.
pub fn shim_server(data: &[u8]) {
    drive(Role::Server, data);
}

/// The client's states.
pub fn shim_client(data: &[u8]) {
    drive(Role::Client, data);
}

/// Runs a handshake to its end; returns the name of its last segment.
pub(crate) fn drive(role: Role, data: &[u8]) -> &'static str {
    let stats = stats::Page::default();
    let (ours, theirs) = pair(1, 2048, 2048, Silent, Silent);
    let (forget, _forgotten) = pair(1, 64, 64, Silent, Silent);
    let mut offload: CompletionQueue<Bell> = Mailbox::new(theirs);
    let rights = ClientRights {
        client: 1,
        keyrings: RINGS
            .map(|ring| Text::from_text(ring).expect("a short label"))
            .into(),
        roles: vec![role],
        modes: vec![Mode::Directed],
        expose_keys: false,
        static_rsa: true,
        audit: false,
        refused_steps: Vec::new(),
    };
    let ports = Ports {
        net: Client::new(Stack),
        record: Client::new(Slots),
        offload: Mailbox::new(ours),
        forget: Mailbox::new(forget),
        applications: vec![Application {
            client: 1,
            bell: Silent,
            handshakes: 1,
            sessions: 1,
        }],
        windows: Nowhere,
        audit: |_| {},
        stats: &stats,
    };
    let mut shim = Server::new(ports, Rights::new(ShimRights(vec![rights])), Now);
    let mut bytes = Bytes(data);
    start(&mut shim, role, bytes.byte());
    // Every segment is answered, so that a handshake is bounded by its input:
    // when there is no more of it, its end comes.
    let Some(Ok(Directive::Direct { generation, .. })) = offload.receive() else {
        panic!("no handshake was begun");
    };
    let kinds = [Some(KeyKind::EcdsaP256), Some(KeyKind::Rsa)];
    let rings = List::from_items(kinds).expect("two rings");
    let mut verdict = Verdict::Begun {
        rings,
        authorities: List::from_items([40, 40]).expect("two rings"),
    };
    let last = loop {
        let completion = Completion::Segment {
            slot: 0,
            generation,
            verdict,
        };
        offload.send(&completion).expect("room in the queue");
        shim.run();
        let segment = match offload.receive() {
            Some(Ok(Directive::Segment { segment, .. })) => segment,
            None => panic!("a verdict without a next segment"),
            Some(_) => panic!("something else than a segment"),
        };
        let name = segment.name();
        let error = match segment {
            Segment::Abort { error, .. } => Some(error),
            Segment::Finish(_) => Some(HandshakeError::Cancelled),
            _ if bytes.is_empty() => Some(HandshakeError::Cancelled),
            _ => None,
        };
        if let Some(error) = error {
            let failed = Completion::Failed {
                slot: 0,
                generation,
                error,
            };
            offload.send(&failed).expect("room in the queue");
            shim.run();
            break name;
        }
        verdict = answer(&segment, &mut bytes);
    };
    assert!(matches!(
        call(&mut shim, &Request::CollectAny),
        Ok(Answer::Failed(..))
    ));
    start(&mut shim, role, 0);
    last
}

fn start(shim: &mut Shim<'_>, role: Role, choice: u8) {
    let mut asked = parameters(&RINGS);
    asked.allow_static_rsa = choice & 4 != 0;
    asked.peer_authentication = match choice & 3 {
        0 => PeerAuthentication::Request,
        1 => PeerAuthentication::Require,
        _ => PeerAuthentication::None,
    };
    if role == Role::Client {
        asked.peer_authentication = PeerAuthentication::None;
        asked.server_name = Text::from_text("localhost").ok();
    }
    let request = HandshakeRequest {
        connection: ConnectionId(1),
        role,
        mode: Mode::Directed,
        parameters: Box::new(asked),
        tcp_sequence: None,
        deadline: Instant::NEVER,
        group: 0,
        standing: Standing::New,
    };
    let started = call(shim, &Request::StartHandshake(request));
    assert!(matches!(started, Ok(Answer::Started(_))), "a free slot");
}

fn call(shim: &mut Shim<'_>, request: &Request) -> <Control as Protocol>::Reply {
    let request = postcard::to_allocvec(request).expect("a request");
    let mut reply = [0; MAX_MESSAGE];
    let length = shim.serve(Badge::Client(1).to_word(), &request, &mut reply);
    decode::<<Control as Protocol>::Reply>(&reply[..length]).expect("an answer")
}

/// What fits the segment, where the input does not say otherwise.
fn answer(segment: &Segment, bytes: &mut Bytes<'_>) -> Verdict {
    match segment {
        Segment::Receive { show, .. } => match bytes.byte() {
            254 => Verdict::Refused(Alert(bytes.byte())),
            255 => anything(bytes),
            kind => {
                let body = bytes.vector();
                let most = usize::from(*show).min(MAX_PART);
                message(kind, body.len(), &body[..body.len().min(most)])
            }
        },
        Segment::Show { offset } => {
            let kind = bytes.byte();
            let part = bytes.vector();
            let length = usize::from(*offset) + part.len();
            message(kind, length, &part[..part.len().min(MAX_PART)])
        }
        Segment::FindIdentity { .. } => {
            let named = bytes.byte();
            let named = [named & 1 == 0, named & 2 == 0];
            Verdict::Named(List::from_items(named).expect("two rings"))
        }
        Segment::DecodeCertificate => Verdict::Certificates {
            count: bytes.byte() & 3,
        },
        Segment::TakeTicket | Segment::OpenTicket { .. } => Verdict::Ticket(ticket(bytes)),
        _ => Verdict::Done,
    }
}

fn ticket(bytes: &mut Bytes<'_>) -> Option<Ticket> {
    let choice = bytes.byte();
    let suites = CipherSuite::ALL;
    (choice & 0x80 == 0).then(|| Ticket {
        suite: suites[usize::from(choice) % suites.len()],
        length: u16::from(bytes.byte()),
        session_id: [7; 32],
    })
}

fn anything(bytes: &mut Bytes<'_>) -> Verdict {
    let Ok((verdict, rest)) = postcard::take_from_bytes(bytes.0) else {
        return Verdict::Done;
    };
    bytes.0 = rest;
    verdict
}

fn message(kind: u8, length: usize, part: &[u8]) -> Verdict {
    Verdict::Message {
        kind,
        length: u16::try_from(length).unwrap_or(u16::MAX),
        part: Blob::from_slice(part).expect("a part"),
    }
}
