//! Messages that no honest shim and no honest offload component sends.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../../ipc/tests/noise/mod.rs"]
mod noise;

use ipc::badge::Badge;
use ipc::bounded::{Blob, Bytes};
use ipc::channel::local::{LocalDoorbell, Silent, pair};
use ipc::clock::Instant;
use ipc::queue::Queue;
use ipc::record::{Answer, Record, RecordError, Request};
use ipc::stats;
use ipc::transport::{MAX_MESSAGE, Protocol, decode};
use noise::{Sufferer, storm};
use record_server::{Limits, Ports, Server};
use tls::{CipherSuite, Exporter, RecordLimit, Role, Secret, TrafficKey};

type Bell = LocalDoorbell<Silent>;

const SLOTS: u16 = 2;
const SESSION: Badge = Badge::Session {
    slot: 1,
    generation: 3,
};

struct World(Server<'static, Bell, Bell, Bell>);

impl World {
    fn ask(&mut self, badge: Badge, request: &Request) -> Result<Answer, RecordError> {
        let message = postcard::to_allocvec(request).unwrap();
        let mut reply = [0; MAX_MESSAGE];
        let length = self
            .0
            .serve(badge.to_word(), &message, &mut reply, Instant::default());
        decode::<<Record as Protocol>::Reply>(&reply[..length]).unwrap()
    }
}

impl Sufferer for World {
    type Protocol = Record;

    fn serve(&mut self, valid: &Request, message: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> usize {
        let badge = match valid.is_for_control() {
            true => Badge::Control,
            false => SESSION,
        };
        self.0
            .serve(badge.to_word(), message, reply, Instant::default())
    }

    fn recover(&mut self) {
        for slot in 0..SLOTS {
            // A slot without a session stays without.
            let generation = 2;
            let close = Request::Close { slot, generation };
            assert_eq!(self.ask(Badge::Control, &close), Ok(Answer::Done));
        }
        assert_eq!(self.ask(SESSION, &install()), Ok(Answer::Done));
    }
}

fn exporter() -> Exporter {
    Exporter::tls13(Secret::from_slice(&[3; 32]).unwrap())
}

fn key() -> TrafficKey {
    TrafficKey {
        key: Secret::from_slice(&[1; 16]).unwrap(),
        iv: Secret::from_slice(&[2; 12]).unwrap(),
        sequence: 0,
    }
}

fn install() -> Request {
    Request::Install {
        generation: 3,
        role: Role::Server,
        suite: CipherSuite::Aes128GcmSha256,
        tx: key(),
        rx: key(),
        record_limit: RecordLimit::NONE,
        exporter: exporter(),
    }
}

#[test]
fn malformed_messages_get_an_answer_and_cost_nobody_else_anything() {
    let (_net, net) = pair(SLOTS, 32768, 16384, Silent, Silent);
    let (_app, app) = pair(SLOTS, 16384, 16384, Silent, Silent);
    let (_offload, offload) = pair(1, 65536, 65536, Silent, Silent);
    let stats: &'static stats::Page = Box::leak(Box::default());
    let ports = Ports {
        net,
        app: app.into(),
        offload: Queue::new(offload),
        stats,
    };
    let mut world = World(Server::new(ports, Limits::default()));
    world.recover();
    let rekey = Request::Rekey {
        generation: 3,
        message: Bytes::from_slice(&[24, 0, 0, 1, 0]).unwrap(),
        tx: Some(key()),
        rx: Some(key()),
    };
    let valid = [
        Request::Close {
            slot: 1,
            generation: 2,
        },
        rekey,
        Request::KeepCertificate {
            part: Blob::from_slice(&[6; 800]).unwrap(),
        },
    ];
    storm(&mut world, valid);
}
