//! Messages between domains that the seeds are made of.

use ipc::bounded::{Blob, Bytes, List, Text};
use ipc::clock::Instant;
use ipc::control::{self, Cause, HandshakeError, PeerError};
use ipc::director::{DirectedSegment, DirectedVerdict, Order};
use ipc::handshake::{Completion, Directive, Origin, Start};
use ipc::keystore::{self, KeyKind, KeyringIndex, ToBeSigned};
use ipc::net;
use ipc::provision::{Crls, Keyring, Keyrings, PrivateKey};
use ipc::record::PostHandshake;
use ipc::sample::{Sampled, variants};
use ipc::segment::{Fill, Hole, Segment, Step, Template, Verdict};
use ipc::tls::Mode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tls::{Alert, Group, Role, Scheme};

use crate::wire::world::{key_of, parameters};

pub(super) fn encoded(message: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(message).expect("an encoding")
}

/// Behind its length in two bytes.
pub(super) fn vector(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a short input");
    [&length.to_be_bytes()[..], bytes].concat()
}

/// The samples of a protocol, each after its number among them, by the name of its variant.
pub(super) fn of_protocol<T: Sampled + Serialize + DeserializeOwned>(
    which: u8,
    protocol: &'static str,
) -> impl Iterator<Item = (String, Vec<u8>)> {
    T::samples().into_iter().map(move |(message, _)| {
        let bytes = encoded(&message);
        let variant = variants::<T>()[usize::from(bytes[0])].to_lowercase();
        (
            format!("{protocol}-{variant}"),
            [vec![which], bytes].concat(),
        )
    })
}

pub(super) fn segment(segment: &Segment) -> Vec<u8> {
    [vec![1], encoded(segment)].concat()
}

pub(super) fn write() -> Segment {
    let share = Fill::KeyShare(Group::X25519);
    Segment::Write(Template {
        message: Blob::from_slice(&[12, 0, 0, 0, 3, 0, 0x1d]).expect("a template"),
        holes: List::from_items([Hole {
            offset: 7,
            prefix: 1,
            fill: share,
        }])
        .expect("one hole"),
    })
}

pub(super) fn sign() -> keystore::Request {
    keystore::Request::Sign {
        keyring: KeyringIndex(0),
        scheme: Scheme::EcdsaSecp256r1Sha256,
        to_be_signed: ToBeSigned::Tls13CertificateVerify {
            role: Role::Server,
            transcript_hash: Bytes::from_slice(&[5; 32]).expect("a hash"),
        },
    }
}

pub(super) fn direct() -> Directive {
    Directive::Start(Start {
        slot: 0,
        generation: 1,
        session: 0,
        session_generation: 9,
        mode: Mode::Directed,
        role: Role::Server,
        origin: Origin {
            client: 1,
            group: 0,
            deadline: Instant::NEVER,
            standing: control::Standing::New,
        },
        parameters: Box::new(parameters(&["web"])),
        position: net::TcpPosition::default(),
    })
}

pub(super) fn failed() -> Completion {
    Completion::Failed {
        slot: 0,
        generation: 1,
        error: HandshakeError::Peer(PeerError::AlertSent(Alert::DECODE_ERROR)),
        cause: Some(Cause::CertificateMalformed),
    }
}

pub(super) fn order() -> Order {
    let refused = [(0, Step::Sign), (1, Step::Random)];
    Order::Begin {
        slot: 0,
        generation: 1,
        role: Role::Server,
        parameters: Box::new(parameters(&["web"])),
        refused: List::from_items(refused).expect("two steps"),
        is_audited: true,
    }
}

pub(super) fn directed_segment() -> DirectedSegment {
    DirectedSegment {
        slot: 0,
        generation: 1,
        segment: write(),
    }
}

pub(super) fn directed_verdict() -> DirectedVerdict {
    DirectedVerdict {
        slot: 0,
        generation: 1,
        verdict: Verdict::Refused(Alert::ILLEGAL_PARAMETER),
    }
}

pub(super) fn post_handshake() -> PostHandshake {
    PostHandshake::Message {
        slot: 0,
        generation: 1,
        message: Blob::from_slice(&[24, 0, 0, 1, 0]).expect("a message"),
    }
}

pub(super) fn rings() -> Keyrings {
    let kind = KeyKind::EcdsaP256;
    Keyrings(vec![Keyring {
        label: Text::from_text("web").expect("a label"),
        roles: vec![Role::Server],
        decrypts: false,
        schemes: List::new(),
        key: Some(PrivateKey {
            kind,
            pkcs8: key_of(kind).serialize_der(),
        }),
        chain: vec![vec![7; 10]],
        trust: vec![vec![9; 10]],
        crls: Crls::default(),
        ocsp: None,
    }])
}
