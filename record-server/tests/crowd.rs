//! As many sessions as the shipped system has, each with a peer of the worst kind.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../../ipc/tests/heap/mod.rs"]
mod heap;

use std::sync::Mutex;

use ipc::badge::Badge;
use ipc::bounded::{Blob, Bytes};
use ipc::channel::Status;
use ipc::channel::local::{LocalChannel, LocalDoorbell, Silent, pair};
use ipc::clock::Instant;
use ipc::queue::Queue;
use ipc::record::{Answer, PostHandshake, PostHandshakeInbox, Record, RecordError, Request};
use ipc::stats;
use ipc::transport::{MAX_MESSAGE, Protocol, decode};
use record_server::{Limits, Ports, Server, budget};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use tls::{CipherSuite, Role, Secret, TrafficKey};

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// The channels of `image/system.toml`.
const SLOTS: u16 = 544;
const NET_IN: u32 = 32 << 10;
const RING: u32 = 16 << 10;
const QUEUE: u32 = 64 << 10;

/// One test at a time: the heap is counted for all.
static ALONE: Mutex<()> = Mutex::new(());

type Bell = LocalDoorbell<Silent>;

struct World {
    server: Server<'static, Bell, Bell, Bell>,
    net: LocalChannel<Silent>,
    app: LocalChannel<Silent>,
    offload: PostHandshakeInbox<Bell>,
    sealed: Vec<u64>,
    suite: CipherSuite,
    now: Instant,
    /// Bytes of the heap that are the server's.
    before: usize,
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
    fn new(suite: CipherSuite, role: Role) -> Self {
        let (net, net_side) = pair(SLOTS, NET_IN, RING, Silent, Silent);
        let (app, app_side) = pair(SLOTS, RING, RING, Silent, Silent);
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
            };
            assert_eq!(world.call(slot, &install), Ok(Answer::Done));
            world.app.follow(slot);
        }
        world.run();
        world
    }

    fn call(&mut self, slot: u16, request: &Request) -> Result<Answer, RecordError> {
        let request = postcard::to_allocvec(request).unwrap();
        let mut reply = [0; MAX_MESSAGE];
        let word = badge(slot).to_word();
        let length = self.server.serve(word, &request, &mut reply, self.now);
        decode::<<Record as Protocol>::Reply>(&reply[..length]).unwrap()
    }

    fn run(&mut self) {
        self.server.run(self.now);
        while self.server.is_busy() {
            self.server.run(self.now);
        }
    }

    /// A record of the peer.
    fn seal(&mut self, slot: u16, kind: u8, text: &[u8]) -> Vec<u8> {
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

    fn say(&mut self, slot: u16, kind: u8, text: &[u8]) {
        let record = self.seal(slot, kind, text);
        assert_eq!(self.net.write(slot, &record), Ok(record.len()));
    }

    fn is_alive(&self, slot: u16) -> bool {
        !self.app.peer_status(slot).has(Status::RESET)
    }

    fn held(&self) -> usize {
        heap::used() - self.before
    }

    fn rekey() -> Request {
        Request::Rekey {
            generation: 1,
            message: Bytes::from_slice(&[24, 0, 0, 1, 0]).unwrap(),
            tx: Some(key()),
            rx: Some(key()),
        }
    }
}

fn ticket(length: usize) -> Vec<u8> {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let mut message = vec![4, a, b, c];
    message.resize(4 + length, 9);
    message
}

const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 1];
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

fn most() -> usize {
    ipc::budget::total(&budget(SLOTS))
}

