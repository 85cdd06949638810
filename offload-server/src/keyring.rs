//! Key rings as the offload component sees them: chains, OCSP responses and trust anchors,
//! fetched once from the key store, and keys that stay there.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ipc::keystore::{
    Answer, CertificateList, KeyKind, KeyringIndex, KeystoreError, MAX_PART, Request,
};
use ipc::tls::{Label, Revocation, Schemes};
use ipc::transport::Transport;
use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring as provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::CertifiedKey;

use crate::certified;
use crate::judge::Judge;
use crate::ocsp::Stapled;
use crate::revocation::Crls;
use crate::signer::{KeystoreClient, RemoteKey, can_sign};
use crate::time::Time;

/// A key ring without its key.
#[derive(Debug)]
pub(crate) struct Keyring {
    /// Its place in the key store.
    pub(crate) index: KeyringIndex,
    pub(crate) label: Label,
    pub(crate) kind: Option<KeyKind>,
    /// What its key signs by.
    pub(crate) schemes: Schemes,
    /// `None` without trust anchors.
    pub(crate) judge: Option<Arc<Judge>>,
    /// Chain and key, for rings that can be shown.
    pub(crate) identity: Option<Arc<CertifiedKey>>,
    /// The same with an OCSP response.
    pub(crate) stapled: Option<Stapled>,
}

impl Keyring {
    /// Until when its whole chain is valid, in seconds since 1970; `None` without one.
    pub(crate) fn shown_until(&self) -> Option<u64> {
        let chain = &self.identity.as_ref()?.cert;
        let until = chain.iter().filter_map(|der| certified::not_after(der));
        until.min()
    }
}

/// Why there are no key rings to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The key store does not answer as it should.
    NoAnswer,
    /// It has none: no handshake can be served, and a restart would not change that.
    NoKeyrings,
}

/// Fetches every key ring as it is now.
///
/// # Errors
/// [`StartError`].
pub(crate) fn fetch<T: Transport + Send + Sync + 'static>(
    keystore: &Arc<KeystoreClient<T>>,
) -> Result<Vec<Arc<Keyring>>, StartError> {
    let mut keyrings = Vec::new();
    let provider = Arc::new(provider::default_provider());
    for index in 0..KeyringIndex::REPLACED {
        let request = Request::Keyring(KeyringIndex(index));
        let answer = keystore.call(&request).map_err(|_| StartError::NoAnswer)?;
        let Ok(Answer::Keyring {
            label,
            key,
            schemes,
            chain,
            trust,
            crls,
            revocation,
            has_ocsp,
            current: keyring,
        }) = answer
        else {
            match answer {
                Err(KeystoreError::Unknown) => break,
                Err(KeystoreError::NoKeyrings) => return Err(StartError::NoKeyrings),
                _ => return Err(StartError::NoAnswer),
            }
        };
        let list = |from, count| {
            (0..count)
                .map(|index| certificate(keystore, keyring, from, index))
                .collect::<Option<Vec<_>>>()
                .ok_or(StartError::NoAnswer)
        };
        let chain = list(CertificateList::Chain, chain)?;
        let trust = list(CertificateList::Trust, trust)?;
        let crls = list(CertificateList::Crls, crls)?;
        let ocsp = list(CertificateList::Ocsp, has_ocsp.into())?.pop();
        let identity = key.map(|kind| {
            let key = RemoteKey {
                keystore: keystore.clone(),
                keyring,
                kind,
                schemes: schemes.clone(),
            };
            Arc::new(CertifiedKey::new(chain, Arc::new(key)))
        });
        keyrings.push(Arc::new(Keyring {
            index: keyring,
            label,
            kind: key,
            schemes,
            judge: judge(&trust, revocation, crls, &provider).map(Arc::new),
            stapled: ocsp
                .zip(identity.as_deref())
                .map(|(response, identity)| Stapled::new(identity, response.to_vec())),
            identity,
        }));
    }
    Ok(keyrings)
}

