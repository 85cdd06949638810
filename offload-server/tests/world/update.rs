//! Updates of the key rings, as they come to a running system.

use ipc::provision::update::{CONTEXT, MAGIC};
use ipc::provision::{Keyring, Keyrings, Rings, Update};
use ipc::tls::Label;
use keystore_server::firmware;
use keystore_server::rotation::Receiver;
use ring::signature::{Ed25519KeyPair, KeyPair};

use super::World;

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

/// Who may replace the rings of a world.
pub fn signer() -> [u8; 32] {
    key().public_key().as_ref().try_into().unwrap()
}

impl World {
    /// Replaces the rings of these labels.
    pub fn update(&mut self, version: u64, rings: Vec<Keyring>) {
        let rings = Rings::Open(Keyrings(rings));
        let update = postcard::to_allocvec(&Update { version, rings }).unwrap();
        let length = u32::try_from(update.len()).unwrap().to_le_bytes();
        let signature = key().sign(&[CONTEXT, &update].concat());
        let line = [&MAGIC[..], &length, signature.as_ref(), &update].concat();
        let mut receiver = Receiver::default();
        let mut frames = line.iter().filter_map(|byte| receiver.take(*byte).unwrap());
        let frame = frames.next().unwrap();
        let mut store = self.store.lock().unwrap();
        assert_eq!(store.rotate(&frame, firmware::absent).unwrap(), version);
        drop(store);
        self.offload.refetch();
    }

    /// The rings of which the log says that a revocation list is out of date.
    pub fn overdue(&mut self) -> Vec<Label> {
        std::iter::from_fn(|| self.offload.overdue_crl()).collect()
    }

    /// The same of OCSP responses.
    pub fn overdue_responses(&mut self) -> Vec<Label> {
        std::iter::from_fn(|| self.offload.overdue_response()).collect()
    }
}
