//! Traffic secrets of TLS 1.3, behind the handshake.

use rustls::SupportedCipherSuite;
use rustls::crypto::tls13::{Hkdf, HkdfExpander, OkmBlock};
use tls::{CipherSuite, Role, Secret, TrafficKey};
use zeroize::Zeroizing;

use crate::convert;

/// RFC 8446 §7.1: what every label starts with.
const PREFIX: &[u8] = b"tls13 ";

/// The secrets from which both sides' keys come (RFC 8446 §7.1).
pub(crate) struct TrafficSecrets {
    suite: CipherSuite,
    hkdf: &'static dyn Hkdf,
    client: OkmBlock,
    server: OkmBlock,
}

impl TrafficSecrets {
    /// `None` when `suite` is none of TLS 1.3.
    pub(crate) fn new(suite: CipherSuite, client: OkmBlock, server: OkmBlock) -> Option<Self> {
        let SupportedCipherSuite::Tls13(of) = convert::supported_suite(suite)? else {
            return None;
        };
        Some(Self {
            suite,
            hkdf: of.hkdf_provider,
            client,
            server,
        })
    }

    /// Replaces the secret of `sender` by the next one (RFC 8446 §7.2) and
    /// returns the key that comes from it, at its first record (§7.3).
    pub(crate) fn update(&mut self, sender: Role) -> Option<TrafficKey> {
        let place = match sender {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        };
        let expander = self.hkdf.expander_for_okm(place);
        let mut next = Zeroizing::new([0; OkmBlock::MAX_LEN]);
        let next = next.get_mut(..expander.hash_len())?;
        expand_label(&*expander, b"traffic upd", next)?;
        *place = OkmBlock::new(next);
        let expander = self.hkdf.expander_for_okm(place);
        traffic_key(self.suite, &*expander)
    }
}

fn traffic_key(suite: CipherSuite, expander: &dyn HkdfExpander) -> Option<TrafficKey> {
    let mut key = Zeroizing::new([0; 32]);
    let key = key.get_mut(..suite.aead().key_len())?;
    expand_label(expander, b"key", key)?;
    let mut iv = Zeroizing::new([0; 12]);
    expand_label(expander, b"iv", &mut *iv)?;
    Some(TrafficKey {
        key: Secret::from_slice(key).ok()?,
        iv: Secret::from_slice(&*iv).ok()?,
        sequence: 0,
    })
}

/// HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
fn expand_label(expander: &dyn HkdfExpander, label: &[u8], output: &mut [u8]) -> Option<()> {
    let length = u16::try_from(output.len()).ok()?.to_be_bytes();
    let label_length = u8::try_from(PREFIX.len() + label.len()).ok()?;
    let info: [&[u8]; 5] = [&length, &[label_length], PREFIX, label, &[0]];
    expander.expand_slice(&info, output).ok()
}
