//! Alerts that an RFC names, where rustls has another one, or none.

use rustls::{Error, PeerIncompatible, PeerMisbehaved, ProtocolVersion};
use tls::{Alert, Role};

/// What is due for `error`, in a handshake of `version` as far as that is agreed on; `None`
/// if rustls' alert is.
pub(super) fn instead(
    error: &Error,
    role: Role,
    version: Option<ProtocolVersion>,
) -> Option<Alert> {
    match (error, version) {
        // RFC 8446 §4.1.3: a suite that was not offered. RFC 8422 §5.2: points have to be
        // uncompressed.
        (
            Error::PeerMisbehaved(
                PeerMisbehaved::SelectedUnofferedCipherSuite
                | PeerMisbehaved::ServerHelloMustOfferUncompressedEcPoints,
            ),
            _,
        ) => Some(Alert::ILLEGAL_PARAMETER),
        // RFC 8446 §4.1.4: another version than that of the HelloRetryRequest.
        (
            Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ),
            Some(ProtocolVersion::TLSv1_3),
        ) => Some(Alert::ILLEGAL_PARAMETER),
        // RFC 5246 §7.4.6: a client without a certificate; certificate_required is of TLS 1.3.
        (Error::NoCertificatesPresented, Some(ProtocolVersion::TLSv1_2))
            if role == Role::Server =>
        {
            Some(Alert::HANDSHAKE_FAILURE)
        }
        // RFC 8446 §5.2: no record of refused 0-RTT comes amid a message.
        (
            Error::PeerMisbehaved(PeerMisbehaved::RejectedEarlyDataInterleavedWithHandshakeMessage),
            _,
        ) => Some(Alert::BAD_RECORD_MAC),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rustls::ProtocolVersion::{TLSv1_2, TLSv1_3};

    use super::*;

    #[test]
    fn another_version_than_that_of_the_retry_is_an_illegal_parameter() {
        let error = Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13);
        let due = |version| instead(&error, Role::Client, version);
        assert_eq!(due(Some(TLSv1_3)), Some(Alert::ILLEGAL_PARAMETER));
        // Of a first ServerHello: protocol_version.
        assert_eq!(due(None), None);
    }

    #[test]
    fn a_client_without_a_certificate_is_told_as_its_version_does() {
        let due = |role, version| instead(&Error::NoCertificatesPresented, role, Some(version));
        assert_eq!(due(Role::Server, TLSv1_2), Some(Alert::HANDSHAKE_FAILURE));
        assert_eq!(due(Role::Server, TLSv1_3), None);
        // A server without one is another matter (RFC 8446 §4.4.2.4).
        assert_eq!(due(Role::Client, TLSv1_2), None);
    }
}
