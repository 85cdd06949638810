//! As many handshakes as the shipped system has, each with a peer of the worst kind.

use std::sync::Mutex;
use std::time::Duration;

use crate::chains::{flight, records, with_certificates};
use crate::client::{Client, ClientOptions, complete, established};

use crate::shipped::{HANDSHAKES, RINGS, SESSIONS, endless, failed, world};
use crate::world::{World, parameters, set_passed};
use ipc::bounded::{Blob, Text};
use ipc::channel::local::{Silent, pair};
use ipc::control::{HandshakeError, PeerError, Resource};
use ipc::queue::Queue;
use ipc::record::PostHandshake;
use ipc::tls::{Mode, PeerAuthentication};
use offload_server::budget;
use rustls::pki_types::CertificateDer;
use tls::{Alert, Role, Version};

/// One test at a time: the heap is counted for all.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn hellos_that_never_end_in_every_slot_stay_within_the_budget() {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    for mode in [Mode::Autonomous, Mode::Directed] {
        let before = crate::heap::used();
        let mut world = world(mode);
        let channels = crate::heap::used() - before;
        let mut asked = parameters(&["web"]);
        asked.peer_authentication = PeerAuthentication::Require;
        for slot in 0..HANDSHAKES {
            world.start_as(slot, Role::Server, asked.clone());
        }
        let idle = crate::heap::used() - before - channels;
        crate::heap::peak();
        // As long as each mode accepts one to be.
        let hello = match mode {
            Mode::Autonomous => endless(60_000, 59_000, 16_000),
            Mode::Directed => endless(16_384, 16_300, 16_000),
        };
        for part in hello.chunks(4000) {
            for slot in 0..HANDSHAKES {
                world.exchange(slot, part);
            }
        }
        let waited = pass(&mut world, 30);
        assert_eq!(waited, 0, "some lost their loans at once");
        let peak = crate::heap::peak() - before - channels;
        let most = ipc::budget::total(&budget(HANDSHAKES, SESSIONS, 2));
        println!("{mode:?}: idle {idle}, peak {peak} of {most}");
        let mut ended = Vec::new();
        while let Some((slot, error)) = failed(&mut world) {
            let expected = HandshakeError::Resource(Resource::Memory);
            assert_eq!(error, expected, "{mode:?} {slot}");
            ended.push(slot);
        }
        assert!(!ended.is_empty(), "nobody was ended");
        assert!(peak <= most, "{mode:?}: {peak} of {most}");
        // One that is honest is served beside those that are left.
        let slot = ended[ended.len() - 1];
        world.start_as(slot, Role::Server, parameters(&["web"]));
        let mut client = Client::new(&world, &ClientOptions::default());
        established(complete(&mut world, slot, &mut client));
    }
}

/// Loans grow old so often, and the next have theirs. How many handshakes had failed before.
fn pass(world: &mut World, times: u32) -> u64 {
    let before = world.stats.read(ipc::stats::offload::FAILED);
    for time in 1..=times {
        set_passed(time * Duration::from_millis(500));
        world.run();
    }
    set_passed(Duration::ZERO);
    before
}

#[test]
fn clients_whose_chains_are_never_proved_in_every_slot_stay_within_the_budget() {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    // As long as each mode accepts one to be, of few certificates and of many.
    for (mode, certificates) in [
        (Mode::Autonomous, 9),
        (Mode::Autonomous, 63),
        (Mode::Directed, 9),
        (Mode::Directed, 63),
    ] {
        for version in [Version::Tls13, Version::Tls12] {
            let before = crate::heap::used();
            let mut world = world(mode);
            let channels = crate::heap::used() - before;
            let chain = vec![CertificateDer::from(vec![7; 60_000 / certificates]); certificates];
            let config = with_certificates(&world, version, &chain);
            let mut asked = parameters(&["web"]);
            asked.peer_authentication = PeerAuthentication::Require;
            let mut flights = Vec::with_capacity(usize::from(HANDSHAKES));
            let mut others = crate::heap::used() - before - channels;
            for slot in 0..HANDSHAKES {
                world.start_as(slot, Role::Server, asked.clone());
                let flight = flight(&mut world, slot, &config);
                others += ipc::budget::block(flight.len());
                flights.push(flight);
            }
            crate::heap::peak();
            // Two of three end just before the client proves to have the key, the third
            // in the middle of its certificates.
            for step in 0..40 {
                for (slot, flight) in (0..HANDSHAKES).zip(&flights) {
                    let starts = records(flight);
                    let end = match (slot % 3, version) {
                        (0, _) => starts[1] - 1,
                        (_, Version::Tls13) => *starts.last().unwrap(),
                        // CertificateVerify, ChangeCipherSpec, Finished.
                        (_, Version::Tls12) => starts[starts.len() - 3],
                    };
                    let part = flight[..end].chunks(2000).nth(step);
                    world.exchange(slot, part.unwrap_or_default());
                }
            }
            pass(&mut world, 30);
            let peak = crate::heap::peak() - before - channels - others;
            let most = ipc::budget::total(&budget(HANDSHAKES, SESSIONS, 2));
            println!("{mode:?} {version:?}: peak {peak} of {most}");
            let mut ended = 0;
            while let Some((slot, error)) = failed(&mut world) {
                let expected = HandshakeError::Resource(Resource::Memory);
                assert_eq!(error, expected, "{mode:?} {slot}");
                ended += 1;
            }
            assert!((1..HANDSHAKES).contains(&ended), "{ended} were ended");
            assert!(peak <= most, "{mode:?} {version:?}: {peak} of {most}");
        }
    }
}

