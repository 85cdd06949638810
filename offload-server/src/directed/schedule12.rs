//! The master secret and keys of TLS 1.2 (RFC 5246 §8.1, §6.3; RFC 7627).

use rustls::Tls12CipherSuite;
use rustls::crypto::hash::Output;
use tls::{Role, Secret, TrafficKey};
use zeroize::{Zeroize, Zeroizing};

const MASTER: usize = 48;
/// RFC 5246 §7.4.9.
pub(super) const VERIFY_DATA: usize = 12;
/// Two keys, two nonce bases, and the base of the explicit nonce.
const MAX_BLOCK: usize = 2 * 32 + 2 * 12 + 8;

/// The master secret.
pub(super) struct Master {
    suite: &'static Tls12CipherSuite,
    secret: Zeroizing<[u8; MASTER]>,
}

impl Master {
    /// The extended master secret; `session_hash` covers the messages up to
    /// ClientKeyExchange.
    pub(super) fn new(
        suite: &'static Tls12CipherSuite,
        pre_master: &[u8],
        session_hash: &Output,
    ) -> Self {
        let mut secret = Zeroizing::new([0; MASTER]);
        suite.prf_provider.for_secret(
            &mut *secret,
            pre_master,
            b"extended master secret",
            session_hash.as_ref(),
        );
        Self { suite, secret }
    }

    /// That of an earlier session; `None` when it is none.
    pub(super) fn resumed(suite: &'static Tls12CipherSuite, secret: &[u8]) -> Option<Self> {
        let mut master = Zeroizing::new([0; MASTER]);
        if secret.len() != MASTER {
            return None;
        }
        master.copy_from_slice(secret);
        Some(Self {
            suite,
            secret: master,
        })
    }

    /// The secret itself, to be sealed in a ticket or kept with one.
    pub(super) fn expose(&self) -> &[u8] {
        &*self.secret
    }

    /// The keys of client and server. `own` is the side whose explicit nonces
    /// are ours to choose.
    pub(super) fn keys(
        &self,
        client_random: &[u8; 32],
        server_random: &[u8; 32],
        own: Role,
    ) -> Option<(TrafficKey, TrafficKey)> {
        let shape = self.suite.aead_alg.key_block_shape();
        let (key, iv, explicit) = (
            shape.enc_key_len,
            shape.fixed_iv_len,
            shape.explicit_nonce_len,
        );
        let mut seed = [0; 64];
        for (to, from) in seed
            .iter_mut()
            .zip(server_random.iter().chain(client_random))
        {
            *to = *from;
        }
        let mut block = Zeroizing::new([0; MAX_BLOCK]);
        let block = block.get_mut(..2 * key + 2 * iv + explicit)?;
        self.suite
            .prf_provider
            .for_secret(block, &*self.secret, b"key expansion", &seed);
        let (client_key, rest) = block.split_at_checked(key)?;
        let (server_key, rest) = rest.split_at_checked(key)?;
        let (client_iv, rest) = rest.split_at_checked(iv)?;
        let (server_iv, explicit) = rest.split_at_checked(iv)?;
        let made = |key: &[u8], iv: &[u8], is_own: bool| {
            let mut base = [0; 12];
            let explicit: &[u8] = if is_own { explicit } else { &[] };
            for (to, from) in base.iter_mut().zip(iv.iter().chain(explicit)) {
                *to = *from;
            }
            let made = TrafficKey {
                key: Secret::from_slice(key).ok()?,
                iv: Secret::from_slice(&base).ok()?,
                sequence: 0,
            };
            base.zeroize();
            Some(made)
        };
        Some((
            made(client_key, client_iv, own == Role::Client)?,
            made(server_key, server_iv, own == Role::Server)?,
        ))
    }

    /// The MAC of `sender`'s Finished.
    pub(super) fn verify_data(&self, sender: Role, transcript: &Output) -> [u8; VERIFY_DATA] {
        let label: &[u8] = match sender {
            Role::Client => b"client finished",
            Role::Server => b"server finished",
        };
        let mut data = [0; VERIFY_DATA];
        self.suite
            .prf_provider
            .for_secret(&mut data, &*self.secret, label, transcript.as_ref());
        data
    }
}
