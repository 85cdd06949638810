//! What the peer proves of itself: its chain, and a signature with its key.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ipc::control::Cause;
use rustls::crypto::ring as provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tls::codec::Reader;
use tls::{Alert, Role, Scheme, Version};

use super::Fault;
use crate::cause;
use crate::certified;
use crate::convert;
use crate::judge::{self, NO_TRUST_ANCHOR, Until};
use crate::keyring::Keyring;

const DECODE: Fault = Fault::Refused(Alert::DECODE_ERROR);
/// Longer lists of names are not sent.
const MAX_AUTHORITIES: usize = 8192;
/// No chain is longer.
const MAX_CHAIN: usize = 64;

/// Whom the peer claims to be.
#[derive(Default)]
pub(super) enum Peer {
    /// It has said nothing.
    #[default]
    Unknown,
    /// It showed a chain that is not validated yet.
    Shown(Vec<CertificateDer<'static>>),
    /// The chain leads to a trust anchor.
    Validated(Vec<CertificateDer<'static>>),
    /// It signed the handshake with the key of the validated chain.
    Proved(Vec<CertificateDer<'static>>),
}

impl Peer {
    /// Decodes the body of a Certificate message (RFC 8446 §4.4.2, RFC 5246
    /// §7.4.2).
    pub(super) fn decode(
        version: Version,
        body: &[u8],
    ) -> Result<Vec<CertificateDer<'static>>, Fault> {
        let mut body = Reader::new(body);
        if version == Version::Tls13 {
            // Ours is empty, and the peer has to repeat it.
            let context = body.vec8()?;
            if !context.is_empty() {
                return Err(Fault::Refused(Alert::ILLEGAL_PARAMETER));
            }
        }
        let mut list = body.vec24()?;
        body.end()?;
        let mut chain = Vec::new();
        while !list.is_empty() {
            let certificate = list.vec24()?.rest();
            if certificate.is_empty() || chain.len() == MAX_CHAIN {
                return Err(DECODE);
            }
            if version == Version::Tls13 {
                // Nothing was asked for that could be answered here.
                let extensions = list.vec16()?;
                if !extensions.is_empty() {
                    return Err(Fault::Refused(Alert::UNSUPPORTED_EXTENSION));
                }
            }
            chain.push(certificate.to_vec().into());
        }
        Ok(chain)
    }

    /// Checks that the chain leads to a trust anchor of `rings`, is valid now, is not
    /// revoked, and good for the peer's part.
    pub(super) fn validate(
        self,
        peer: Role,
        server_name: Option<&str>,
        rings: &[Arc<Keyring>],
        now: UnixTime,
    ) -> Result<(Self, Until), Fault> {
        let Self::Shown(chain) = self else {
            return Err(Fault::INTERNAL);
        };
        let (first, intermediates) = chain.split_first().ok_or(Fault::INTERNAL)?;
        let checked = match peer {
            Role::Client => {
                // Its handshake is one ring's (`ring_of`).
                let judge = rings.first().and_then(|ring| ring.judge.as_ref());
                let judge = judge.ok_or(Fault::Over(NO_TRUST_ANCHOR))?;
                judge.judge_client(first, intermediates, now)
            }
            Role::Server => {
                let name = server_name.and_then(|name| ServerName::try_from(name).ok());
                let name = name.ok_or(Fault::INTERNAL)?;
                let judges = judge::of_servers(rings).map_err(Fault::Over)?;
                judge::judge_server(&judges, first, intermediates, &name, now)
            }
        };
        match checked {
            Ok(until) => Ok((Self::Validated(chain), until)),
            Err(error) => Err(Fault::Because(
                convert::alert_for(&error),
                cause::of(&error),
            )),
        }
    }

    /// Checks the scheme, length and signature in `signed` over `message`. The scheme is one
    /// of `allowed`, or of all.
    pub(super) fn verify(
        self,
        version: Version,
        message: &[u8],
        signed: &[u8],
        allowed: &[Scheme],
    ) -> Result<(Self, Scheme), Fault> {
        let Self::Validated(chain) = self else {
            return Err(Fault::INTERNAL);
        };
        let mut signed = Reader::new(signed);
        let scheme = signed.u16()?;
        let signature = signed.vec16()?.rest();
        signed.end()?;
        let scheme = Scheme::from_number(scheme)
            .filter(|scheme| version == Version::Tls12 || scheme.in_tls13())
            .filter(|scheme| Scheme::offered(allowed).contains(scheme))
            .ok_or(Fault::Refused(Alert::ILLEGAL_PARAMETER))?;
        let certificate = chain.first().ok_or(Fault::INTERNAL)?;
        if !certified::may_sign(certificate) {
            let cause = Some(Cause::CertificatePurpose);
            return Err(Fault::Because(Alert::UNSUPPORTED_CERTIFICATE, cause));
        }
        let certificate = webpki::EndEntityCert::try_from(certificate)
            .map_err(|_| Fault::Refused(Alert::BAD_CERTIFICATE))?;
        let algorithms = provider::default_provider().signature_verification_algorithms;
        let (_, candidates) = algorithms
            .mapping
            .iter()
            .find(|(wire, _)| u16::from(*wire) == scheme.number())
            .ok_or(Fault::INTERNAL)?;
        // RFC 8446 §4.2.3: in TLS 1.3 the scheme names the curve, too.
        let candidates = match version {
            Version::Tls13 => candidates.get(..1).unwrap_or_default(),
            Version::Tls12 => candidates,
        };
        // RFC 8446 §4.4.3: the scheme has to be one for the key.
        let mut refused = Fault::Refused(Alert::ILLEGAL_PARAMETER);
        for algorithm in candidates {
            match certificate.verify_signature(*algorithm, message, signature) {
                Ok(()) => return Ok((Self::Proved(chain), scheme)),
                Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)) => {}
                Err(_) => refused = Fault::Because(Alert::DECRYPT_ERROR, Some(Cause::Signature)),
            }
        }
        Err(refused)
    }