#[test]
fn chains_of_thousands_of_certificates_in_every_slot_are_refused_before_they_are_decoded() {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    for mode in [Mode::Autonomous, Mode::Directed] {
        for version in [Version::Tls13, Version::Tls12] {
            let before = crate::heap::used();
            let mut world = world(mode);
            let channels = crate::heap::used() - before;
            let chain = vec![CertificateDer::from(vec![7; 1]); 10_000];
            let config = with_certificates(&world, version, &chain);
            let mut asked = parameters(&["web"]);
            asked.peer_authentication = PeerAuthentication::Require;
            let others = crate::heap::used() - before - channels;
            crate::heap::peak();
            for slot in 0..HANDSHAKES {
                world.start_as(slot, Role::Server, asked.clone());
                let flight = flight(&mut world, slot, &config);
                let parts = flight.chunks(2000);
                parts.for_each(|part| drop(world.exchange(slot, part)));
            }
            let peak = crate::heap::peak() - before - channels - others;
            let most = ipc::budget::total(&budget(HANDSHAKES, SESSIONS, 2));
            println!("{mode:?} {version:?}: peak {peak} of {most}");
            let mut ended = 0;
            while let Some((slot, error)) = failed(&mut world) {
                let refused = HandshakeError::Peer(PeerError::AlertSent(Alert::DECODE_ERROR));
                assert_eq!(error, refused, "{mode:?} {version:?} {slot}");
                ended += 1;
            }
            assert_eq!(ended, HANDSHAKES, "{mode:?} {version:?}");
            assert!(peak <= most, "{mode:?} {version:?}: {peak} of {most}");
        }
    }
}

/// Sessions of TLS 1.3 as client, with tickets from as many servers as configurations
/// are kept for.
#[test]
fn sessions_that_take_tickets_stay_within_the_budget() {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    // A chain as long as tickets are taken with, and one of as many certificates as there may be.
    sessions_that_take_tickets(|leaf| vec![vec![7; 4096 - leaf - 200]]);
    sessions_that_take_tickets(|_| vec![vec![7]; 63]);
}

