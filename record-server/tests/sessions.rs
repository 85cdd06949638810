//! The record layer against rustls as client, without a kernel.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

mod world;

use std::io::{Read, Write};
use std::time::Duration;

use ipc::badge::Badge;
use ipc::bounded::Bytes;
use ipc::channel::Status;
use ipc::clock::Instant;
use ipc::record::{PostHandshake, RecordError, Request};
use ipc::stats;
use record_server::Limits;
use rustls::crypto::ring as provider;
use tls::{CipherSuite, RecordLimit, Role, Secret, TrafficKey};

use world::{SESSION, SLOT, World, exporter, tls12, tls13, traffic};

#[test]
fn bytes_pass_both_ways_in_every_suite_and_fragment_size() {
    for suite in provider::ALL_CIPHER_SUITES {
        for fragment in [None, Some(64), Some(1000), Some(16384)] {
            let mut world = World::new(*suite, fragment, Limits::default());
            let up: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
            world.client.writer().write_all(&up).unwrap();
            let mut got = Vec::new();
            let mut pending = Vec::new();
            while got.len() < up.len() {
                while world.client.wants_write() {
                    world.client.write_tls(&mut pending).unwrap();
                }
                let written = world.net.write(SLOT, &pending).unwrap();
                pending.drain(..written);
                world.run();
                got.extend(world.app_read());
                world.run();
            }
            assert!(got == up, "{:?}", suite.suite());
            let mut sent = 0;
            let mut back = Vec::new();
            while back.len() < up.len() {
                sent += world.app.write(SLOT, &up[sent..]).unwrap();
                world.run();
                world.settle().unwrap();
                back.extend(world.client_read());
            }
            assert!(back == up, "{:?}", suite.suite());
        }
    }
}

#[test]
fn close_notify_is_the_end_each_way_by_itself() {
    for suite in [tls13(), tls12()] {
        let mut world = World::new(suite, None, Limits::default());
        world.client.writer().write_all(b"question").unwrap();
        world.client.send_close_notify();
        world.settle().unwrap();
        assert_eq!(world.app_read(), b"question");
        assert!(world.app.peer_status(SLOT).has(Status::END));
        assert!(!world.app.peer_status(SLOT).has(Status::RESET));
        world.app.write(SLOT, b"answer").unwrap();
        world.app.set_status(SLOT, Status::END);
        world.app.notify(SLOT);
        world.settle().unwrap();
        let mut answer = Vec::new();
        // Reads to the end without an error: close_notify came.
        world.client.reader().read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"answer");
        assert!(world.net.peer_status(SLOT).has(Status::END));
    }
}

#[test]
fn an_end_without_close_notify_is_truncation() {
    let mut world = World::new(tls13(), None, Limits::default());
    world.client.writer().write_all(b"half").unwrap();
    world.settle().unwrap();
    world.net.set_status(SLOT, Status::END);
    world.net.notify(SLOT);
    world.run();
    assert_eq!(world.app_read(), b"half");
    assert!(world.app.peer_status(SLOT).has(Status::RESET));
    assert!(!world.app.peer_status(SLOT).has(Status::END));
    assert_eq!(world.stats.read(stats::record::TRUNCATED), 1);
    assert_eq!(world.stats.read(stats::record::SESSIONS), 0);
}

