//! Which of a request's key rings rustls shows, in either role.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ipc::bounded::Text;
use ipc::control::Cause;
use ipc::keystore::KeyKind;
use ipc::tls::{Label, ServerName as Name};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use spin::Mutex;
use tls::{Group, Version};

use super::current::Current;
use crate::keyring::Keyring;
use crate::time::Time;

/// Chooses among the rings of a request by the name that the client asks for
/// (RFC 6066 §3), the authorities that it names (RFC 8446 §4.2.4) and the signatures that it
/// can check; the first ring is the default.
pub(crate) struct Resolver {
    keyrings: Vec<Arc<Keyring>>,
    /// The last choice; rustls does not tell it.
    chosen: Mutex<Option<Box<Choice>>>,
    /// For the parts of the configuration that go by it.
    current: Arc<Current>,
    /// Tells which OCSP responses are out of date.
    time: Arc<dyn Time>,
    /// For a client that none of them is for.
    without_key: Arc<CertifiedKey>,
}

/// Which ring was chosen, and for what name.
pub(crate) struct Choice {
    pub(crate) keyring: Label,
    pub(crate) server_name: Option<Name>,
}

impl Resolver {
    pub(crate) fn new(
        keyrings: Vec<Arc<Keyring>>,
        current: Arc<Current>,
        time: Arc<dyn Time>,
    ) -> Self {
        Self {
            keyrings,
            chosen: Mutex::new(None),
            current,
            time,
            without_key: Arc::new(CertifiedKey::new(Vec::new(), Arc::new(WithoutKey))),
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
        let is_tls12 = self.current.facts().version == Some(Version::Tls12);
        let groups = hello.named_groups().unwrap_or_default();
        // RFC 8422 §5.3.
        let has_curve = |ring: &Keyring| {
            let curve = ring.kind.and_then(KeyKind::curve);
            let is_offered = |curve: Group| groups.iter().any(|g| u16::from(*g) == curve.number());
            !is_tls12 || curve.is_none_or(is_offered)
        };
        let usable = || {
            let rings = self.keyrings.iter().enumerate();
            rings.filter(|(_, ring)| ring.can_sign(hello.signature_schemes()) && has_curve(ring))
        };
        let name = hello.server_name();
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let authorities = hello.certificate_authorities().unwrap_or_default();
        // The name comes before the authorities.
        let rank = |(_, ring): &(usize, &Arc<Keyring>)| {
            let is_named = name.as_ref().is_some_and(|name| ring.is_valid_for(name));
            let names = authorities.iter().map(|name| name.as_ref());
            let is_issued = !authorities.is_empty() && ring.is_issued_by(names);
            (is_named, is_issued)
        };
        let (place, ring) = match self.keyrings.len() {
            1 => usable().next(),
            // The first of those that fit best.
            _ => usable().rev().max_by_key(rank),
        }
        // Then rustls has the right alert to give.
        .or_else(|| Some((0, self.keyrings.first()?)))?;
        let lacking = match (ring.can_sign(hello.signature_schemes()), has_curve(ring)) {
            // rustls leaves out those of which no suite is in common.
            (false, _) if hello.signature_schemes().is_empty() => Some(Cause::Suite),
            (false, _) => Some(Cause::Scheme),
            (_, false) => Some(Cause::Group),
            _ => None,
        };
        self.current.set_ring(place);
        *self.chosen.lock() = Some(Box::new(Choice {
            keyring: ring.label.clone(),
            server_name: hello
                .server_name()
                .and_then(|name| Text::from_text(name).ok()),
        }));
        match lacking {
            None => ring.identity_at(&*self.time).cloned(),
            Some(lacking) => {
                self.current.set_lacking(lacking);
                Some(self.without_key.clone())
            }
        }
    }
}

/// The key of nothing: no suite goes with it, and no signature.
#[derive(Debug)]
struct WithoutKey;

impl SigningKey for WithoutKey {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        None
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::Anonymous
    }
}

/// What a client shows when it is asked: the identity of the first ring that
/// has one and whose key is of a kind, and can sign, as the server wants; of one that an
/// authority issued whom the server names before others (RFC 8446 §4.4.2.3, RFC 5246
/// §7.4.6).
pub(crate) struct OwnCertificate {
    keyrings: Vec<Arc<Keyring>>,
    current: Arc<Current>,
}

impl OwnCertificate {
    pub(crate) fn new(keyrings: &[Arc<Keyring>], current: Arc<Current>) -> Self {
        Self {
            keyrings: keyrings.to_vec(),
            current,
        }
    }

    /// The label of the ring at that place.
    pub(crate) fn label(&self, place: usize) -> Option<Label> {
        self.keyrings.get(place).map(|ring| ring.label.clone())
    }
}

impl fmt::Debug for OwnCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnCertificate({} key rings)", self.keyrings.len())
    }
}

impl ResolvesClientCert for OwnCertificate {
    fn resolve(
        &self,
        authorities: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        // RFC 5246 §7.4.6: the key has to be of a kind that the request names.
        let accepted = self.current.facts().accepted;
        let is_accepted = |kind| accepted.is_none_or(|accepted| accepted.accepts(kind));
        let usable = || {
            let rings = self.keyrings.iter().enumerate();
            rings.filter(|(_, ring)| ring.can_sign(schemes) && ring.kind.is_some_and(is_accepted))
        };
        let is_issued =
            |(_, ring): &(usize, &Arc<Keyring>)| ring.is_issued_by(authorities.iter().copied());
        let (place, ring) = match usable().nth(1) {
            Some(_) => usable().find(is_issued).or_else(|| usable().next())?,
            None => usable().next()?,
        };
        self.current.set_ring(place);
        ring.identity.clone()
    }

    fn has_certs(&self) -> bool {
        self.keyrings.iter().any(|ring| ring.identity.is_some())
    }
}
