//! The control invocation, with a network stack and a record layer that note
//! what they are asked, and a test that plays the offload component.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

mod world;

use ipc::badge::Badge;
use ipc::bounded::{Blob, List, Text};
use ipc::channel::SlotIndex;
use ipc::clock::Instant;
use ipc::control::{
    Answer, Cause, Failure, HandshakeError, HandshakeId, HandshakeRequest, PeerError, PolicyError,
    Request, RequestError, Resource,
};
use ipc::handshake::{Completion, Directive, Forget};
use ipc::net::{NetError, Owner, TcpPosition};
use ipc::record::Export;
use ipc::tls::Mode;
use tls::{Alert, Role};
use world::{
    APPLICATION, CERTIFICATE, Held, POSITION, World, error, established, request, session_badge,
};

fn start(world: &mut World) -> HandshakeId {
    world.start(APPLICATION).unwrap()
}

/// The slot, generation and session of the last start directive.
fn directive(world: &mut World) -> (SlotIndex, u16, SlotIndex) {
    let start = world.next_start();
    (start.slot, start.generation, start.session.0)
}

#[test]
fn r01_a_start_takes_the_connection_and_tells_the_offload_component() {
    let mut world = World::sized(4, 3, 1, &[Mode::Autonomous]);
    start(&mut world);
    let (slot, _, session) = directive(&mut world);
    assert_eq!(world.owners(), [Owner::Offload(slot)]);
    assert!(world.record.0.borrow().is_empty());
    assert_eq!(
        *world.windows.0.borrow(),
        [Held::Install(session, session_badge(session, 1))]
    );
}

#[test]
fn r09_a_result_is_collected_exactly_once() {
    let mut world = World::sized(4, 3, 1, &[Mode::Autonomous]);
    assert!(world.call(APPLICATION, &Request::Subscribe).is_ok());
    let id = start(&mut world);
    let (slot, generation, session) = directive(&mut world);
    let pending = world.call(APPLICATION, &Request::CollectResult(id));
    assert_eq!(
        error(pending),
        HandshakeError::Request(RequestError::Pending)
    );
    world.complete(slot, generation, POSITION);
    world.complete(slot, generation, POSITION);
    assert_eq!(world.told[0].0.get(), 1, "one completion");
    assert_eq!(world.owners()[1..], [Owner::Record(session)]);
    let Ok(Answer::Established(_, result)) = world.call(APPLICATION, &Request::CollectResult(id))
    else {
        panic!("no result");
    };
    assert_eq!(result.slot, session);
    assert_eq!(result.tcp, POSITION);
    assert!(result.established.keys.is_none());
    let again = world.call(APPLICATION, &Request::CollectResult(id));
    assert_eq!(error(again), HandshakeError::Request(RequestError::Unknown));
    let any = world.call(APPLICATION, &Request::CollectAny);
    assert!(matches!(any, Ok(Answer::NothingCompleted)));
}

#[test]
fn r04_wakeups_between_start_and_completion_are_counted() {
    let mut world = World::sized(4, 3, 1, &[Mode::Autonomous]);
    for others in [0, 3] {
        let id = start(&mut world);
        let (slot, generation, _) = directive(&mut world);
        for _ in 0..others {
            assert!(world.call(APPLICATION, &Request::Subscribe).is_ok());
        }
        world.complete(slot, generation, POSITION);
        let Ok(Answer::Established(_, result)) =
            world.call(APPLICATION, &Request::CollectResult(id))
        else {
            panic!("no result");
        };
        assert_eq!(result.shim_wakeups, others);
    }
}

