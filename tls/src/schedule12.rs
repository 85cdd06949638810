//! The PRF, master secret and keys of TLS 1.2 (RFC 5246 §5, §8.1, §6.3; RFC 7627).

use ring::hmac;
use zeroize::{Zeroize, Zeroizing};

use crate::hkdf::hmac_algorithm;
use crate::keys::TrafficKey;
use crate::names::{Role, Version};
use crate::secret::Secret;
use crate::suite::{CipherSuite, Hash};

/// Bytes of a master secret (RFC 5246 §8.1).
pub const MASTER: usize = 48;
/// Bytes of the MAC in Finished (RFC 5246 §7.4.9).
pub const VERIFY_DATA: usize = 12;
/// Two keys, two nonce bases, and the base of the explicit nonce.
const MAX_BLOCK: usize = 2 * 32 + 2 * 12 + 8;

/// Fills `out` with the PRF of TLS 1.2 (RFC 5246 §5), over any hash of a suite.
pub fn prf(hash: Hash, secret: &[u8], label: &[u8], seed: &[u8], out: &mut [u8]) {
    let key = hmac::Key::new(hmac_algorithm(hash), secret);
    let mut a = sign(&key, &[label, seed]);
    let mut chunks = out.chunks_mut(hash.len()).peekable();
    while let Some(chunk) = chunks.next() {
        let part = sign(&key, &[a.as_ref(), label, seed]);
        for (to, from) in chunk.iter_mut().zip(part.as_ref()) {
            *to = *from;
        }
        if chunks.peek().is_some() {
            a = sign(&key, &[a.as_ref()]);
        }
    }
}

fn sign(key: &hmac::Key, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    context.sign()
}

/// The master secret of a suite of TLS 1.2.
pub struct Master {
    suite: CipherSuite,
    secret: Zeroizing<[u8; MASTER]>,
}

impl Master {
    /// The extended master secret (RFC 7627 §4); `session_hash` covers the messages up to
    /// ClientKeyExchange.
    pub fn new(suite: CipherSuite, pre_master: &[u8], session_hash: &[u8]) -> Self {
        let mut secret = Zeroizing::new([0; MASTER]);
        let label = b"extended master secret";
        prf(suite.hash(), pre_master, label, session_hash, &mut *secret);
        Self { suite, secret }
    }

