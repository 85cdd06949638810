//! Which of a request's key rings rustls shows, in either role.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ipc::bounded::Text;
use ipc::keystore::KeyKind;
use ipc::tls::{Label, ServerName as Name};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use spin::Mutex;

use super::current::Current;
use crate::keyring::Keyring;
use crate::signer::can_sign;

/// Chooses among the rings of a request by the name that the client asks for
/// (RFC 6066 §3) and the signatures that it can check; the first ring is the
/// default.
pub(crate) struct Resolver {
    keyrings: Vec<Arc<Keyring>>,
    /// The last choice; rustls does not tell it.
    chosen: Mutex<Option<Box<Choice>>>,
    /// For the parts of the configuration that go by it.
    current: Arc<Current>,
}

/// Which ring was chosen, and for what name.
pub(crate) struct Choice {
    pub(crate) keyring: Label,
    pub(crate) server_name: Option<Name>,
}

impl Resolver {
    pub(crate) fn new(keyrings: Vec<Arc<Keyring>>, current: Arc<Current>) -> Self {
        Self {
            keyrings,
            chosen: Mutex::new(None),
            current,
        }
    }

    /// The choice made since the last call, if one was. One thread runs all
    /// handshakes, so asking after each step tells whose it was.
    pub(crate) fn take_choice(&self) -> Option<Box<Choice>> {
        self.chosen.lock().take()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resolver({} key rings)", self.keyrings.len())
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let usable = || {
            self.keyrings.iter().enumerate().filter(|(_, ring)| {
                ring.kind
                    .is_some_and(|kind| can_sign(kind, hello.signature_schemes()))
            })
        };
        let named = || {
            let name = ServerName::try_from(hello.server_name()?).ok()?;
            usable().find(|(_, ring)| ring.is_valid_for(&name))
        };
        let (place, ring) = match self.keyrings.len() {
            1 => usable().next(),
            _ => named().or_else(|| usable().next()),
        }
        // Without a common signature scheme rustls has the right alert to give.
        .or_else(|| Some((0, self.keyrings.first()?)))?;
        self.current.set_ring(place);
        *self.chosen.lock() = Some(Box::new(Choice {
            keyring: ring.label.clone(),
            server_name: hello
                .server_name()
                .and_then(|name| Text::from_text(name).ok()),
        }));
        ring.identity.clone()
    }
}

/// What a client shows when it is asked: the identity of the first ring that
/// has one and whose key can sign as the server wants.
pub(crate) struct OwnCertificate(Vec<(KeyKind, Arc<CertifiedKey>)>);

impl OwnCertificate {
    pub(crate) fn new(keyrings: &[Arc<Keyring>]) -> Self {
        let shown = |ring: &Arc<Keyring>| ring.kind.zip(ring.identity.clone());
        Self(keyrings.iter().filter_map(shown).collect())
    }
}

impl fmt::Debug for OwnCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnCertificate(of {})", self.0.len())
    }
}

impl ResolvesClientCert for OwnCertificate {
    fn resolve(
        &self,
        _authorities: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let usable = self.0.iter().find(|(kind, _)| can_sign(*kind, schemes));
        usable.map(|(_, identity)| identity.clone())
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}