#[test]
fn r06_a_request_without_the_right_is_refused_and_nothing_is_touched() {
    type Change = fn(&mut HandshakeRequest);
    let cases: [(Change, HandshakeError); 10] = [
        (
            |r| r.role = Role::Client,
            HandshakeError::Policy(PolicyError::Role),
        ),
        (
            |r| r.mode = Mode::Directed,
            HandshakeError::Policy(PolicyError::Mode),
        ),
        (
            |r| {
                let other = Text::from_text("other").unwrap();
                r.parameters.keyrings = List::from_items([other]).unwrap();
            },
            HandshakeError::Policy(PolicyError::Keyring),
        ),
        (
            |r| r.parameters.expose_keys = true,
            HandshakeError::Policy(PolicyError::ExposeKeys),
        ),
        (
            |r| r.parameters.allow_static_rsa = true,
            HandshakeError::Request(RequestError::Unsupported),
        ),
        (
            |r| r.parameters.versions = List::new(),
            HandshakeError::Request(RequestError::NoVersion),
        ),
        (
            |r| r.parameters.keyrings = List::new(),
            HandshakeError::Request(RequestError::NoKeyring),
        ),
        (
            |r| r.parameters.segment_size = 63,
            HandshakeError::Request(RequestError::SegmentSize),
        ),
        (
            |r| r.parameters.segment_size = 16385,
            HandshakeError::Request(RequestError::SegmentSize),
        ),
        (
            |r| r.deadline = Instant::from_millis(100),
            HandshakeError::Request(RequestError::Deadline),
        ),
    ];
    for (change, reason) in cases {
        let mut world = World::sized(4, 3, 1, &[Mode::Autonomous]);
        let mut wrong = request(Mode::Autonomous);
        change(&mut wrong);
        let reply = world.call(APPLICATION, &Request::StartHandshake(wrong));
        assert_eq!(error(reply), reason);
        assert!(world.net.asked.borrow().is_empty());
        assert!(world.record.0.borrow().is_empty());
        assert!(world.offload.receive().is_none());
    }
    let mut world = World::sized(4, 3, 1, &[Mode::Autonomous]);
    let stranger = world.call(
        Badge::Client(2),
        &Request::StartHandshake(request(Mode::Autonomous)),
    );
    assert_eq!(error(stranger), HandshakeError::Policy(PolicyError::Client));
}

#[test]
fn r08_a_connection_that_does_not_stand_where_it_should_is_refused() {
    for (refusal, reason) in [
        (NetError::WrongSequence, RequestError::TcpSequence),
        (NetError::NoConnection, RequestError::Connection),
        (NetError::Denied, RequestError::Connection),
    ] {
        let mut world = World::sized(4, 3, 1, &[Mode::Autonomous]);
        world.net.refuse.set(Some(refusal));
        let reply = world.call(
            APPLICATION,
            &Request::StartHandshake(request(Mode::Autonomous)),
        );
        assert_eq!(error(reply), HandshakeError::Request(reason));
        assert!(world.record.0.borrow().is_empty());
        assert!(world.windows.0.borrow().is_empty());
        assert!(world.offload.receive().is_none());
    }
}

#[test]
fn a_full_table_is_a_resource_error_and_empties_again() {
    let mut world = World::sized(2, 3, 1, &[Mode::Autonomous]);
    let ids = [start(&mut world), start(&mut world)];
    let full = world.call(
        APPLICATION,
        &Request::StartHandshake(request(Mode::Autonomous)),
    );
    assert_eq!(error(full), HandshakeError::Resource(Resource::Handshakes));
    for id in ids {
        let (slot, generation, _) = directive(&mut world);
        world.fail(slot, generation);
        let reply = world.call(APPLICATION, &Request::CollectResult(id));
        assert_eq!(error(reply), HandshakeError::Peer(PeerError::Closed));
    }
    assert_eq!(world.releases(), 2);
    assert!(world.windows.0.borrow().is_empty());
    let third = start(&mut world);
    assert!(!ids.contains(&third), "a name is not used twice");
}