#[test]
fn unfinished_messages_in_every_session_stay_within_the_budget() {
    let _alone = ALONE.lock().unwrap();
    for role in [Role::Server, Role::Client] {
        let mut world = World::new(CipherSuite::Aes128GcmSha256, role);
        let message = match role {
            Role::Server => KEY_UPDATE[..4].to_vec(),
            Role::Client => ticket(4092)[..4090].to_vec(),
        };
        heap::peak();
        for slot in 0..SLOTS {
            for _ in 0..5 {
                let part = Blob::from_slice(&[6; 800]).unwrap();
                let keep = Request::KeepCertificate { part };
                assert_eq!(world.call(slot, &keep), Ok(Answer::Done));
            }
            world.say(slot, HANDSHAKE, &message);
            world.run();
        }
        let peak = heap::peak() - world.before;
        assert!(peak <= most(), "{role:?}: {peak} of {}", most());
        assert!((0..SLOTS).all(|slot| world.is_alive(slot)));
        // All of them still get what comes next.
        for slot in 0..SLOTS {
            let rest = match role {
                Role::Server => vec![1],
                Role::Client => vec![9, 9, 9, 9, 9, 9],
            };
            world.say(slot, HANDSHAKE, &rest[..rest.len().min(6)]);
            world.run();
            while let Some(Ok(PostHandshake::Message { slot, .. })) = world.offload.receive() {
                world
                    .call(slot, &Request::Proceed { generation: 1 })
                    .unwrap();
            }
        }
        assert!((0..SLOTS).all(|slot| world.is_alive(slot)));
        for slot in 0..SLOTS {
            world.say(slot, DATA, b"on");
            world.run();
            assert_eq!(world.app.readable(slot), Ok(2), "{role:?} {slot}");
        }
        let close = |slot| Request::Close {
            slot,
            generation: 1,
        };
        for slot in 0..SLOTS {
            let request = postcard::to_allocvec(&close(slot)).unwrap();
            let word = Badge::Control.to_word();
            let now = world.now;
            world
                .server
                .serve(word, &request, &mut [0; MAX_MESSAGE], now);
        }
        assert!(world.held() < most() / 20, "{}", world.held());
    }
}

#[test]
fn a_burst_of_tickets_in_every_session_fails_nobody_s_key_update() {
    let _alone = ALONE.lock().unwrap();
    let mut world = World::new(CipherSuite::Aes128GcmSha256, Role::Client);
    for slot in 1..SLOTS {
        world.say(slot, HANDSHAKE, &ticket(4092));
    }
    world.say(0, HANDSHAKE, &KEY_UPDATE);
    world.run();
    let mut answered = vec![0; usize::from(SLOTS)];
    loop {
        world.run();
        // The offload component takes a few at a time.
        let mut taken = 0;
        while taken < 4
            && let Some(Ok(asked)) = world.offload.receive()
        {
            taken += 1;
            let PostHandshake::Message { slot, message, .. } = asked else {
                panic!("another question");
            };
            answered[usize::from(slot)] += 1;
            let answer = match message[0] {
                24 => World::rekey(),
                _ => Request::Proceed { generation: 1 },
            };
            assert_eq!(world.call(slot, &answer), Ok(Answer::Done));
        }
        if taken == 0 {
            break;
        }
    }
    assert!((0..SLOTS).all(|slot| world.is_alive(slot)));
    assert_eq!(answered[0], 1, "the key update");
    // Tickets that found no buffer are skipped: a client may ignore them.
    assert!(answered.iter().all(|count| *count <= 1));
    assert!(answered.iter().sum::<u32>() >= 16);
}

#[test]
fn one_byte_records_after_the_handshake_of_tls12_are_refused_in_time() {
    let _alone = ALONE.lock().unwrap();
    let suite = CipherSuite::EcdheEcdsaAes128GcmSha256;
    let mut world = World::new(suite, Role::Server);
    let mut hello = ticket(1496);
    hello[0] = 1;
    let before = world.held();
    let (mut sent, mut out) = (0, 0);
    for byte in &hello {
        if !world.is_alive(7) {
            break;
        }
        world.say(7, HANDSHAKE, &[*byte]);
        sent += 1;
        world.run();
        out += world.net.readable(7).unwrap();
        world.net.read(7, &mut [0; 4096]).unwrap();
        assert!(world.held() <= before + 64, "{}", world.held() - before);
    }
    assert!(!world.is_alive(7), "{sent} records were taken");
    // One warning and one fatal alert.
    assert_eq!(out, 2 * (5 + 8 + 2 + 16));
    assert!(world.is_alive(6) && world.is_alive(8));
}

