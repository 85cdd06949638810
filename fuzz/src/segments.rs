//! The executor of directed mode between a shim that sends any segment and a
//! peer that sends any byte.

use std::cell::RefCell;

use ipc::channel::Status;
use ipc::handshake::Directive;
use ipc::keystore::KeyKind;
use ipc::segment::Segment;
use ipc::stats;
use tls::Role;

use crate::bytes::Bytes;
use crate::wire::world::{World, parameters};

const SLOT: u16 = 0;

/// Segments and the peer's bytes in any order.
pub fn segments(data: &[u8]) {
    thread_local! {
        static WORLD: RefCell<Option<&'static mut World>> = const { RefCell::new(None) };
    }
    WORLD.with_borrow_mut(|world| {
        let world = world.get_or_insert_with(|| {
            Box::leak(Box::new(World::new(&[(
                "me",
                "server.test",
                KeyKind::EcdsaP256,
            )])))
        });
        let mut bytes = Bytes(data);
        let role = match bytes.byte() & 1 {
            0 => Role::Server,
            _ => Role::Client,
        };
        world.begin(SLOT, role, parameters(&["me"]));
        while !bytes.is_empty() {
            match bytes.byte() & 1 {
                0 => {
                    let said = bytes.vector();
                    world.exchange(SLOT, said);
                }
                _ => {
                    let Ok((segment, rest)) = postcard::take_from_bytes::<Segment>(bytes.0) else {
                        break;
                    };
                    bytes.0 = rest;
                    world.perform(SLOT, segment);
                    // What it has to say goes to the peer.
                    world.exchange(SLOT, &[]);
                }
            }
            while world.verdict().is_some() {}
            while world.completion().is_some() {}
        }
        world.net.set_status(SLOT, Status::RESET);
        let cancel = Directive::Cancel {
            slot: SLOT,
            generation: 1,
        };
        world.shim.send(&cancel).expect("room in the queue");
        world.run();
        while world.verdict().is_some() {}
        while world.completion().is_some() {}
        assert_eq!(world.stats.read(stats::offload::IN_PROGRESS), 0);
        world.segments.clear();
        world.installed.borrow_mut().clear();
    });
}