#[test]
fn what_of_the_peer_s_part_was_wrong_is_told_with_the_error() {
    let mut world = World::sized(2, 3, 1, &[Mode::Autonomous]);
    let id = start(&mut world);
    let (slot, generation, _) = directive(&mut world);
    let error = HandshakeError::Peer(PeerError::AlertSent(Alert::HANDSHAKE_FAILURE));
    let cause = Some(Cause::Group);
    let completion = Completion::Failed {
        slot,
        generation,
        error,
        cause,
    };
    world.offload.send(&completion).unwrap();
    world.shim.run();
    let reply = world.call(APPLICATION, &Request::CollectAny);
    let Ok(Answer::Failed(found, failure)) = reply else {
        panic!("no failure");
    };
    assert_eq!((found, failure), (id, Failure { error, cause }));
}

#[test]
fn r32_a_completion_at_another_byte_than_the_connections_is_no_session() {
    let mut world = World::sized(4, 3, 1, &[Mode::Autonomous]);
    let id = start(&mut world);
    let (slot, generation, _) = directive(&mut world);
    let elsewhere = TcpPosition {
        tx_next: POSITION.tx_next,
        rx_next: POSITION.rx_next + 1,
    };
    world.complete(slot, generation, elsewhere);
    let reply = world.call(APPLICATION, &Request::CollectResult(id));
    assert_eq!(error(reply), HandshakeError::Resource(Resource::Internal));
    assert!(world.windows.0.borrow().is_empty());
}

#[test]
fn a_session_is_closed_by_its_capability_alone_and_once() {
    let mut world = World::sized(4, 3, 1, &[Mode::Autonomous]);
    let id = start(&mut world);
    let (slot, generation, session) = directive(&mut world);
    world.complete(slot, generation, POSITION);
    assert!(world.call(APPLICATION, &Request::CollectResult(id)).is_ok());
    let capability = Badge::Session {
        slot: session,
        generation: 1,
    };
    let by_client = world.call(APPLICATION, &Request::CloseSession);
    assert_eq!(
        error(by_client),
        HandshakeError::Policy(PolicyError::Client)
    );
    let mut certificate = Vec::new();
    loop {
        let offset = u16::try_from(certificate.len()).unwrap();
        let request = Request::PeerCertificate { offset };
        let Ok(Answer::Certificate(part)) = world.call(capability, &request) else {
            panic!("no certificate");
        };
        if part.is_empty() {
            break;
        }
        certificate.extend_from_slice(&part);
    }
    assert_eq!(certificate, CERTIFICATE);
    assert!(matches!(
        world.call(capability, &Request::CloseSession),
        Ok(Answer::Done)
    ));
    assert!(world.windows.0.borrow().is_empty());
    assert_eq!(world.releases(), 1);
    let forget = Forget {
        session,
        generation: 1,
    };
    assert_eq!(world.forgotten.receive(), Some(Ok(forget)));
    let again = world.call(capability, &Request::CloseSession);
    assert_eq!(error(again), HandshakeError::Request(RequestError::Unknown));
}

#[test]
fn keying_material_is_exported_by_the_capability_of_its_session_alone() {
    let mut world = World::sized(4, 3, 1, &[Mode::Autonomous]);
    let id = start(&mut world);
    let (slot, generation, session) = directive(&mut world);
    let export = |label: &[u8]| {
        Request::Export(Export {
            label: Blob::from_slice(label).unwrap(),
            context: None,
            length: 32,
            offset: 0,
        })
    };
    let asked = export(b"EXPORTER-test");
    let badge = |generation| Badge::Session {
        slot: session,
        generation,
    };
    world.complete(slot, generation, POSITION);
    assert!(world.call(APPLICATION, &Request::CollectResult(id)).is_ok());
    world.record.0.borrow_mut().clear();
    for client in [APPLICATION, Badge::Client(2)] {
        let denied = world.call(client, &asked);
        assert_eq!(error(denied), HandshakeError::Policy(PolicyError::Client));
    }
    let unknown = HandshakeError::Request(RequestError::Unknown);
    let other_slot = Badge::Session {
        slot: session + 1,
        generation: 1,
    };
    for other in [badge(0), badge(2), other_slot] {
        assert_eq!(error(world.call(other, &asked)), unknown);
    }
    assert!(world.record.0.borrow().is_empty(), "nobody was asked");
    let Ok(Answer::Exported(part)) = world.call(badge(1), &asked) else {
        panic!("no keying material");
    };
    assert_eq!(part.expose(), [7; 32]);
    assert_eq!(*world.record.0.borrow(), [format!("export {session} 1")]);
    let reserved = world.call(badge(1), &export(b"key expansion"));
    let unsupported = HandshakeError::Request(RequestError::Unsupported);
    assert_eq!(error(reserved), unsupported);
    assert!(world.call(badge(1), &Request::CloseSession).is_ok());
    assert_eq!(error(world.call(badge(1), &asked)), unknown);
}

