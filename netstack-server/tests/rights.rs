//! Who may ask for what, and what malformed requests cost.

mod world;

use ipc::badge::{Badge, CALL};
use ipc::clock::Instant;
use ipc::net::{Answer, ConnectionId, NetError, Owner, Ready, Request};
use ipc::stats::netstack as counters;
use world::{BACKEND_PORT, CLIENT, PEER_IP, PORT, STRANGER, World, address};

const DENIED: Result<Answer, NetError> = Err(NetError::Denied);

fn a_move(connection: ConnectionId, client: u16) -> Request {
    Request::Move {
        connection,
        client,
        to: Owner::Offload(0),
        deadline: Instant::NEVER,
        expected_tx_next: None,
    }
}

#[test]
fn each_request_is_denied_to_who_has_no_right_to_it() {
    let mut world = World::new();
    let (_, connection) = world.connected();
    let ready = Ready::Established;
    let listen = |port| Request::Listen {
        port,
        backlog: 1,
        ready,
        share: None,
    };
    let connect = |port| Request::Connect {
        to: address(PEER_IP, port),
        deadline: Instant::NEVER,
    };
    let mine = Badge::Client(CLIENT);
    let stranger = Badge::Client(STRANGER);
    let nobody = Badge::Client(77);
    let session = Badge::Session {
        slot: 0,
        generation: 0,
    };
    let abort = Request::Abort { connection };
    let release = Request::Release { connection };
    let attach = Request::Attach {
        connection,
        deadline: Instant::NEVER,
    };
    let denied = [
        (mine, listen(PORT + 1)),
        (stranger, listen(PORT)),
        (nobody, listen(PORT)),
        (session, listen(PORT)),
        (Badge::Control, listen(PORT)),
        (nobody, Request::Accept),
        (Badge::Control, Request::Accept),
        (mine, connect(BACKEND_PORT + 1)),
        (stranger, connect(BACKEND_PORT)),
        (Badge::Control, connect(BACKEND_PORT)),
        (stranger, attach.clone()),
        (Badge::Control, attach),
        (stranger, abort.clone()),
        (session, abort),
        (stranger, release.clone()),
        (session, release),
        (mine, a_move(connection, CLIENT)),
        (session, a_move(connection, CLIENT)),
        (Badge::Control, a_move(connection, STRANGER)),
    ];
    for (count, (badge, request)) in denied.iter().enumerate() {
        assert_eq!(world.call(*badge, request), DENIED, "{badge:?} {request:?}");
        assert_eq!(world.count(counters::DENIED), count as u64 + 1);
    }
    assert_eq!(world.ask(&listen(PORT)), Err(NetError::PortInUse));
    assert_eq!(
        world.call(stranger, &Request::Accept),
        Ok(Answer::NothingWaits)
    );
}

#[test]
fn a_connection_that_was_moved_is_no_longer_its_clients() {
    let mut world = World::new();
    let (_, connection) = world.connected();
    world.hand_over(connection, Owner::Offload(0));
    for request in [
        Request::Attach {
            connection,
            deadline: Instant::NEVER,
        },
        Request::Abort { connection },
        Request::Release { connection },
    ] {
        assert_eq!(world.ask(&request), DENIED);
    }
    let abort = Request::Abort { connection };
    assert_eq!(world.call(Badge::Control, &abort), Ok(Answer::Done));
}

#[test]
fn names_of_no_connection_are_refused() {
    let mut world = World::new();
    let (_, connection) = world.connected();
    let ConnectionId(word) = connection;
    for name in [0, 1, word + 1, word + (1 << 32), u64::MAX, word ^ (1 << 63)] {
        let connection = ConnectionId(name);
        for request in [
            Request::Attach {
                connection,
                deadline: Instant::NEVER,
            },
            Request::Abort { connection },
            Request::Release { connection },
        ] {
            assert_eq!(world.ask(&request), Err(NetError::NoConnection));
        }
        let moved = world.call(Badge::Control, &a_move(connection, CLIENT));
        assert_eq!(moved, Err(NetError::NoConnection));
    }
}

#[test]
fn a_connection_that_was_not_accepted_has_no_name_yet() {
    let mut world = World::new();
    world.listen(8);
    world.peer.connect(PORT);
    world.run(8);
    for name in 0..4u64 {
        let connection = ConnectionId(1 << 32 | name);
        let abort = world.call(Badge::Control, &Request::Abort { connection });
        assert_eq!(abort, Err(NetError::NoConnection));
    }
    assert!(world.accept().is_some());
}

