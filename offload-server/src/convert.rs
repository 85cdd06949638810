//! rustls' names for things and ours.

use ipc::control::{HandshakeError, PeerError, Resource};
use ring::digest;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::ring as provider;
use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, ProtocolVersion, SignatureScheme,
    SupportedCipherSuite, SupportedProtocolVersion,
};
use tls::record::Header;
use tls::{Alert, CipherSuite, ContentType, Group, Scheme, TrafficKey, Version};

use crate::hybrid;

pub(crate) fn protocol_version(version: Version) -> &'static SupportedProtocolVersion {
    match version {
        Version::Tls12 => &rustls::version::TLS12,
        Version::Tls13 => &rustls::version::TLS13,
    }
}

pub(crate) fn version(version: ProtocolVersion) -> Option<Version> {
    match version {
        ProtocolVersion::TLSv1_2 => Some(Version::Tls12),
        ProtocolVersion::TLSv1_3 => Some(Version::Tls13),
        _ => None,
    }
}

/// By their numbers, which are the registry's.
pub(crate) fn signature_scheme(scheme: Scheme) -> SignatureScheme {
    SignatureScheme::from(scheme.number())
}

/// Of those that keys here can be used with.
pub(crate) fn scheme(scheme: SignatureScheme) -> Option<Scheme> {
    Scheme::from_number(u16::from(scheme))
}

pub(crate) fn supported_suite(suite: CipherSuite) -> Option<SupportedCipherSuite> {
    provider::ALL_CIPHER_SUITES
        .iter()
        .copied()
        .find(|s| u16::from(s.suite()) == suite.number())
}

/// The hash, PRF and AEAD of a suite, also of those that rustls does not know.
pub(crate) fn primitives(suite: CipherSuite) -> Option<SupportedCipherSuite> {
    supported_suite(match suite {
        CipherSuite::RsaAes128GcmSha256 => CipherSuite::EcdheRsaAes128GcmSha256,
        CipherSuite::RsaAes256GcmSha384 => CipherSuite::EcdheRsaAes256GcmSha384,
        suite => suite,
    })
}

/// A group for rustls: *ring*'s, or a hybrid with `libcrux-ml-kem`.
pub fn supported_group(group: Group) -> &'static dyn SupportedKxGroup {
    match group {
        Group::Secp256r1 => provider::kx_group::SECP256R1,
        Group::Secp384r1 => provider::kx_group::SECP384R1,
        Group::X25519 => provider::kx_group::X25519,
        Group::Secp256r1MlKem768 => &hybrid::SECP256R1_MLKEM768,
        Group::X25519MlKem768 => &hybrid::X25519_MLKEM768,
        Group::Secp384r1MlKem1024 => &hybrid::SECP384R1_MLKEM1024,
    }
}

pub(crate) fn group(group: &dyn SupportedKxGroup) -> Option<Group> {
    let number = u16::from(group.name());
    Group::ALL.into_iter().find(|g| g.number() == number)
}

/// The first 8 bytes of SHA-256 over the key and the part of the nonce base
/// that both sides derive.
pub(crate) fn key_check(suite: CipherSuite, key: &TrafficKey) -> [u8; 8] {
    // RFC 5288 §3: in TLS 1.2 only the salt of AES-GCM is derived.
    let derived = if suite.has_explicit_nonce() { 4 } else { 12 };
    let iv = key.iv.expose();
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(key.key.expose());
    context.update(iv.get(..derived).unwrap_or(iv));
    let digest = context.finish();
    let mut check = [0; 8];
    for (to, from) in check.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    check
}

/// Whose fault an error of rustls is.
pub(crate) fn blame(error: &Error) -> HandshakeError {
    match error {
        Error::AlertReceived(alert) => {
            HandshakeError::Peer(PeerError::AlertReceived(Alert(u8::from(*alert))))
        }
        Error::General(_)
        | Error::FailedToGetCurrentTime
        | Error::FailedToGetRandomBytes
        | Error::EncryptError => HandshakeError::Resource(Resource::Internal),
        Error::InvalidCertificate(CertificateError::Other(_)) => {
            HandshakeError::Resource(Resource::Internal)
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            HandshakeError::Peer(PeerError::NotTls)
        }
        _ => HandshakeError::Peer(PeerError::AlertSent(alert_for(error))),
    }
}

/// The alert in a record that rustls made, if it is one and in plaintext.
pub(crate) fn plaintext_alert(record: &[u8]) -> Option<Alert> {
    let (header, body) = Header::split_from(record)?;
    match (header.content_type()?, header.length(), body) {
        (ContentType::Alert, 2, [_level, description]) => Some(Alert(*description)),
        _ => None,
    }
}

/// The alert that RFC 8446 §6.2 names for `error`, for the report; what went
/// over the wire is rustls' own choice and may have been encrypted.
pub(crate) fn alert_for(error: &Error) -> Alert {
    let description = match error {
        Error::InvalidMessage(e) => AlertDescription::from(*e),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            AlertDescription::UnexpectedMessage
        }
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::NoApplicationProtocol => AlertDescription::NoApplicationProtocol,
        Error::NoCertificatesPresented => AlertDescription::CertificateRequired,
        Error::InvalidCertificate(e) => AlertDescription::from(e.clone()),
        Error::PeerMisbehaved(_) => AlertDescription::IllegalParameter,
        _ => AlertDescription::HandshakeFailure,
    };
    Alert(u8::from(description))
}
