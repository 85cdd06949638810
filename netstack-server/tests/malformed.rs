//! Messages that no honest gateway and no honest shim sends.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../../ipc/tests/noise/mod.rs"]
mod noise;
mod world;

use ipc::badge::Badge;
use ipc::clock::Instant;
use ipc::net::{Answer, ConnectionId, Net, NetError, Owner, Ready, Request};
use ipc::transport::MAX_MESSAGE;
use noise::{Sufferer, storm};
use world::{BACKEND_PORT, CLIENT, PEER_IP, PORT, World, address};

struct Stack {
    world: World,
    /// For each operation that names one.
    connections: [ConnectionId; 4],
}

impl Stack {
    fn new() -> Self {
        let mut world = World::new();
        let connections = [(); 4].map(|()| world.connected().1);
        Self { world, connections }
    }

    fn abort(&mut self, connection: ConnectionId) {
        let request = Request::Abort { connection };
        // It may be gone by itself.
        let _ = self.world.call(Badge::Control, &request);
    }
}

impl Sufferer for Stack {
    type Protocol = Net;

    fn serve(&mut self, valid: &Request, message: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> usize {
        let badge = match valid.is_for_control() {
            true => Badge::Control,
            false => Badge::Client(CLIENT),
        };
        let World { stack, now, .. } = &mut self.world;
        let length = stack.serve(badge.to_word(), message, reply, *now);
        stack.poll(*now);
        length
    }

    fn look(&mut self, answer: &Result<Answer, NetError>) {
        if let Ok(Answer::Connecting { connection, .. } | Answer::Accepted { connection, .. }) =
            answer
            && !self.connections.contains(connection)
        {
            self.abort(*connection);
        }
    }

    fn recover(&mut self) {
        self.world.run(50);
        // A message may have closed the listener.
        let listen = Request::Listen {
            port: PORT,
            backlog: 4,
            ready: Ready::Established,
            share: None,
        };
        let _ = self.world.call(Badge::Client(CLIENT), &listen);
        let (handle, connection) = self.world.connected();
        let slot = self.world.attach(connection);
        self.world.peer.send(handle, b"still there");
        self.world.run(8);
        let mut bytes = [0; 32];
        let count = self.world.gateway.read(slot, &mut bytes).unwrap();
        assert_eq!(&bytes[..count], b"still there");
        self.abort(connection);
        self.world.run(50);
        let peer = &mut self.world.peer;
        peer.sockets.remove(handle);
        for queue in [&self.world.to_stack, &self.world.from_stack] {
            queue.borrow_mut().log = Vec::new();
            queue.borrow_mut().frames = std::collections::VecDeque::new();
        }
    }
}

#[test]
fn malformed_messages_get_an_answer_and_cost_nobody_else_anything() {
    let mut stack = Stack::new();
    let [attached, aborted, released, moved] = stack.connections;
    let deadline = Instant::from_millis(60_000);
    let valid = [
        Request::Listen {
            port: PORT,
            backlog: 4,
            ready: Ready::Established,
            share: None,
        },
        Request::Connect {
            to: address(PEER_IP, BACKEND_PORT),
            deadline,
        },
        Request::Attach {
            connection: attached,
            deadline,
        },
        Request::Abort {
            connection: aborted,
        },
        Request::Release {
            connection: released,
        },
        Request::Move {
            connection: moved,
            client: CLIENT,
            to: Owner::Offload(0),
            deadline,
            expected_tx_next: Some(1),
        },
        Request::ReleaseWithReset {
            connection: released,
        },
    ];
    storm(&mut stack, valid);
}