fn sessions_that_take_tickets(more: impl Fn(usize) -> Vec<Vec<u8>>) {
    let issuer = crate::world::authority();
    let mut ring = crate::world::keyring(RINGS[0], &issuer, issuer.der(), None);
    let leaf = ring.chain[0].len();
    ring.chain.extend(more(leaf));
    let mut server = World::with_keyrings(vec![ring], issuer, HANDSHAKES, SESSIONS);
    let mut client = world(Mode::Autonomous);
    let mut held = 0;
    let mut counted = |client: &mut World, act: &mut dyn FnMut(&mut World)| {
        let before = crate::heap::used() as isize;
        act(client);
        held += crate::heap::used() as isize - before;
    };
    for slot in 0..SESSIONS {
        let mut asked = parameters(&["web"]);
        asked.resumption = true;
        asked.expose_keys = true;
        server.start_as(0, Role::Server, asked.clone());
        asked.server_name = Some(Text::from_text("localhost").unwrap());
        // A configuration of its own.
        asked.segment_size = 1400 - slot % 32;
        let (mut said, mut rest) = (Vec::new(), Vec::new());
        let mut theirs = None;
        counted(&mut client, &mut |client| {
            client.start_session(0, slot, Role::Client, asked.clone());
        });
        for _ in 0..5 {
            let mut heard = Vec::with_capacity(4096);
            counted(&mut client, &mut |client| {
                heard.extend(client.exchange(0, &said));
            });
            theirs = theirs.or_else(|| client.completion());
            said = server.exchange(0, &heard);
            if theirs.is_some() {
                rest.append(&mut said);
            }
        }
        server.completion();
        let ours = established(theirs.unwrap());
        let (_, rx) = ours.keys.as_ref().unwrap();
        counted(&mut client, &mut |client| {
            crate::tickets::hand_over(client, slot, 9, ours.suite, rx, &rest);
            client.installed.borrow_mut().clear();
        });
    }
    let lines = budget(HANDSHAKES, SESSIONS, 2);
    let most: usize = lines
        .iter()
        .filter(|line| {
            [
                "sessions",
                "sessions that take tickets",
                "configurations",
                "sessions to be resumed",
            ]
            .contains(&line.what)
        })
        .map(|line| line.count * line.bytes)
        .sum();
    println!(
        "sessions: {held} of {most}; needed {}",
        ipc::budget::needed(&lines)
    );
    for line in &lines {
        println!("{line:?}");
    }
    assert!(held > 0 && held as usize <= most, "{held} of {most}");
}

/// One session of a client of each generation of its key rings, kept for good.
#[test]
fn key_rings_that_were_replaced_are_not_kept_by_sessions_of_before() {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let issuer = crate::world::authority();
    let ring = crate::world::keyring(RINGS[0], &issuer, issuer.der(), None);
    let mut server = World::with_keyrings(vec![ring], issuer, HANDSHAKES, SESSIONS);
    let mut client = world(Mode::Autonomous);
    let large = |client: &World| {
        let mut ring = crate::world::keyring(RINGS[0], &client.issuer, client.issuer.der(), None);
        ring.chain.push(vec![7; 16 * 1024]);
        ring
    };
    let mut held = Vec::new();
    for slot in 0..12 {
        let new = large(&client);
        client.update(u64::from(slot) + 1, vec![new]);
        let mut asked = parameters(&["web"]);
        server.start_as(0, Role::Server, asked.clone());
        asked.resumption = true;
        asked.server_name = Some(Text::from_text("localhost").unwrap());
        client.start_session(0, slot, Role::Client, asked);
        let (mut said, mut theirs) = (Vec::new(), None);
        for _ in 0..5 {
            let heard = client.exchange(0, &said);
            theirs = theirs.or_else(|| client.completion());
            said = server.exchange(0, &heard);
        }
        server.completion();
        established(theirs.unwrap());
        client.installed.borrow_mut().clear();
        held.push(crate::heap::used());
    }
    let grown = held[11].saturating_sub(held[3]);
    assert!(grown < 16 * 1024, "{grown} in eight updates: {held:?}");
}

#[test]
fn a_hundred_hellos_of_4_kb_whose_last_bytes_come_together_are_all_dealt_with() {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    for mode in [Mode::Autonomous, Mode::Directed] {
        let mut world = world(mode);
        let hello = endless(4200, 4204, 16_000);
        for slot in 0..HANDSHAKES {
            world.start_as(slot, Role::Server, parameters(&["web"]));
            world.exchange(slot, &hello[..hello.len() - 1]);
        }
        let last = &hello[hello.len() - 1..];
        for slot in 0..HANDSHAKES {
            assert_eq!(world.net.write(slot, last), Ok(1));
        }
        world.run();
        let mut ended = Vec::new();
        loop {
            world.run();
            while let Some((slot, error)) = failed(&mut world) {
                assert!(matches!(error, HandshakeError::Peer(_)), "{error:?}");
                ended.push(slot);
            }
            if ended.len() == usize::from(HANDSHAKES) {
                break;
            }
            // What is said to the peer makes room for the rest.
            for slot in 0..HANDSHAKES {
                world.exchange(slot, &[]);
            }
        }
        let slot = ended[ended.len() - 1];
        world.start_as(slot, Role::Server, parameters(&["web"]));
        let mut client = Client::new(&world, &ClientOptions::default());
        established(complete(&mut world, slot, &mut client));
    }
}