#[test]
fn a_renegotiation_that_is_declined_leaves_the_session_as_it_was() {
    let _alone = ALONE.lock().unwrap();
    let suite = CipherSuite::EcdheEcdsaAes128GcmSha256;
    let mut world = World::new(suite, Role::Server);
    let mut hello = ticket(300);
    hello[0] = 1;
    // There is no reader yet: the ring is full of data.
    let fill = vec![7; RING as usize];
    world.app.write(3, &fill).unwrap();
    world.run();
    world.say(3, HANDSHAKE, &hello);
    world.run();
    world.say(3, DATA, b"goes on");
    world.run();
    let mut out = vec![0; RING as usize * 2];
    while world.net.read(3, &mut out).unwrap() > 0 {
        world.run();
    }
    assert_eq!(world.app.readable(3), Ok(7));
    world.say(3, HANDSHAKE, &hello);
    world.run();
    assert!(!world.is_alive(3), "the second is a fault");
}

#[test]
fn key_updates_without_data_end_their_session_and_hold_nothing() {
    let _alone = ALONE.lock().unwrap();
    let mut world = World::new(CipherSuite::Aes128GcmSha256, Role::Server);
    let before = world.held();
    let mut asked = 0;
    for _ in 0..3000 {
        if !world.is_alive(5) {
            break;
        }
        // The test's keys never change: each counts from zero again.
        world.sealed[5] = 0;
        world.say(5, HANDSHAKE, &KEY_UPDATE);
        world.run();
        if world.offload.receive().is_some() {
            asked += 1;
            world.call(5, &World::rekey()).unwrap();
        }
        // The peer never reads: at most one answer is pending.
        assert!(world.held() <= before + 1024);
        let unread = world.net.readable(5).unwrap();
        assert!(unread <= RING as usize);
    }
    assert_eq!(asked, 32);
    assert!(!world.is_alive(5));
    assert!(world.is_alive(4) && world.is_alive(6));
}

#[test]
fn a_session_with_much_to_say_lets_the_others_have_their_turn() {
    let _alone = ALONE.lock().unwrap();
    let mut world = World::new(CipherSuite::Aes128GcmSha256, Role::Server);
    // As many small records as the ring holds.
    let record = world.seal(0, DATA, b"x");
    let most = NET_IN as usize / record.len();
    world.net.write(0, &record).unwrap();
    for _ in 1..most {
        world.say(0, DATA, b"x");
    }
    world.say(1, DATA, b"y");
    world.server.run(world.now);
    assert!(world.app.readable(0).unwrap() <= 32, "its turn is over");
    assert_eq!(world.app.readable(1), Ok(1));
    assert!(world.server.is_busy());
    world.run();
    assert_eq!(world.app.readable(0), Ok(most));
}

#[test]
fn the_budget_of_the_shipped_size_is_told() {
    println!("needed {}", ipc::budget::needed(&budget(SLOTS)));
    assert!(
        budget(SLOTS)
            .iter()
            .all(|line| line.count > 0 && line.bytes > 0)
    );
}

#[test]
fn an_application_has_its_turn_while_the_network_has_events_of_every_session() {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut world = World::new(CipherSuite::Aes128GcmSha256, Role::Server);
    let last = SLOTS - 1;
    (0..SLOTS).for_each(|slot| world.net.notify(slot));
    assert_eq!(world.app.write(last, b"hello"), Ok(5));
    world.server.run(world.now);
    assert!(world.server.is_busy(), "events of the network are left");
    assert!(world.net.readable(last).unwrap() > 0);
}
