//! The key schedule of TLS 1.3 (RFC 8446 §7).

use alloc::boxed::Box;

use rustls::Tls13CipherSuite;
use rustls::crypto::hash::Output;
use rustls::crypto::hmac::Tag;
use rustls::crypto::tls13::{Hkdf, HkdfExpander, OkmBlock};
use tls::{CipherSuite, Role, Secret, TrafficKey};
use zeroize::Zeroize;

use crate::traffic;

const NONCE: usize = 12;
const MAX_KEY: usize = 32;

/// Secrets of a handshake: early, then handshake, then master.
pub(super) struct Schedule {
    suite: &'static Tls13CipherSuite,
    current: Box<dyn HkdfExpander>,
}

impl Schedule {
    /// Without a pre-shared key.
    pub(super) fn new(suite: &'static Tls13CipherSuite) -> Self {
        let current = suite.hkdf_provider.extract_from_zero_ikm(None);
        Self { suite, current }
    }

    /// With that of an earlier session.
    pub(super) fn with_pre_shared_key(suite: &'static Tls13CipherSuite, key: &[u8]) -> Self {
        let current = suite.hkdf_provider.extract_from_secret(None, key);
        Self { suite, current }
    }

    /// The binder of the pre-shared key, for a hello of which `transcript` is
    /// the hash up to the binders (RFC 8446 §4.2.11.2).
    pub(super) fn binder(&self, transcript: &Output) -> Tag {
        let empty = self.suite.common.hash_provider.hash(&[]);
        let key = expand_block(&*self.current, b"res binder", empty.as_ref());
        mac(self.suite.hkdf_provider, &key, transcript)
    }

    /// What tickets carry on; `transcript` goes to the client's Finished.
    pub(super) fn resumption(&self, transcript: &Output) -> ResumptionSecret {
        ResumptionSecret {
            hkdf: self.suite.hkdf_provider,
            secret: expand_block(&*self.current, b"res master", transcript.as_ref()),
        }
    }

    /// Mixes the shared secret of the key exchange in.
    pub(super) fn into_handshake(self, shared: &[u8]) -> Self {
        let salt = self.salt();
        let hkdf = self.suite.hkdf_provider;
        Self {
            current: hkdf.extract_from_secret(Some(salt.as_ref()), shared),
            ..self
        }
    }

    /// The master secret.
    pub(super) fn into_master(self) -> Self {
        let salt = self.salt();
        let hkdf = self.suite.hkdf_provider;
        Self {
            current: hkdf.extract_from_zero_ikm(Some(salt.as_ref())),
            ..self
        }
    }

    /// The traffic secrets of both sides behind the handshake secret.
    pub(super) fn handshake_traffic(&self, transcript: &Output) -> TrafficSecrets {
        self.traffic(b"c hs traffic", b"s hs traffic", transcript)
    }

    /// The traffic secrets of both sides behind the master secret.
    pub(super) fn application_traffic(&self, transcript: &Output) -> TrafficSecrets {
        self.traffic(b"c ap traffic", b"s ap traffic", transcript)
    }

    fn traffic(&self, client: &[u8], server: &[u8], transcript: &Output) -> TrafficSecrets {
        TrafficSecrets {
            suite: self.suite,
            client: expand_block(&*self.current, client, transcript.as_ref()),
            server: expand_block(&*self.current, server, transcript.as_ref()),
        }
    }

    fn salt(&self) -> OkmBlock {
        let empty = self.suite.common.hash_provider.hash(&[]);
        expand_block(&*self.current, b"derived", empty.as_ref())
    }
}

/// The secrets from which both sides' keys come.
pub(super) struct TrafficSecrets {
    suite: &'static Tls13CipherSuite,
    client: OkmBlock,
    server: OkmBlock,
}

impl TrafficSecrets {
    /// The key that `sender` writes under, at its first record.
    pub(super) fn key(&self, sender: Role) -> Option<TrafficKey> {
        let expander = self.hkdf().expander_for_okm(self.of(sender));
        let suite = CipherSuite::from_number(u16::from(self.suite.common.suite))?;
        let mut key = [0; MAX_KEY];
        let mut iv = [0; NONCE];
        let made = key.get_mut(..suite.aead().key_len()).and_then(|key| {
            expand_into(&*expander, b"key", &[], key)?;
            expand_into(&*expander, b"iv", &[], &mut iv)?;
            Some(TrafficKey {
                key: Secret::from_slice(key).ok()?,
                iv: Secret::from_slice(&iv).ok()?,
                sequence: 0,
            })
        });
        key.zeroize();
        iv.zeroize();
        made
    }

    /// The MAC of `sender`'s Finished (RFC 8446 §4.4.4).
    pub(super) fn verify_data(&self, sender: Role, transcript: &Output) -> Tag {
        mac(self.hkdf(), self.of(sender), transcript)
    }

    /// The same for the time behind the handshake.
    pub(super) fn into_session(self, suite: CipherSuite) -> Option<traffic::TrafficSecrets> {
        traffic::TrafficSecrets::new(suite, self.client, self.server)
    }

    fn of(&self, sender: Role) -> &OkmBlock {
        match sender {
            Role::Client => &self.client,
            Role::Server => &self.server,
        }
    }

    fn hkdf(&self) -> &'static dyn Hkdf {
        self.suite.hkdf_provider
    }
}

/// The resumption master secret (RFC 8446 §7.1).
pub(super) struct ResumptionSecret {
    hkdf: &'static dyn Hkdf,
    secret: OkmBlock,
}

impl ResumptionSecret {
    /// The pre-shared key of the ticket with this nonce (RFC 8446 §4.6.1).
    pub(super) fn pre_shared_key(&self, nonce: &[u8]) -> OkmBlock {
        let expander = self.hkdf.expander_for_okm(&self.secret);
        expand_block(&*expander, b"resumption", nonce)
    }
}

/// The MAC of a Finished or a binder (RFC 8446 §4.4.4).
fn mac(hkdf: &dyn Hkdf, base: &OkmBlock, transcript: &Output) -> Tag {
    let expander = hkdf.expander_for_okm(base);
    let key = expand_block(&*expander, b"finished", &[]);
    hkdf.hmac_sign(&key, transcript.as_ref())
}

/// HKDF-Expand-Label (RFC 8446 §7.1) to a whole hash.
fn expand_block(expander: &dyn HkdfExpander, label: &[u8], context: &[u8]) -> OkmBlock {
    let length = expander.hash_len();
    with_info(length, label, context, |info| expander.expand_block(info))
}

/// HKDF-Expand-Label; `None` when `out` is longer than HKDF can make.
fn expand_into(
    expander: &dyn HkdfExpander,
    label: &[u8],
    context: &[u8],
    out: &mut [u8],
) -> Option<()> {
    with_info(out.len(), label, context, |info| {
        expander.expand_slice(info, out).ok()
    })
}

/// HkdfLabel. Lengths are those of labels and hashes, far below their fields'.
#[allow(
    clippy::cast_possible_truncation,
    reason = "labels and hashes of this file"
)]
fn with_info<T>(
    length: usize,
    label: &[u8],
    context: &[u8],
    then: impl FnOnce(&[&[u8]]) -> T,
) -> T {
    const PREFIX: &[u8] = b"tls13 ";
    let [high, low] = (length as u16).to_be_bytes();
    then(&[
        &[high, low, (PREFIX.len() + label.len()) as u8],
        PREFIX,
        label,
        &[context.len() as u8],
        context,
    ])
}
