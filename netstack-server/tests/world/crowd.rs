//! Peers behind the router that keep no state, in any number.

use ipc::net::{Answer, ConnectionId, Request};
use netstack_server::Limits;

use super::frames::{ACK, SYN, Segment};
use super::{PORT, STACK_IP, Sent, World};

/// A peer behind the router that keeps no state: it is as many as one likes.
pub(crate) fn segment(
    from: [u8; 4],
    port: u16,
    sequence: u32,
    acknowledged: u32,
    flags: u8,
) -> Segment {
    Segment {
        from: (from.into(), port),
        to: (STACK_IP.into(), PORT),
        sequence,
        acknowledged,
        flags,
        window: 4096,
        payload: vec![],
    }
}

/// Sends a SYN; the answer, if there is one.
pub(crate) fn knock(world: &mut World, from: [u8; 4], port: u16) -> Option<Sent> {
    world.from_stack.borrow_mut().log.clear();
    world.put(segment(from, port, 1000, 0, SYN).frame());
    world.stack.poll(world.now);
    world.from_stack.borrow_mut().frames.clear();
    let sent = world.sent();
    sent.into_iter().find(|sent| sent.to_port == port)
}

/// The rest of TCP's handshake.
pub(crate) fn enter(world: &mut World, from: [u8; 4], port: u16) -> bool {
    enter_at(world, from, port).is_some()
}

/// As [`enter`]; what the peer acknowledges.
pub(crate) fn enter_at(world: &mut World, from: [u8; 4], port: u16) -> Option<u32> {
    let answer = knock(world, from, port).filter(|answer| answer.syn)?;
    let acknowledged = answer.sequence.wrapping_add(1);
    world.put(segment(from, port, 1001, acknowledged, ACK).frame());
    world.stack.poll(world.now);
    Some(acknowledged)
}

/// The router's address is known.
pub(crate) fn near_router() -> World {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    world.ask(&Request::Abort { connection }).unwrap();
    world.run(3);
    world.peer.sockets.remove(handle);
    world
}

pub(crate) fn accept_all(world: &mut World) -> Vec<ConnectionId> {
    let mut accepted = Vec::new();
    while let Ok(Answer::Accepted { connection, .. }) = world.ask(&Request::Accept) {
        accepted.push(connection);
    }
    accepted
}

/// One address of many.
pub(crate) fn somebody(number: u32) -> [u8; 4] {
    (0x0a00_0300 + number).to_be_bytes()
}

/// Fills the table with connections that the gateway has taken.
pub(crate) fn full(world: &mut World) -> Vec<ConnectionId> {
    let mut accepted = Vec::new();
    for number in 0..Limits::SHIPPED.connections as u32 {
        if !enter(world, somebody(number), 2000) {
            break;
        }
        accepted.extend(accept_all(world));
    }
    accepted
}