#[test]
fn a_connection_goes_to_no_other_application_than_its_client() {
    let mut world = World::new();
    let (_, connection) = world.connected();
    let to = |client| Owner::Application { client, slot: 3 };
    let moved = world.try_move(connection, to(STRANGER), Instant::NEVER, None);
    assert_eq!(moved, Err(NetError::Denied));
    assert!(
        world
            .try_move(connection, to(CLIENT), Instant::NEVER, None)
            .is_ok()
    );
}

#[test]
fn a_client_has_no_more_connections_than_it_may_whatever_it_does_with_them() {
    const MOST: usize = 5;
    let mut world = World::holding(MOST);
    // One is attached, one moved away, the others are left as they are.
    let mut held: Vec<_> = (0..MOST).map(|_| world.connected().1).collect();
    world
        .ask(&Request::Attach {
            connection: held[0],
            deadline: Instant::NEVER,
        })
        .unwrap();
    let to = Owner::Offload(0);
    world.try_move(held[1], to, Instant::NEVER, None).unwrap();
    let one_more = |world: &mut World| {
        let handle = world.peer.connect(PORT);
        world.run(8);
        // It learns how many were evicted.
        let connection = loop {
            match world.ask(&Request::Accept) {
                Ok(Answer::GaveWay { .. }) => {}
                Ok(Answer::Accepted { connection, .. }) => break Some(connection),
                _ => break None,
            }
        };
        let socket = world
            .peer
            .sockets
            .get::<smoltcp::socket::tcp::Socket<'_>>(handle);
        assert_eq!(socket.is_open(), connection.is_some(), "or a reset");
        connection
    };
    let to = address(PEER_IP, BACKEND_PORT);
    let connect = Request::Connect {
        to,
        deadline: Instant::NEVER,
    };
    for round in 0..20 {
        assert_eq!(one_more(&mut world), None, "round {round}");
        assert_eq!(world.ask(&connect), Err(NetError::Full));
        // Each way to give one up makes room for one.
        let connection = held.remove(if round == 0 { 1 } else { 0 });
        let request = match round % 3 {
            0 => Request::Abort { connection },
            1 => Request::Release { connection },
            _ => Request::ReleaseWithReset { connection },
        };
        let badge = match round {
            0 => Badge::Control,
            _ => Badge::Client(CLIENT),
        };
        assert_eq!(world.call(badge, &request), Ok(Answer::Done));
        held.push(one_more(&mut world).expect("there is room"));
    }
    // A client that begins again holds nothing.
    world.ask(&Request::Begin).unwrap();
    world.listen(64);
    let held: Vec<_> = (0..MOST).map(|_| world.connected().1).collect();
    assert_eq!((held.len(), one_more(&mut world)), (MOST, None));
}

#[test]
fn a_slot_that_does_not_exist_is_refused() {
    let mut world = World::new();
    let (_, connection) = world.connected();
    for to in [
        Owner::Offload(world::SLOTS),
        Owner::Record(u16::MAX),
        Owner::Application {
            client: CLIENT,
            slot: world::SLOTS,
        },
    ] {
        let moved = world.try_move(connection, to, Instant::NEVER, None);
        assert_eq!(moved, Err(NetError::SlotInUse));
    }
}

#[test]
fn malformed_requests_cost_their_sender_the_request_and_nothing_else() {
    let mut world = World::new();
    let (_, connection) = world.connected();
    let mut bytes = [0; 64];
    let whole = postcard::to_slice(&a_move(connection, CLIENT), &mut bytes).unwrap();
    let badge = Badge::Control.to_word();
    for length in 0..whole.len() {
        let cut = whole[..length].to_vec();
        assert_eq!(world.call_raw(badge, &cut), Err(NetError::Malformed));
    }
    let long = [&whole[..], &[0]].concat();
    assert_eq!(world.call_raw(badge, &long), Err(NetError::Malformed));
    assert_eq!(world.call_raw(badge, &[99; 40]), Err(NetError::Malformed));
    let accept = [1];
    for word in [0, 1, CALL | 5 << 24, u64::MAX] {
        assert_eq!(world.call_raw(word, &accept), DENIED);
    }
    let whole = whole.to_vec();
    assert!(world.call_raw(badge, &whole).is_ok());
}

#[test]
fn without_an_address_there_is_no_network() {
    let mut world = World::made(
        netstack_server::Limits::default(),
        ipc::provision::AddressConfig::Dhcp,
    );
    let connect = Request::Connect {
        to: address(PEER_IP, BACKEND_PORT),
        deadline: Instant::NEVER,
    };
    assert_eq!(world.ask(&connect), Err(NetError::Unreachable));
}