#[test]
fn a_bad_record_gets_its_alert_and_ends_the_session() {
    use rustls::AlertDescription as Alert;
    let cases: [(&[u8], Alert); 5] = [
        (
            &[
                23, 3, 3, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
            Alert::BadRecordMac,
        ),
        (&[23, 3, 3, 0x48, 1], Alert::RecordOverflow),
        (&[99, 3, 3, 0, 1], Alert::UnexpectedMessage),
        (&[23, 2, 0, 0, 1], Alert::ProtocolVersion),
        (b"GET / HTTP/1.1", Alert::UnexpectedMessage),
    ];
    for suite in [tls13(), tls12()] {
        for (bytes, alert) in cases {
            let mut world = World::new(suite, None, Limits::default());
            world.inject(bytes);
            let error = world.settle().unwrap_err();
            assert_eq!(error, rustls::Error::AlertReceived(alert));
            assert!(world.app.peer_status(SLOT).has(Status::RESET));
            assert!(world.net.peer_status(SLOT).has(Status::END));
        }
    }
}

#[test]
fn a_record_replayed_is_refused() {
    let mut world = World::new(tls13(), None, Limits::default());
    world.client.writer().write_all(b"once").unwrap();
    let mut record = Vec::new();
    world.client.write_tls(&mut record).unwrap();
    world.inject(&record);
    assert_eq!(world.app_read(), b"once");
    world.inject(&record);
    assert_eq!(world.app_read(), b"");
    assert!(world.app.peer_status(SLOT).has(Status::RESET));
}

#[test]
fn r33_a_key_update_goes_to_the_offload_component_and_back() {
    let mut world = World::new(tls13(), None, Limits::default());
    world.client.refresh_traffic_keys().unwrap();
    world.client.writer().write_all(b"under new keys").unwrap();
    world.settle().unwrap();
    assert_eq!(world.app_read(), b"", "reads on only after the answer");
    let Some(Ok(PostHandshake::Message {
        slot,
        generation,
        message,
    })) = world.offload.receive()
    else {
        panic!("nothing was asked");
    };
    assert_eq!((slot, generation), (SLOT, 3));
    assert_eq!(message[..4], [24, 0, 0, 1]);
    let rekey = Request::Rekey {
        generation: 3,
        message: Bytes::from_slice(&[24, 0, 0, 1, 0]).unwrap(),
        tx: Some(traffic(world.secrets.update_tx_secret().unwrap())),
        rx: Some(traffic(world.secrets.update_rx_secret().unwrap())),
    };
    assert_eq!(world.call(SESSION, &rekey), Ok(()));
    world.settle().unwrap();
    assert_eq!(world.app_read(), b"under new keys");
    world.app.write(SLOT, b"so is this").unwrap();
    world.settle().unwrap();
    assert_eq!(world.client_read(), b"so is this");
    assert_eq!(
        world.call(SESSION, &Request::Proceed { generation: 3 }),
        Err(RecordError::NotAsked)
    );
}

/// The offload component's answer to `RekeyDue`.
fn new_key_to_send(world: &mut World) -> Request {
    Request::Rekey {
        generation: 3,
        message: Bytes::from_slice(&[24, 0, 0, 1, 0]).unwrap(),
        tx: Some(traffic(world.secrets.update_tx_secret().unwrap())),
        rx: None,
    }
}

#[test]
fn r33_a_key_near_its_limit_is_changed_before_it() {
    let limits = Limits {
        rekey_at: 3,
        end_at: 6,
    };
    let mut world = World::new(tls13(), None, limits);
    for _ in 0..4 {
        world.app.write(SLOT, b"x").unwrap();
        world.settle().unwrap();
    }
    let asked = world.offload.receive();
    assert!(matches!(
        asked,
        Some(Ok(PostHandshake::RekeyDue { slot: SLOT, .. }))
    ));
    assert!(world.offload.receive().is_none(), "asked once");
    let rekey = new_key_to_send(&mut world);
    assert_eq!(world.call(SESSION, &rekey), Ok(()));
    world.app.write(SLOT, b"y").unwrap();
    world.settle().unwrap();
    assert_eq!(world.client_read(), b"xxxxy");
}

#[test]
fn r33_a_new_key_that_is_late_is_waited_for() {
    let limits = Limits {
        rekey_at: 2,
        end_at: 4,
    };
    let mut world = World::new(tls13(), None, limits);
    for _ in 0..9 {
        world.app.write(SLOT, b"x").unwrap();
        world.settle().unwrap();
    }
    let under_the_old = world.client_read();
    assert!(under_the_old.len() <= 4, "a key that sealed too much");
    assert!(!world.net.peer_status(SLOT).has(Status::END));
    let due = world.offload.receive();
    assert!(matches!(due, Some(Ok(PostHandshake::RekeyDue { .. }))));
    let rekey = new_key_to_send(&mut world);
    assert_eq!(world.call(SESSION, &rekey), Ok(()));
    world.settle().unwrap();
    let rest = world.client_read();
    assert_eq!([under_the_old, rest].concat(), b"xxxxxxxxx");
    assert_eq!(world.stats.read(stats::record::REKEYS), 1);
}

#[test]
fn a_new_key_after_the_end_of_what_is_sent_counts_as_none() {
    let limits = Limits {
        rekey_at: 2,
        end_at: 4,
    };
    let mut world = World::new(tls13(), None, limits);
    for _ in 0..3 {
        world.app.write(SLOT, b"x").unwrap();
        world.settle().unwrap();
    }
    world.app.set_status(SLOT, Status::END);
    world.app.notify(SLOT);
    world.settle().unwrap();
    assert_eq!(world.client_read(), b"xxx");
    let rekey = new_key_to_send(&mut world);
    assert_eq!(world.call(SESSION, &rekey), Ok(()));
    assert_eq!(world.stats.read(stats::record::REKEYS), 0);
}

#[test]
fn a_key_at_its_limit_seals_nothing_more() {
    let limits = Limits {
        rekey_at: 2,
        end_at: 4,
    };
    let mut world = World::new(tls12(), None, limits);
    for _ in 0..9 {
        world.app.write(SLOT, b"x").unwrap();
        world.settle().unwrap();
    }
    // The handshake's Finished had sequence number 0.
    assert_eq!(world.client_read(), b"xxx");
    assert!(world.net.peer_status(SLOT).has(Status::END));
}

#[test]
fn only_the_right_badge_may_ask() {
    let mut world = World::new(tls13(), None, Limits::default());
    let close = closing();
    assert_eq!(world.call(SESSION, &close), Err(RecordError::Denied));
    assert_eq!(
        world.call(Badge::Client(1), &close),
        Err(RecordError::Denied)
    );
    let stale = Badge::Session {
        slot: SLOT,
        generation: 2,
    };
    assert_eq!(
        world.call(stale, &Request::Proceed { generation: 3 }),
        Err(RecordError::Stale)
    );
    assert_eq!(
        world.call(Badge::Control, &Request::Proceed { generation: 3 }),
        Err(RecordError::Denied)
    );
    let again = Request::Install {
        generation: 3,
        role: Role::Server,
        suite: CipherSuite::Aes128GcmSha256,
        tx: traffic(world.secrets.update_tx_secret().unwrap()),
        rx: traffic(world.secrets.update_rx_secret().unwrap()),
        record_limit: RecordLimit::NONE,
        exporter: exporter(),
    };
    assert_eq!(
        world.call(SESSION, &again),
        Err(RecordError::InUse),
        "one-shot"
    );
}

#[test]
fn a_closed_slot_says_goodbye_and_can_be_used_again() {
    let mut world = World::new(tls13(), None, Limits::default());
    assert_eq!(world.call(Badge::Control, &closing()), Ok(()));
    world.settle().unwrap();
    let mut rest = Vec::new();
    world.client.reader().read_to_end(&mut rest).unwrap();
    assert_eq!(world.stats.read(stats::record::SESSIONS), 0);
    assert_eq!(
        world.call(SESSION, &keys()),
        Err(RecordError::Stale),
        "the capability of a session that is over"
    );
    let next = Badge::Session {
        slot: SLOT,
        generation: 4,
    };
    assert_eq!(world.call(next, &keys_of(4)), Ok(()));
    assert_eq!(
        world.call(SESSION, &Request::Proceed { generation: 3 }),
        Err(RecordError::Stale)
    );
}

#[test]
fn a_session_that_was_closed_before_its_keys_came_takes_none() {
    let mut world = World::new(tls13(), None, Limits::default());
    assert_eq!(world.call(Badge::Control, &closing()), Ok(()));
    let next = Badge::Session {
        slot: SLOT,
        generation: 4,
    };
    let close = Request::Close {
        slot: SLOT,
        generation: 4,
    };
    assert_eq!(world.call(Badge::Control, &close), Ok(()));
    assert_eq!(world.call(next, &keys_of(4)), Err(RecordError::Stale));
    assert_eq!(world.stats.read(stats::record::SESSIONS), 0);
}

fn closing() -> Request {
    Request::Close {
        slot: SLOT,
        generation: 3,
    }
}

fn keys() -> Request {
    keys_of(3)
}

fn keys_of(generation: u16) -> Request {
    let key = || TrafficKey {
        key: Secret::from_slice(&[1; 16]).unwrap(),
        iv: Secret::from_slice(&[2; 12]).unwrap(),
        sequence: 0,
    };
    Request::Install {
        generation,
        role: Role::Server,
        suite: CipherSuite::Aes128GcmSha256,
        tx: key(),
        rx: key(),
        record_limit: RecordLimit::NONE,
        exporter: exporter(),
    }
}

#[test]
fn a_stalled_application_stops_the_peer() {
    let mut world = World::new(tls13(), None, Limits::default());
    world.client.writer().write_all(&[5; 200_000]).unwrap();
    let mut pending = Vec::new();
    while world.client.wants_write() {
        world.client.write_tls(&mut pending).unwrap();
    }
    let mut accepted = 0;
    for _ in 0..100 {
        accepted += world.net.write(SLOT, &pending[accepted..]).unwrap();
        world.run();
    }
    assert!(accepted < 16384 + 32768 + 100, "{accepted}");
    assert_eq!(world.app.readable(SLOT), Ok(16384));
}

#[test]
fn c05_after_the_begin_of_a_shim_no_session_and_no_generation_is_left() {
    let mut world = World::new(tls13(), None, Limits::default());
    world.app.write(SLOT, b"unsent").unwrap();
    assert_eq!(world.call(Badge::Control, &Request::Begin), Ok(()));
    for status in [world.app.peer_status(SLOT), world.net.peer_status(SLOT)] {
        assert!(status.has(Status::RESET | Status::LEFT));
    }
    assert_eq!(world.stats.read(stats::record::SESSIONS), 0);
    assert_eq!(
        world.call(SESSION, &Request::Proceed { generation: 3 }),
        Err(RecordError::Stale)
    );
    // A new shim counts from the start: the same name may come again.
    assert_eq!(world.call(SESSION, &keys()), Ok(()));
    for badge in [SESSION, Badge::Client(1)] {
        assert_eq!(world.call(badge, &Request::Begin), Err(RecordError::Denied));
    }
    assert_eq!(world.stats.read(stats::record::SESSIONS), 1);
}

#[test]
fn c05_sessions_outlive_the_offload_component_unless_they_wait_for_it() {
    for waits in [false, true] {
        let mut world = World::new(tls13(), None, Limits::default());
        if waits {
            world.client.refresh_traffic_keys().unwrap();
        }
        world.client.writer().write_all(b"before").unwrap();
        world.settle().unwrap();
        let mut world = world.restart_offload();
        world.run();
        let is_cut = world.app.peer_status(SLOT).has(Status::RESET);
        assert_eq!(is_cut, waits);
        if !waits {
            assert_eq!(world.app_read(), b"before");
            world.client.writer().write_all(b"after").unwrap();
            world.settle().unwrap();
            assert_eq!(world.app_read(), b"after");
            continue;
        }
        let error = world.settle().unwrap_err();
        assert!(error.to_string().contains("InternalError"), "{error}");
        assert!(world.offload.receive().is_none(), "it asks for nothing");
    }
}

#[test]
fn a_question_whose_answer_was_lost_ends_its_session() {
    for is_answered in [false, true] {
        let mut world = World::new(tls13(), None, Limits::default());
        world.client.refresh_traffic_keys().unwrap();
        world.settle().unwrap();
        let asked = world.now;
        assert_eq!(
            world.server.next_deadline(),
            asked + Duration::from_secs(30)
        );
        if is_answered {
            let proceed = Request::Proceed { generation: 3 };
            assert_eq!(world.call(SESSION, &proceed), Ok(()));
        }
        let mut ended = None;
        while world.server.next_deadline() != Instant::NEVER {
            assert!(ended.is_none(), "there is nothing to wait for");
            world.now = world.server.next_deadline();
            world.run();
            if world.app.peer_status(SLOT).has(Status::RESET) {
                ended = Some(world.now - asked);
            }
        }
        let expected = (!is_answered).then_some(Duration::from_secs(60));
        assert_eq!(ended, expected);
    }
}

#[test]
fn keys_and_answers_that_name_another_session_than_the_capability_are_refused() {
    let mut world = World::new(tls13(), None, Limits::default());
    world.client.refresh_traffic_keys().unwrap();
    world.settle().unwrap();
    let old = Request::Proceed { generation: 2 };
    assert_eq!(world.call(SESSION, &old), Err(RecordError::Stale));
    let refuse = Request::Refuse {
        generation: 4,
        alert: 10,
    };
    assert_eq!(world.call(SESSION, &refuse), Err(RecordError::Stale));
    assert!(!world.app.peer_status(SLOT).has(Status::RESET));
    assert_eq!(world.call(Badge::Control, &closing()), Ok(()));
    let next = Badge::Session {
        slot: SLOT,
        generation: 4,
    };
    // The keys of the last session's peer, through the capability of this one.
    assert_eq!(world.call(next, &keys_of(3)), Err(RecordError::Stale));
    assert_eq!(world.call(next, &keys_of(4)), Ok(()));
}