/// `None` of anchors or lists that can't be used: nobody is accepted.
fn judge(
    trust: &[CertificateDer<'_>],
    revocation: Revocation,
    crls: Vec<CertificateDer<'_>>,
    provider: &Arc<CryptoProvider>,
) -> Option<Judge> {
    let lists: Vec<_> = crls.iter().map(|crl| crl.to_vec()).collect();
    let crls = match lists.is_empty() {
        true => None,
        false => Some(Crls::new(revocation, lists)?),
    };
    Judge::new(trust, crls, provider)
}

fn certificate<T: Transport>(
    keystore: &KeystoreClient<T>,
    keyring: KeyringIndex,
    from: CertificateList,
    index: u8,
) -> Option<CertificateDer<'static>> {
    let mut der = Vec::new();
    loop {
        let request = Request::Certificate {
            keyring,
            from,
            index,
            offset: u16::try_from(der.len()).ok()?,
        };
        let Ok(Answer::Part(part)) = keystore.call(&request).ok()? else {
            return None;
        };
        der.extend_from_slice(&part);
        if part.len() < MAX_PART {
            return Some(der.into());
        }
    }
}

impl Keyring {
    /// Whether its key can sign by one of `offered`.
    pub(crate) fn can_sign(&self, offered: &[SignatureScheme]) -> bool {
        self.kind
            .is_some_and(|kind| can_sign(kind, &self.schemes, offered))
    }

    /// The chain to show, end entity first.
    pub(crate) fn chain(&self) -> Option<&[CertificateDer<'static>]> {
        self.identity.as_ref().map(|identity| &identity.cert[..])
    }

    /// Chain and key, with the OCSP response unless that is out of date.
    pub(crate) fn identity_at(&self, time: &dyn Time) -> Option<&Arc<CertifiedKey>> {
        let stapled = self.stapled.as_ref();
        let stapled = stapled.filter(|_| self.staples(time));
        stapled
            .map(|stapled| &stapled.identity)
            .or(self.identity.as_ref())
    }

    /// Whether there is an OCSP response that is not out of date.
    pub(crate) fn staples(&self, time: &dyn Time) -> bool {
        let stapled = self.stapled.as_ref();
        stapled.is_some_and(|stapled| time.now().unix < stapled.next_update)
    }

    /// The OCSP response for the end entity.
    pub(crate) fn ocsp(&self) -> Option<&[u8]> {
        self.stapled.as_ref()?.identity.ocsp.as_deref()
    }

    /// Whether one of `authorities`, names in DER, issued a certificate of the chain (RFC 8446
    /// §4.4.2.3).
    pub(crate) fn is_issued_by<'a>(&self, authorities: impl Iterator<Item = &'a [u8]>) -> bool {
        let chain = self.chain().into_iter().flatten();
        let issuers: Vec<&[u8]> = chain.filter_map(|der| certified::issuer(der)).collect();
        let mut names = authorities.filter_map(certified::contents);
        names.any(|name| issuers.contains(&name))
    }

    /// Whether the end-entity certificate names `name`.
    pub(crate) fn is_valid_for(&self, name: &ServerName<'_>) -> bool {
        self.identity
            .as_ref()
            .and_then(|identity| webpki::EndEntityCert::try_from(identity.cert.first()?).ok())
            .is_some_and(|cert| cert.verify_is_valid_for_subject_name(name).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use ipc::stats;
    use ipc::transport::{Client, MAX_MESSAGE, TransportError};

    use super::*;

    struct WithoutRings(&'static stats::Page);

    impl Transport for WithoutRings {
        fn call(
            &self,
            request: &[u8],
            reply: &mut [u8; MAX_MESSAGE],
        ) -> Result<usize, TransportError> {
            Ok(keystore_server::refuse(self.0, request, reply))
        }
    }

    #[test]
    fn a_key_store_without_key_rings_is_told_from_one_with_an_empty_list() {
        let store = WithoutRings(Box::leak(Box::default()));
        let fetched = fetch(&Arc::new(Client::new(store)));
        assert_eq!(fetched.err(), Some(StartError::NoKeyrings));
    }
}
