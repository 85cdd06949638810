//! The key schedule of TLS 1.3 (RFC 8446 §7).

use alloc::boxed::Box;

use ring::hkdf::{Prk, Salt};
use ring::hmac;

use crate::exporter::Exporter;
use crate::hkdf::{empty_hash, expand_label, hkdf_algorithm, hmac_algorithm};
use crate::keys::TrafficKey;
use crate::names::{Role, Version};
use crate::secret::Secret;
use crate::suite::{CipherSuite, Hash};

/// Bytes of the longest hash.
const MAX_HASH: usize = 48;
const ZEROS: [u8; MAX_HASH] = [0; MAX_HASH];

/// A secret as long as a hash (RFC 8446 §7.1): 32 or 48 bytes.
pub type HashSecret = Secret<MAX_HASH>;

/// The secret in which a handshake is: early, then handshake, then master. `transcript`
/// is always the hash of the messages that the RFC names.
pub struct Schedule {
    hash: Hash,
    /// Apart, so that a secret that moves is not copied.
    current: Box<Prk>,
}

impl Schedule {
    /// The early secret without a pre-shared key.
    pub fn new(hash: Hash) -> Self {
        Self::extract(hash, zeros(hash), zeros(hash))
    }

    /// The early secret with that of an earlier session.
    pub fn with_pre_shared_key(hash: Hash, key: &[u8]) -> Self {
        Self::extract(hash, zeros(hash), key)
    }

    fn extract(hash: Hash, salt: &[u8], secret: &[u8]) -> Self {
        let current = Salt::new(hkdf_algorithm(hash), salt).extract(secret);
        Self {
            hash,
            current: Box::new(current),
        }
    }

    /// The binder of the pre-shared key, for a hello of which `transcript` is the hash up
    /// to the binders (RFC 8446 §4.2.11.2).
    pub fn binder(&self, transcript: &[u8]) -> Option<hmac::Tag> {
        let key = self.derive(b"res binder", empty_hash(self.hash).as_ref())?;
        finished(self.hash, &key, transcript)
    }

    /// What tickets carry on (§4.6.1); `transcript` goes to the client's Finished.
    pub fn resumption(&self, transcript: &[u8]) -> Option<ResumptionSecret> {
        Some(ResumptionSecret {
            hash: self.hash,
            secret: self.derive(b"res master", transcript)?,
        })
    }

    /// Mixes the shared secret of the key exchange in.
    pub fn into_handshake(self, shared: &[u8]) -> Option<Self> {
        let salt = self.salt()?;
        Some(Self::extract(self.hash, salt.expose(), shared))
    }

    /// The master secret.
    pub fn into_master(self) -> Option<Self> {
        let salt = self.salt()?;
        Some(Self::extract(self.hash, salt.expose(), zeros(self.hash)))
    }

    /// The traffic secrets of both sides after the handshake secret, for a suite with
    /// this schedule's hash.
    pub fn handshake_traffic(
        &self,
        suite: CipherSuite,
        transcript: &[u8],
    ) -> Option<TrafficSecrets> {
        self.traffic(suite, [b"c hs traffic", b"s hs traffic"], transcript)
    }

    /// The traffic secrets of both sides after the master secret.
    pub fn application_traffic(
        &self,
        suite: CipherSuite,
        transcript: &[u8],
    ) -> Option<TrafficSecrets> {
        self.traffic(suite, [b"c ap traffic", b"s ap traffic"], transcript)
    }

    /// What keying material for other protocols comes from (§7.5), after the master secret;
    /// `transcript` is that of the application's traffic secrets.
    pub fn exporter(&self, transcript: &[u8]) -> Option<Exporter> {
        self.derive(b"exp master", transcript).map(Exporter::tls13)
    }

    fn traffic(
        &self,
        suite: CipherSuite,
        [client, server]: [&[u8]; 2],
        transcript: &[u8],
    ) -> Option<TrafficSecrets> {
        if suite.hash() != self.hash {
            return None;
        }
        let client = self.derive(client, transcript)?;
        let server = self.derive(server, transcript)?;
        TrafficSecrets::new(suite, client, server)
    }

    fn salt(&self) -> Option<HashSecret> {
        self.derive(b"derived", empty_hash(self.hash).as_ref())
    }

    /// Derive-Secret, with the transcript's hash.
    fn derive(&self, label: &[u8], transcript: &[u8]) -> Option<HashSecret> {
        expand_secret(self.hash, &self.current, label, transcript)
    }
}

/// The secrets from which both sides' keys come (RFC 8446 §7.1, §7.3).
pub struct TrafficSecrets {
    suite: CipherSuite,
    client: HashSecret,
    server: HashSecret,
}

