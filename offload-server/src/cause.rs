//! What of a peer's part was wrong, where its alert does not tell.

use ipc::control::Cause;
use rustls::{CertificateError, Error, PeerIncompatible};

/// What rustls found.
pub(crate) fn of(error: &Error) -> Option<Cause> {
    match error {
        Error::PeerIncompatible(error) => of_incompatible(error),
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::NoCertificatesPresented => Some(Cause::CertificateMissing),
        _ => None,
    }
}

const fn of_incompatible(error: &PeerIncompatible) -> Option<Cause> {
    use PeerIncompatible as P;
    Some(match error {
        P::Tls12NotOffered | P::ServerDoesNotSupportTls12Or13 => Cause::OldVersion,
        P::Tls12NotOfferedOrEnabled
        | P::SupportedVersionsExtensionRequired
        | P::ServerTlsVersionIsDisabledByOurConfig => Cause::Version,
        P::NoCipherSuitesInCommon => Cause::Suite,
        P::NoKxGroupsInCommon | P::NamedGroupsExtensionRequired => Cause::Group,
        P::NoSignatureSchemesInCommon
        | P::NoCertificateRequestSignatureSchemesInCommon
        | P::SignatureAlgorithmsExtensionRequired => Cause::Scheme,
        P::ExtendedMasterSecretExtensionRequired => Cause::ExtendedMasterSecret,
        _ => return None,
    })
}

const fn of_certificate(error: &CertificateError) -> Option<Cause> {
    use CertificateError as C;
    #[expect(deprecated, reason = "rustls can still say it")]
    Some(match error {
        C::BadEncoding => Cause::CertificateMalformed,
        C::Expired | C::ExpiredContext { .. } => Cause::CertificateExpired,
        C::NotValidYet | C::NotValidYetContext { .. } => Cause::CertificateNotYetValid,
        C::Revoked => Cause::CertificateRevoked,
        C::UnknownIssuer => Cause::CertificateIssuer,
        C::UnknownRevocationStatus
        | C::ExpiredRevocationList
        | C::ExpiredRevocationListContext { .. } => Cause::CertificateStatus,
        C::BadSignature => Cause::Signature,
        C::UnhandledCriticalExtension
        | C::UnsupportedSignatureAlgorithm
        | C::UnsupportedSignatureAlgorithmContext { .. }
        | C::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            Cause::CertificateUnsupported
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => Cause::CertificateName,
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => Cause::CertificatePurpose,
        _ => return None,
    })
}
