//! Clients with long chains, many at once, in the shipped sizes: each gets the memory for its
//! own, one after the other.

use crate::chains::{flight, records, with_certificates};
use crate::world::{World, parameters};
use ipc::handshake::Completion;
use ipc::keystore::KeyKind;
use ipc::tls::{Mode, PeerAuthentication};
use rustls::pki_types::CertificateDer;
use tls::{Role, Version};

/// The channels of `image/system.toml`.
const HANDSHAKES: u16 = 224;
const SESSIONS: u16 = 1536;

#[test]
fn a_hundred_clients_with_chains_of_16_kb_are_let_in_side_by_side() {
    const CLIENTS: u16 = 100;
    for mode in [Mode::Autonomous, Mode::Directed] {
        let rings = [("web", "localhost", KeyKind::EcdsaP256)];
        let world = World::sized(&rings, HANDSHAKES, SESSIONS);
        let mut world = match mode {
            Mode::Autonomous => world,
            Mode::Directed => world.with_director(&rings, HANDSHAKES, Vec::new()),
        };
        let config = with_certificates(
            &world,
            Version::Tls13,
            &[long_certificate(), long_certificate()],
        );
        let mut asked = parameters(&["web"]);
        asked.peer_authentication = PeerAuthentication::Require;
        let mut flights = Vec::new();
        for slot in 0..CLIENTS {
            world.start_as(slot, Role::Server, asked.clone());
            flights.push(flight(&mut world, slot, &config));
        }
        assert!(flights.iter().all(|flight| flight.len() > 16_000));
        // All but the last record: nobody has finished, and each holds what it has sent.
        let ends: Vec<_> = flights
            .iter()
            .map(|flight| *records(flight).last().unwrap())
            .collect();
        for (slot, flight) in (0..).zip(&flights) {
            world.exchange(slot, &flight[..ends[usize::from(slot)]]);
        }
        assert_eq!(world.stats.read(ipc::stats::offload::FAILED), 0);
        for (slot, flight) in (0..).zip(&flights) {
            world.exchange(slot, &flight[ends[usize::from(slot)]..]);
        }
        let established = std::iter::from_fn(|| world.completion())
            .filter(|completion| matches!(completion, Completion::Established { .. }));
        assert_eq!(established.count(), usize::from(CLIENTS), "{mode:?}");
    }
}

/// A certificate of some 8 KB that is no part of any path.
fn long_certificate() -> CertificateDer<'static> {
    let key = crate::world::key_of(KeyKind::EcdsaP256);
    let names: Vec<_> = (0..480)
        .map(|number| format!("name-{number}.example"))
        .collect();
    let params = rcgen::CertificateParams::new(names).unwrap();
    params.self_signed(&key).unwrap().der().clone()
}
