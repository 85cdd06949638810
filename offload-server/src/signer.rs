//! Signing by the key store: what rustls wants signed is taken apart again, so
//! that the key store can make the bytes itself.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ipc::bounded::{Blob, Bytes};
use ipc::keystore::{
    Answer, KeyKind, KeyringIndex, Keystore, MAX_PART, PRE_MASTER, Request, ToBeSigned,
};
use ipc::tls::Schemes;
use ipc::transport::{Client, Transport};
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use tls::{Role, Scheme, Secret};

use crate::convert;

/// Calls to the key store.
pub(crate) type KeystoreClient<T> = Client<Keystore, T>;

/// Signs by a key that stays in the key store.
pub(crate) trait Sign {
    /// The signature as TLS carries it; `None` when the key store refuses.
    fn sign(
        &self,
        keyring: KeyringIndex,
        scheme: Scheme,
        to_be_signed: ToBeSigned,
    ) -> Option<Blob<512>>;

    /// Brings a client's handshake messages of TLS 1.2 to the key store, which
    /// signs them as [`ToBeSigned::Tls12CertificateVerify`]; `None` when it
    /// does not take them.
    fn hand_over(&self, messages: &[u8]) -> Option<ToBeSigned>;

    /// The pre-master secret that a client encrypted for the key of a ring;
    /// `None` when the key store refuses, which does not depend on what is in
    /// there.
    fn decrypt(
        &self,
        keyring: KeyringIndex,
        client_version: u16,
        encrypted: &[u8],
    ) -> Option<Box<Secret<PRE_MASTER>>>;
}

impl<T: Transport> Sign for KeystoreClient<T> {
    fn sign(
        &self,
        keyring: KeyringIndex,
        scheme: Scheme,
        to_be_signed: ToBeSigned,
    ) -> Option<Blob<512>> {
        let request = Request::Sign {
            keyring,
            scheme,
            to_be_signed,
        };
        match self.call(&request) {
            Ok(Ok(Answer::Signature(signature))) => Some(signature),
            _ => None,
        }
    }

    fn hand_over(&self, messages: &[u8]) -> Option<ToBeSigned> {
        let mut is_first = true;
        for part in messages.chunks(MAX_PART) {
            let part = Blob::from_slice(part).ok()?;
            let Ok(Ok(Answer::Taken)) = self.call(&Request::Transcript { is_first, part }) else {
                return None;
            };
            is_first = false;
        }
        Some(ToBeSigned::Tls12CertificateVerify)
    }

    fn decrypt(
        &self,
        keyring: KeyringIndex,
        client_version: u16,
        encrypted: &[u8],
    ) -> Option<Box<Secret<PRE_MASTER>>> {
        let request = Request::Decrypt {
            keyring,
            client_version,
            encrypted: Bytes::from_slice(encrypted).ok()?,
        };
        match self.call(&request) {
            Ok(Ok(Answer::PreMaster(secret))) => Some(Box::new(secret)),
            _ => None,
        }
    }
}

/// The private key of a ring, which stays in the key store.
pub(crate) struct RemoteKey<T> {
    pub(crate) keystore: Arc<KeystoreClient<T>>,
    pub(crate) keyring: KeyringIndex,
    pub(crate) kind: KeyKind,
    /// What it signs by.
    pub(crate) schemes: Schemes,
}

impl<T> fmt::Debug for RemoteKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteKey({:?}, {:?})", self.keyring, self.kind)
    }
}

/// Whether a key of `kind`, which signs by `own`, can sign by one of `offered`.
pub(crate) fn can_sign(kind: KeyKind, own: &[Scheme], offered: &[SignatureScheme]) -> bool {
    choose(kind, own, offered).is_some()
}

fn choose(kind: KeyKind, own: &[Scheme], offered: &[SignatureScheme]) -> Option<Scheme> {
    let is_offered = |scheme| offered.contains(&convert::signature_scheme(scheme));
    Scheme::choose(own, |scheme| {
        KeyKind::of(scheme) == kind && is_offered(scheme)
    })
}

impl<T: Transport + Send + Sync + 'static> SigningKey for RemoteKey<T> {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = choose(self.kind, &self.schemes, offered)?;
        Some(Box::new(RemoteSigner {
            keystore: self.keystore.clone(),
            keyring: self.keyring,
            scheme,
        }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.kind {
            KeyKind::EcdsaP256 | KeyKind::EcdsaP384 => SignatureAlgorithm::ECDSA,
            KeyKind::Ed25519 => SignatureAlgorithm::ED25519,
            KeyKind::Rsa => SignatureAlgorithm::RSA,
        }
    }
}

struct RemoteSigner<T> {
    keystore: Arc<KeystoreClient<T>>,
    keyring: KeyringIndex,
    scheme: Scheme,
}

impl<T> fmt::Debug for RemoteSigner<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteSigner({:?}, {:?})", self.keyring, self.scheme)
    }
}

impl<T: Transport + Send + Sync> Signer for RemoteSigner<T> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let request = Request::Sign {
            keyring: self.keyring,
            scheme: self.scheme,
            to_be_signed: match take_apart(message) {
                Some(parts) => parts,
                // The key store knows whether they are handshake messages.
                None => {
                    let refused = || Error::General("the key store took no transcript".into());
                    self.keystore.hand_over(message).ok_or_else(refused)?
                }
            },
        };
        match self.keystore.call(&request) {
            Ok(Ok(Answer::Signature(signature))) => Ok(signature.to_vec()),
            _ => Err(Error::General("the key store did not sign".into())),
        }
    }

    fn scheme(&self) -> SignatureScheme {
        convert::signature_scheme(self.scheme)
    }
}

/// The parts of content that TLS signs (RFC 8446 §4.4.3, RFC 8422 §5.4).
fn take_apart(message: &[u8]) -> Option<ToBeSigned> {
    if let Some(rest) = message.strip_prefix(&[0x20; 64]) {
        let contexts: [(Role, &[u8]); 2] = [
            (Role::Server, b"TLS 1.3, server CertificateVerify\0"),
            (Role::Client, b"TLS 1.3, client CertificateVerify\0"),
        ];
        return contexts.into_iter().find_map(|(role, context)| {
            let transcript_hash = Bytes::from_slice(rest.strip_prefix(context)?).ok()?;
            Some(ToBeSigned::Tls13CertificateVerify {
                role,
                transcript_hash,
            })
        });
    }
    let (client_random, rest) = message.split_first_chunk()?;
    let (server_random, rest) = rest.split_first_chunk()?;
    let ([3, high, low, length], public_key) = rest.split_first_chunk()? else {
        return None;
    };
    if usize::from(*length) != public_key.len() {
        return None;
    }
    Some(ToBeSigned::Tls12ServerKeyExchange {
        client_random: *client_random,
        server_random: *server_random,
        group: u16::from_be_bytes([*high, *low]),
        public_key: Bytes::from_slice(public_key).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_is_not_tls_is_not_passed_on() {
        assert_eq!(take_apart(b"sign this"), None);
        assert_eq!(take_apart(&[0x20; 100]), None);
        let mut exchange = vec![0; 64];
        exchange.extend([3, 0, 0x1d, 32]);
        exchange.extend([1; 31]);
        assert_eq!(take_apart(&exchange), None);
        exchange.push(1);
        assert!(take_apart(&exchange).is_some());
    }
}
