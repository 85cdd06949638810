//! The director's state machines: the input is what the offload component says of the
//! peer.

use director::{Ports, Server};
use ipc::bounded::{Blob, List, Text};
use ipc::channel::local::{LocalDoorbell, Silent, pair};
use ipc::director::{DirectedVerdict, Order, OrderQueue, RefusedSteps, VerdictQueue};
use ipc::keystore::KeyKind;
use ipc::mailbox::Mailbox;
use ipc::segment::{MAX_PART, Reply, Segment, Ticket, Verdict};
use ipc::stats;
use ipc::tls::PeerAuthentication;
use tls::{Alert, CipherSuite, Role};

use crate::bytes::Bytes;
use crate::wire::world::{Now, parameters};

const RINGS: [&str; 2] = ["web", "other"];
const SLOT: u16 = 0;
const GENERATION: u16 = 1;

type Bell = LocalDoorbell<Silent>;

/// The server's states.
pub fn shim_server(data: &[u8]) {
    drive(Role::Server, data);
}

/// The client's states.
pub fn shim_client(data: &[u8]) {
    drive(Role::Client, data);
}

/// What a client's hello says where no ticket says it.
pub(crate) const SESSION_ID: [u8; 32] = [7; 32];

/// Runs a handshake to its end; returns the name of its last segment.
pub(crate) fn drive(role: Role, data: &[u8]) -> &'static str {
    let stats = stats::Page::default();
    let (orders, inbox) = pair(1, 1024, 64, Silent, Silent);
    let (segments, verdicts) = pair(1, 2048, 2048, Silent, Silent);
    let mut shim: OrderQueue<Bell> = Mailbox::new(orders);
    let mut offload: VerdictQueue<Bell> = Mailbox::new(verdicts);
    let ports = Ports {
        shim: Mailbox::new(inbox),
        offload: Mailbox::new(segments),
        slots: 1,
        audit: |_| {},
        heap_used: || 0,
        stats: &stats,
    };
    let mut director = Server::new(ports, Now);
    let mut bytes = Bytes(data);
    begin(&mut shim, role, bytes.byte());
    // Every segment is answered, so that a handshake is bounded by its input:
    // when there is no more of it, its end comes.
    let kinds = [Some(KeyKind::EcdsaP256), Some(KeyKind::Rsa)];
    let rings = List::from_items(kinds).expect("two rings");
    let mut verdict = Verdict::Begun {
        rings,
        schemes: List::new(),
        authorities: List::from_items([40, 40]).expect("two rings"),
        staples: List::from_items([true, false]).expect("two rings"),
        session_id: SESSION_ID,
    };
    let last = loop {
        let answer_of = DirectedVerdict {
            slot: SLOT,
            generation: GENERATION,
            verdict,
        };
        offload.send(&answer_of).expect("room in the queue");
        director.run();
        let segment = match offload.receive() {
            Some(Ok(step)) => step.segment,
            None => panic!("a verdict without a next segment"),
            Some(Err(_)) => panic!("something else than a segment"),
        };
        let name = segment.facts().name;
        let is_last = matches!(segment, Segment::Abort { .. } | Segment::Finish(_));
        if is_last || bytes.is_empty() {
            break name;
        }
        verdict = answer(&segment, &mut bytes);
    };
    let end = Order::End {
        slot: SLOT,
        generation: GENERATION,
    };
    shim.send(&end).expect("room in the queue");
    director.run();
    begin(&mut shim, role, 0);
    director.run();
    last
}

fn begin(shim: &mut OrderQueue<Bell>, role: Role, choice: u8) {
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
    let begin = Order::Begin {
        slot: SLOT,
        generation: GENERATION,
        role,
        parameters: Box::new(asked),
        refused: RefusedSteps::new(),
        is_audited: false,
    };
    shim.send(&begin).expect("room in the queue");
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
        other => match other.facts().reply {
            Reply::Named => {
                let named = bytes.byte();
                let named = [named & 1 == 0, named & 2 == 0];
                Verdict::Named(List::from_items(named).expect("two rings"))
            }
            Reply::Certificates => Verdict::Certificates {
                count: bytes.byte() & 3,
            },
            Reply::Ticket => Verdict::Ticket(ticket(bytes)),
            Reply::Done | Reply::Completion => Verdict::Done,
            Reply::Message => anything(bytes),
        },
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
