//! As many sessions as the shipped system has, over its channels.
#![allow(dead_code, reason = "no test uses all of it")]

#[path = "../../../ipc/tests/heap/mod.rs"]
pub(crate) mod heap;
pub(crate) mod stream;

use std::sync::Mutex;

use ipc::badge::Badge;
use ipc::bounded::Bytes;
use ipc::channel::local::{LocalChannel, LocalDoorbell, Silent, pair, pair_of};
use ipc::channel::{Pool, Status};
use ipc::clock::Instant;
use ipc::queue::Queue;
use ipc::record::{Answer, PostHandshakeInbox, Record, RecordError, Request};
use ipc::stats;
use ipc::transport::{MAX_MESSAGE, Protocol, decode};
use record_server::{Limits, Ports, Server};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use tls::{CipherSuite, Exporter, RecordLimit, Role, Secret, TrafficKey};

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// The channels of `image/system.toml`.
pub(crate) const SLOTS: u16 = 1536;
const QUEUE: u32 = 64 << 10;

/// Rings of so many KiB from a pool that guarantees each slot 2 KiB, and lends so many MiB.
fn lent(ring: u32, lent: u32) -> (u32, Option<Pool>) {
    let bytes = u32::from(SLOTS) * Pool::LEAST + (lent << 20);
    let guaranteed = Pool::LEAST;
    (ring << 10, Some(Pool { bytes, guaranteed }))
}

/// One test at a time: the heap is counted for all.
pub(crate) static ALONE: Mutex<()> = Mutex::new(());

type Bell = LocalDoorbell<Silent>;

pub(crate) struct World {
    pub(crate) server: Server<'static, Bell, Bell, Bell>,
    pub(crate) net: LocalChannel<Silent>,
    pub(crate) app: LocalChannel<Silent>,
    pub(crate) offload: PostHandshakeInbox<Bell>,
    pub(crate) sealed: Vec<u64>,
    suite: CipherSuite,
    pub(crate) now: Instant,
    /// Bytes of the heap that are the server's.
    pub(crate) before: usize,
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

fn badge(slot: u16) -> Badge {
    Badge::Session {
        slot,
        generation: 1,
    }
}

impl World {
    /// All slots hold a session.
    pub(crate) fn new(suite: CipherSuite, role: Role) -> Self {
        let (net, net_side) = pair_of(SLOTS, lent(32, 3), lent(32, 3), Silent, Silent);
        // The record layer is the first side of this one.
        let (app_side, app) = pair_of(SLOTS, lent(32, 2), lent(16, 2), Silent, Silent);
        let (offload, offload_side) = pair(1, QUEUE, QUEUE, Silent, Silent);
        let offload = Queue::new(offload);
        let stats: &'static stats::Page = Box::leak(Box::default());
        let before = heap::used();
        let ports = Ports {
            net: net_side,
            app: app_side.into(),
            offload: Queue::new(offload_side),
            stats,
        };
        let mut world = Self {
            server: Server::new(ports, Limits::default()),
            net,
            app,
            offload,
            sealed: vec![0; usize::from(SLOTS)],
            suite,
            now: Instant::from_millis(5000),
            before,
        };
        for slot in 0..SLOTS {
            world.net.open(slot);
            world.net.notify(slot);
            let install = Request::Install {
                generation: 1,
                role,
                suite,
                tx: key(),
                rx: key(),
                record_limit: RecordLimit::NONE,
                exporter: exporter(),
            };
            assert_eq!(world.call(slot, &install), Ok(Answer::Done));
            world.app.follow(slot);
        }
        world.run();
        world
    }

    pub(crate) fn call(&mut self, slot: u16, request: &Request) -> Result<Answer, RecordError> {
        let request = postcard::to_allocvec(request).unwrap();
        let mut reply = [0; MAX_MESSAGE];
        let word = badge(slot).to_word();
        let length = self.server.serve(word, &request, &mut reply, self.now);
        decode::<<Record as Protocol>::Reply>(&reply[..length]).unwrap()
    }

    pub(crate) fn run(&mut self) {
        self.server.run(self.now);
        while self.server.is_busy() {
            self.server.run(self.now);
        }
    }

    /// A record of the peer.
    pub(crate) fn seal(&mut self, slot: u16, kind: u8, text: &[u8]) -> Vec<u8> {
        let number = self.sealed[usize::from(slot)];
        self.sealed[usize::from(slot)] += 1;
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[1; 16]).unwrap());
        if self.suite.version() == tls::Version::Tls12 {
            let mut nonce = [2; 12];
            nonce[4..].copy_from_slice(&number.to_be_bytes());
            let length = (text.len() as u16).to_be_bytes();
            let aad = [&number.to_be_bytes()[..], &[kind, 3, 3], &length].concat();
            let mut body = text.to_vec();
            let nonce = Nonce::assume_unique_for_key(nonce);
            key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut body)
                .unwrap();
            let length = (body.len() as u16 + 8).to_be_bytes();
            return [&[kind, 3, 3], &length[..], &number.to_be_bytes(), &body].concat();
        }
        let mut nonce = [2; 12];
        for (byte, number) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= number;
        }
        let mut body = [text, &[kind]].concat();
        let length = (body.len() as u16 + 16).to_be_bytes();
        let header = [23, 3, 3, length[0], length[1]];
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, Aad::from(header), &mut body)
            .unwrap();
        [&header[..], &body].concat()
    }

    pub(crate) fn say(&mut self, slot: u16, kind: u8, text: &[u8]) {
        let record = self.seal(slot, kind, text);
        assert_eq!(self.net.write(slot, &record), Ok(record.len()));
    }

    pub(crate) fn is_alive(&self, slot: u16) -> bool {
        !self.app.peer_status(slot).has(Status::RESET)
    }

    pub(crate) fn held(&self) -> usize {
        heap::used() - self.before
    }

    pub(crate) fn rekey() -> Request {
        Request::Rekey {
            generation: 1,
            message: Bytes::from_slice(&[24, 0, 0, 1, 0]).unwrap(),
            tx: Some(key()),
            rx: Some(key()),
        }
    }
}