#[test]
fn one_byte_records_are_ended_when_there_were_too_many() {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    for mode in [Mode::Autonomous, Mode::Directed] {
        let mut world = world(mode);
        world.start_as(0, Role::Server, parameters(&["web"]));
        let answer = world.exchange(0, &endless(12_000, 9000, 1));
        let alert = Alert::UNEXPECTED_MESSAGE;
        assert_eq!(answer, [21, 3, 3, 0, 2, 2, alert.0], "{mode:?}");
        let sent = HandshakeError::Peer(PeerError::AlertSent(alert));
        assert_eq!(failed(&mut world), Some((0, sent)));
    }
}

#[test]
fn others_have_their_turn_amid_the_records_of_one() {
    const RECORDS: usize = 4000;
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut world = world(Mode::Autonomous);
    for slot in 0..2 {
        world.start_as(slot, Role::Server, parameters(&["web"]));
    }
    world.run();
    let unread = world.net.writable(0).unwrap() - 6 * RECORDS;
    world.net.write(0, &endless(12_000, RECORDS, 1)).unwrap();
    let hello = Client::new(&world, &ClientOptions::default()).outgoing;
    world.net.write(1, &hello).unwrap();
    // One of these, and one of those.
    for _ in 0..2 {
        assert!(world.turn().is_busy);
    }
    assert!(world.net.readable(1).unwrap() > 0);
    let taken = (world.net.writable(0).unwrap() - unread) / 6;
    assert!((32..1000).contains(&taken), "{taken} of {RECORDS}");
    world.run();
    assert_eq!(world.net.writable(0).unwrap(), unread + 6 * RECORDS);
}

#[test]
fn questions_of_sessions_are_answered_a_few_in_a_turn() {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut world = world(Mode::Autonomous);
    for slot in 0..20 {
        world.start(slot, parameters(&["web"]));
        let mut client = Client::new(&world, &ClientOptions::default());
        established(complete(&mut world, slot, &mut client));
    }
    let answered =
        |world: &World| -> usize { world.installed.borrow().values().map(Vec::len).sum() };
    for slot in 0..20 {
        let message = PostHandshake::Message {
            slot,
            generation: 9,
            message: Blob::from_slice(&[24, 0, 0, 1, 1]).unwrap(),
        };
        world.record.send(&message).unwrap();
    }
    let before = answered(&world);
    let turn = world.turn();
    let taken = answered(&world) - before;
    assert!((1..=8).contains(&taken), "{taken}");
    assert!(turn.is_busy);
    world.run();
    assert_eq!(answered(&world), before + 20);
}

#[test]
fn a_question_that_is_none_keeps_no_other_waiting() {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut world = world(Mode::Autonomous);
    world.start(0, parameters(&["web"]));
    let mut client = Client::new(&world, &ClientOptions::default());
    established(complete(&mut world, 0, &mut client));
    let (nobody, _) = pair(1, 64, 64, Silent, Silent);
    let record = core::mem::replace(&mut world.record, Queue::new(nobody));
    let mut channel = record.into_channel();
    // One byte that is no discriminant.
    channel.write(0, &[1, 0, 0x7f]).unwrap();
    world.record = Queue::new(channel);
    let message = PostHandshake::Message {
        slot: 0,
        generation: 9,
        message: Blob::from_slice(&[24, 0, 0, 1, 1]).unwrap(),
    };
    world.record.send(&message).unwrap();
    world.turn();
    assert_eq!(world.installed.borrow()[&0].len(), 2);
}

#[test]
fn clients_with_certificates_as_long_as_are_kept_are_let_in_side_by_side() {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    for mode in [Mode::Autonomous, Mode::Directed] {
        let mut world = world(mode);
        let mut asked = parameters(&["web"]);
        asked.peer_authentication = PeerAuthentication::Require;
        // The tickets have the certificate in them: together more than the ring out.
        asked.resumption = true;
        asked.segment_size = 16384;
        let options = ClientOptions {
            has_certificate: true,
            more_names: 190,
            ..ClientOptions::default()
        };
        for slot in 0..20 {
            world.start_as(slot, Role::Server, asked.clone());
        }
        for slot in 0..20 {
            let mut client = Client::new(&world, &options);
            let established = established(complete(&mut world, slot, &mut client));
            let length = established.peer.unwrap().certificate_len;
            assert!((3600..4096).contains(&length), "{length}");
        }
    }
}