    /// What it showed.
    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        match self {
            Self::Unknown => &[],
            Self::Shown(chain) | Self::Validated(chain) | Self::Proved(chain) => chain,
        }
    }

    /// The key that validates as the server's, to encrypt for.
    pub(super) fn validated_key(&self) -> Option<&CertificateDer<'static>> {
        match self {
            Self::Validated(chain) => chain.first(),
            _ => None,
        }
    }

    /// It knows what was encrypted with its key (RFC 5246 §F.1.1.2).
    pub(super) fn proved_by_decryption(self) -> Self {
        match self {
            Self::Validated(chain) => Self::Proved(chain),
            other => other,
        }
    }

    /// The chain of a peer that has proved to be what it claims.
    pub(super) fn proved(&self) -> Option<&[CertificateDer<'static>]> {
        match self {
            Self::Proved(chain) => Some(chain),
            _ => None,
        }
    }

    /// The chain of a peer that proved to be what it claims; `None` of one that
    /// said nothing, or nothing that holds.
    pub(super) fn into_proved(self) -> Option<Vec<CertificateDer<'static>>> {
        match self {
            Self::Proved(chain) => Some(chain),
            _ => None,
        }
    }
}

/// The subjects of the trust anchors of `ring`, each after its length of two
/// bytes (RFC 8446 §4.2.4); none if a CertificateRequest would not hold them.
pub(super) fn authorities(ring: &Arc<Keyring>) -> Vec<u8> {
    let judge = ring.judge.as_ref();
    let subjects = judge.map_or(&[][..], |judge| judge.of_clients.root_hint_subjects());
    let mut list = Vec::new();
    for subject in subjects {
        let Ok(length) = u16::try_from(subject.as_ref().len()) else {
            return Vec::new();
        };
        list.extend_from_slice(&length.to_be_bytes());
        list.extend_from_slice(subject.as_ref());
    }
    match list.len() {
        ..=MAX_AUTHORITIES => list,
        _ => Vec::new(),
    }
}
