//! As many sessions as the shipped system has, each with a peer of the worst kind.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod shipped;

use ipc::badge::Badge;
use ipc::bounded::Blob;
use ipc::record::{Answer, PostHandshake, Request};
use ipc::transport::MAX_MESSAGE;
use record_server::budget;
use shipped::{ALONE, SLOTS, World, heap};
use tls::{CipherSuite, Role};

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
        // As many as what is lent has room for.
        if slot % 512 == 0 {
            world.run();
        }
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
    for _ in 0..3 {
        world.app.write(3, &[7; 16 * 1024]).unwrap();
        world.run();
    }
    assert!(world.app.unread(3).unwrap() > 0);
    world.say(3, HANDSHAKE, &hello);
    world.run();
    world.say(3, DATA, b"goes on");
    world.run();
    let mut out = vec![0; 64 * 1024];
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
        assert!(unread <= world.net.rx_capacity());
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
    let most = world.net.tx_capacity() / record.len();
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