#[test]
fn a_cancel_is_passed_on_for_ones_own_handshake_only() {
    let mut world = World::sized(4, 3, 1, &[Mode::Autonomous]);
    let id = start(&mut world);
    directive(&mut world);
    let other = world.call(Badge::Client(2), &Request::Cancel(id));
    assert_eq!(error(other), HandshakeError::Request(RequestError::Unknown));
    assert!(world.offload.receive().is_none());
    assert!(world.call(APPLICATION, &Request::Cancel(id)).is_ok());
    assert!(matches!(
        world.offload.receive(),
        Some(Ok(Directive::Cancel { .. }))
    ));
}

#[test]
fn a_client_that_is_restarted_has_no_handshake_and_no_session() {
    let mut world = World::sized(4, 3, 1, &[Mode::Autonomous]);
    let (done, pending) = (start(&mut world), start(&mut world));
    let (slot, generation, session) = directive(&mut world);
    let (other, other_generation, _) = directive(&mut world);
    world.complete(slot, generation, POSITION);
    assert!(
        world
            .call(APPLICATION, &Request::CollectResult(done))
            .is_ok()
    );
    world.record.0.take();
    assert_eq!(world.windows.0.borrow().len(), 3);

    assert!(world.call(APPLICATION, &Request::Begin).is_ok());
    assert_eq!(world.windows.0.take(), []);
    assert_eq!(world.releases(), 2);
    let closed = world.record.0.take();
    assert!(closed.contains(&format!("close {session} 1")), "{closed:?}");
    assert_eq!(closed.len(), 2);
    let asked: Vec<_> = core::iter::from_fn(|| world.offload.receive()).collect();
    assert!(matches!(
        asked[..],
        [Ok(Directive::Cancel { slot, generation })]
            if (slot, generation) == (other, other_generation)
    ));
    let unknown = HandshakeError::Request(RequestError::Unknown);
    assert_eq!(
        error(world.call(APPLICATION, &Request::CollectResult(pending))),
        unknown
    );
    // What the offload component says of it comes too late.
    world.fail(other, other_generation);
    assert!(matches!(
        world.call(APPLICATION, &Request::CollectAny),
        Ok(Answer::NothingCompleted)
    ));
}

#[test]
fn handshakes_of_an_offload_component_that_is_restarted_fail() {
    let mut world = World::sized(4, 3, 1, &[Mode::Autonomous]);
    let (done, pending) = (start(&mut world), start(&mut world));
    // It completed the first before it terminated, and never saw the second.
    let (slot, generation, _) = directive(&mut world);
    let completion = Completion::Established {
        slot,
        generation,
        established: Box::new(established(POSITION)),
    };
    world.offload.send(&completion).unwrap();
    let mut world = world.restart_offload();
    world.shim.run();
    assert!(
        world
            .call(APPLICATION, &Request::CollectResult(done))
            .is_ok()
    );
    let failed = error(world.call(APPLICATION, &Request::CollectResult(pending)));
    assert_eq!(failed, HandshakeError::ServerRestarted);
    assert_eq!(world.windows.0.borrow().len(), 2, "of the session");
    assert_eq!(world.releases(), 1);
    // It is notified of new handshakes, and of nothing before.
    assert!(world.offload.receive().is_none());
    start(&mut world);
    directive(&mut world);
}