    /// That of an earlier session; `None` when it has another length.
    pub fn resumed(suite: CipherSuite, secret: &[u8]) -> Option<Self> {
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
    pub fn expose(&self) -> &[u8] {
        &*self.secret
    }

    /// The keys of client and server (RFC 5246 §6.3). `own` is the side whose explicit
    /// nonces are ours to choose. `None` for a suite of TLS 1.3.
    pub fn keys(
        &self,
        client_random: &[u8; 32],
        server_random: &[u8; 32],
        own: Role,
    ) -> Option<(TrafficKey, TrafficKey)> {
        if self.suite.version() != Version::Tls12 {
            return None;
        }
        let key = self.suite.aead().key_len();
        // RFC 5288 §3, RFC 7905 §2.
        let (iv, explicit) = match self.suite.has_explicit_nonce() {
            true => (4, 8),
            false => (12, 0),
        };
        let mut seed = [0; 64];
        for (to, from) in seed
            .iter_mut()
            .zip(server_random.iter().chain(client_random))
        {
            *to = *from;
        }
        let mut block = Zeroizing::new([0; MAX_BLOCK]);
        let block = block.get_mut(..2 * key + 2 * iv + explicit)?;
        let hash = self.suite.hash();
        prf(hash, &*self.secret, b"key expansion", &seed, block);
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

    /// The MAC of `sender`'s Finished (RFC 5246 §7.4.9).
    pub fn verify_data(&self, sender: Role, transcript: &[u8]) -> [u8; VERIFY_DATA] {
        let label: &[u8] = match sender {
            Role::Client => b"client finished",
            Role::Server => b"server finished",
        };
        let mut data = [0; VERIFY_DATA];
        prf(
            self.suite.hash(),
            &*self.secret,
            label,
            transcript,
            &mut data,
        );
        data
    }
}

#[cfg(test)]
mod tests {
    use ring::digest;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pairs = digits.chunks(2).map(|pair| {
            let pair = core::str::from_utf8(pair).expect("digits");
            u8::from_str_radix(pair, 16).expect("digits")
        });
        pairs.collect()
    }

    /// The vectors that the working group published for the PRF of RFC 5246 §5: hash,
    /// secret, seed, output.
    const PRF: [(&str, &str, &str, &str); 2] = [
        (
            "SHA-256",
            "9bbe436ba940f017b17652849a71db35",
            "a0ba9f936cda311827a6f796ffd5198c",
            "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a\
             6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab\
             4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701\
             87347b66",
        ),
        (
            "SHA-384",
            "b80b733d6ceefcdc71566ea48e5567df",
            "cd665cf6a8447dd6ff8b27555edb7465",
            "7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cd\
             e9ca0faa60be9fe34f82b1233c9146a0e534cb400fed2700884f9dc236f80edd\
             8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d918425\
             9b5bf8cd4d90fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee6\
             91c8f3a26854308d5eaa3be85e0990703d73e56f",
        ),
    ];

    fn suite(hash: &str) -> CipherSuite {
        match hash {
            "SHA-256" => CipherSuite::EcdheRsaAes128GcmSha256,
            _ => CipherSuite::EcdheRsaAes256GcmSha384,
        }
    }

    #[test]
    fn r22_r23_the_prf_of_rfc_5246() {
        for (hash, secret, seed, expected) in PRF {
            let expected = hex(expected);
            let mut made = vec![0; expected.len()];
            let (secret, seed) = (hex(secret), hex(seed));
            prf(suite(hash).hash(), &secret, b"test label", &seed, &mut made);
            assert_eq!(made, expected, "{hash}");
        }
    }

    /// P_hash (RFC 5246 §5), written out.
    fn p_hash(algorithm: hmac::Algorithm, secret: &[u8], seed: &[u8], length: usize) -> Vec<u8> {
        let key = hmac::Key::new(algorithm, secret);
        let mut made = Vec::new();
        let mut chain = hmac::sign(&key, seed);
        while made.len() < length {
            let input = [chain.as_ref(), seed].concat();
            made.extend_from_slice(hmac::sign(&key, &input).as_ref());
            chain = hmac::sign(&key, chain.as_ref());
        }
        made.truncate(length);
        made
    }

    #[test]
    fn r22_r23_the_extended_master_secret_of_rfc_7627_and_what_comes_of_it() {
        for (hash, algorithm, hasher, key_length) in [
            ("SHA-256", hmac::HMAC_SHA256, &digest::SHA256, 16),
            ("SHA-384", hmac::HMAC_SHA384, &digest::SHA384, 32),
        ] {
            let suite = suite(hash);
            let (pre_master, session) = ([7; 48], digest::digest(hasher, b"all messages so far"));
            let session = session.as_ref();
            let master = Master::new(suite, &pre_master, session);
            let label = |label: &[u8], seed: &[u8]| [label, seed].concat();
            // RFC 7627 §4.
            let seed = label(b"extended master secret", session);
            let secret = p_hash(algorithm, &pre_master, &seed, 48);
            // RFC 5246 §7.4.9.
            for (role, word) in [
                (Role::Client, &b"client finished"[..]),
                (Role::Server, b"server finished"),
            ] {
                let seed = label(word, session);
                let expected = p_hash(algorithm, &secret, &seed, 12);
                assert_eq!(master.verify_data(role, session)[..], expected);
            }
            // RFC 5246 §6.3: the server's random first.
            let (client, server) = ([1; 32], [2; 32]);
            let seed = [&b"key expansion"[..], &server, &client].concat();
            let block = p_hash(algorithm, &secret, &seed, 2 * key_length + 8);
            let (of_client, of_server) = master.keys(&client, &server, Role::Server).expect("keys");
            assert_eq!(of_client.key.expose(), &block[..key_length]);
            assert_eq!(of_server.key.expose(), &block[key_length..][..key_length]);
            let salts = &block[2 * key_length..];
            assert_eq!(of_client.iv.expose()[..4], salts[..4]);
            assert_eq!(of_server.iv.expose()[..4], salts[4..]);
        }
    }
}