impl TrafficSecrets {
    /// `None` when `suite` is none of TLS 1.3.
    pub fn new(suite: CipherSuite, client: HashSecret, server: HashSecret) -> Option<Self> {
        (suite.version() == Version::Tls13).then_some(Self {
            suite,
            client,
            server,
        })
    }

    /// The key that `sender` writes under, at its first record (§7.3).
    pub fn key(&self, sender: Role) -> Option<TrafficKey> {
        traffic_key(self.suite, self.of(sender))
    }

    /// The MAC of `sender`'s Finished (§4.4.4).
    pub fn verify_data(&self, sender: Role, transcript: &[u8]) -> Option<hmac::Tag> {
        finished(self.suite.hash(), self.of(sender), transcript)
    }

    /// Replaces the secret of `sender` by the next one (§7.2) and returns the key that
    /// comes from it, at its first record.
    pub fn update(&mut self, sender: Role) -> Option<TrafficKey> {
        let hash = self.suite.hash();
        let place = match sender {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        };
        *place = expand_secret(hash, &prk(hash, place), b"traffic upd", &[])?;
        traffic_key(self.suite, place)
    }

    const fn of(&self, sender: Role) -> &HashSecret {
        match sender {
            Role::Client => &self.client,
            Role::Server => &self.server,
        }
    }
}

/// The resumption master secret (RFC 8446 §7.1).
pub struct ResumptionSecret {
    hash: Hash,
    secret: HashSecret,
}

impl ResumptionSecret {
    /// The pre-shared key of the ticket with this nonce (§4.6.1), at most 255 bytes.
    pub fn pre_shared_key(&self, nonce: &[u8]) -> Option<HashSecret> {
        let secret = prk(self.hash, &self.secret);
        expand_secret(self.hash, &secret, b"resumption", nonce)
    }
}

fn traffic_key(suite: CipherSuite, secret: &HashSecret) -> Option<TrafficKey> {
    let secret = prk(suite.hash(), secret);
    Some(TrafficKey {
        key: Secret::filled(suite.aead().key_len(), |key| {
            expand_label(&secret, b"key", &[], key)
        })?,
        iv: Secret::filled(12, |iv| expand_label(&secret, b"iv", &[], iv))?,
        sequence: 0,
    })
}

/// The MAC of a Finished or a binder (RFC 8446 §4.4.4).
fn finished(hash: Hash, base: &HashSecret, transcript: &[u8]) -> Option<hmac::Tag> {
    let key = expand_secret(hash, &prk(hash, base), b"finished", &[])?;
    let key = hmac::Key::new(hmac_algorithm(hash), key.expose());
    Some(hmac::sign(&key, transcript))
}

/// HKDF-Expand-Label to a whole hash.
pub(crate) fn expand_secret(
    hash: Hash,
    secret: &Prk,
    label: &[u8],
    context: &[u8],
) -> Option<HashSecret> {
    Secret::filled(hash.len(), |out| expand_label(secret, label, context, out))
}

pub(crate) fn prk(hash: Hash, secret: &HashSecret) -> Prk {
    Prk::new_less_safe(hkdf_algorithm(hash), secret.expose())
}

fn zeros(hash: Hash) -> &'static [u8] {
    ZEROS.get(..hash.len()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    // The schedule itself is held against RFC 8448 in `offload-server`.

    #[test]
    fn secrets_go_with_a_suite_of_their_version_and_hash() {
        let secret = || Secret::from_slice(&[7; 32]).unwrap();
        let of = |suite| TrafficSecrets::new(suite, secret(), secret());
        assert!(of(CipherSuite::Aes128GcmSha256).is_some());
        assert!(of(CipherSuite::EcdheRsaAes128GcmSha256).is_none());
        let schedule = Schedule::new(Hash::Sha256);
        let with = |suite| schedule.handshake_traffic(suite, &[7; 32]).is_some();
        assert!(with(CipherSuite::ChaCha20Poly1305Sha256));
        assert!(!with(CipherSuite::Aes256GcmSha384));
    }

    #[test]
    fn an_update_changes_one_side_alone() {
        let secret = || Secret::from_slice(&[7; 32]).unwrap();
        let suite = CipherSuite::Aes128GcmSha256;
        let mut secrets = TrafficSecrets::new(suite, secret(), secret()).unwrap();
        let before = secrets.key(Role::Server).unwrap();
        let updated = secrets.update(Role::Server).unwrap();
        assert_ne!(updated.key.expose(), before.key.expose());
        let now = secrets.key(Role::Server).unwrap();
        assert_eq!(now.key.expose(), updated.key.expose());
        let client = secrets.key(Role::Client).unwrap();
        assert_eq!(client.key.expose(), before.key.expose());
    }
}
