//! Why a handshake failed, as one word: the metrics count it, the log ends with it. A peer's
//! alerts and this system's are a closed set here, whatever they are on the wire.

use ipc::control::{
    Cause, Failure, HandshakeError, PeerError, PolicyError, RequestError, Resource,
};
use tls::{Alert, Role};

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident $name:literal;)*) => {
        /// Why a handshake failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),*];

            /// One word.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

reasons! {
    OldVersion "old_version";
    Version "version";
    Fallback "fallback";
    Suite "suite";
    Group "group";
    Scheme "signature_scheme";
    NothingInCommon "nothing_in_common";
    Alpn "alpn";
    ServerName "server_name";
    ExtendedMasterSecret "extended_master_secret";
    CertificateMissing "certificate_missing";
    CertificateExpired "certificate_expired";
    CertificateNotYetValid "certificate_not_yet_valid";
    CertificateIssuer "certificate_issuer";
    CertificateRevoked "certificate_revoked";
    CertificateStatus "certificate_status";
    CertificatePurpose "certificate_purpose";
    CertificateName "certificate_name";
    CertificateMalformed "certificate_malformed";
    CertificateUnsupported "certificate_unsupported";
    Signature "signature";
    RecordMac "record_mac";
    Decrypt "decrypt";
    Malformed "malformed";
    Unexpected "unexpected_message";
    IllegalParameter "illegal_parameter";
    MissingExtension "missing_extension";
    UnsupportedExtension "unsupported_extension";
    Protocol "protocol";
    NotTls "not_tls";
    /// It sent an alert: about a certificate of this side.
    PeerCertificate "peer_certificate";
    /// About the version.
    PeerVersion "peer_version";
    /// About nothing that is in common.
    PeerNothingInCommon "peer_nothing_in_common";
    /// Another one.
    PeerAlert "peer_alert";
    Closed "closed";
    Timeout "timeout";
    NoRule "no_rule";
    Step "step";
    Policy "policy";
    NoKeyring "no_keyring";
    NoTrustAnchor "no_trust_anchor";
    Request "request";
    LimitHandshakes "limit_handshakes";
    LimitSessions "limit_sessions";
    LimitMemory "limit_memory";
    Displaced "displaced";
    Cancelled "cancelled";
    Restarted "restarted";
    Internal "internal";
}

impl Reason {
    pub(crate) const fn of(failure: &Failure) -> Self {
        match failure.error {
            HandshakeError::Peer(error) => Self::of_peer(error, failure.cause),
            HandshakeError::Policy(PolicyError::NoRule) => Self::NoRule,
            HandshakeError::Policy(PolicyError::Step) => Self::Step,
            HandshakeError::Policy(_) => Self::Policy,
            HandshakeError::Request(RequestError::NoKeyring) => Self::NoKeyring,
            HandshakeError::Request(RequestError::NoTrustAnchor) => Self::NoTrustAnchor,
            // The peer has gone before it began.
            HandshakeError::Request(RequestError::Connection) => Self::Closed,
            HandshakeError::Request(RequestError::Deadline) => Self::Timeout,
            HandshakeError::Request(_) => Self::Request,
            HandshakeError::Resource(Resource::Handshakes) => Self::LimitHandshakes,
            HandshakeError::Resource(Resource::Sessions) => Self::LimitSessions,
            HandshakeError::Resource(Resource::Memory) => Self::LimitMemory,
            HandshakeError::Resource(Resource::Displaced) => Self::Displaced,
            HandshakeError::Resource(Resource::Queue | Resource::Internal) => Self::Internal,
            HandshakeError::Cancelled => Self::Cancelled,
            HandshakeError::ServerRestarted => Self::Restarted,
        }
    }

    const fn of_peer(error: PeerError, cause: Option<Cause>) -> Self {
        match (error, cause) {
            (PeerError::AlertSent(_), Some(cause)) => Self::of_cause(cause),
            (PeerError::AlertSent(alert), None) => Self::of_sent(alert),
            (PeerError::AlertReceived(alert), _) => Self::of_received(alert),
            (PeerError::Closed, _) => Self::Closed,
            (PeerError::Deadline, _) => Self::Timeout,
            (PeerError::NotTls, _) => Self::NotTls,
        }
    }

    const fn of_cause(cause: Cause) -> Self {
        match cause {
            Cause::OldVersion => Self::OldVersion,
            Cause::Version => Self::Version,
            Cause::Suite => Self::Suite,
            Cause::Group => Self::Group,
            Cause::Scheme => Self::Scheme,
            Cause::ExtendedMasterSecret => Self::ExtendedMasterSecret,
            Cause::CertificateMissing => Self::CertificateMissing,
            Cause::CertificateExpired => Self::CertificateExpired,
            Cause::CertificateNotYetValid => Self::CertificateNotYetValid,
            Cause::CertificateIssuer => Self::CertificateIssuer,
            Cause::CertificateRevoked => Self::CertificateRevoked,
            Cause::CertificateStatus => Self::CertificateStatus,
            Cause::CertificatePurpose => Self::CertificatePurpose,
            Cause::CertificateName => Self::CertificateName,
            Cause::CertificateMalformed => Self::CertificateMalformed,
            Cause::CertificateUnsupported => Self::CertificateUnsupported,
            Cause::Signature => Self::Signature,
        }
    }

    /// What an alert of this side says by itself (RFC 8446 §6.2).
    const fn of_sent(alert: Alert) -> Self {
        match alert {
            Alert::UNEXPECTED_MESSAGE => Self::Unexpected,
            Alert::BAD_RECORD_MAC => Self::RecordMac,
            Alert::RECORD_OVERFLOW | Alert::DECODE_ERROR => Self::Malformed,
            Alert::HANDSHAKE_FAILURE => Self::NothingInCommon,
            Alert::BAD_CERTIFICATE => Self::CertificateMalformed,
            Alert::UNSUPPORTED_CERTIFICATE => Self::CertificateUnsupported,
            Alert(44) => Self::CertificateRevoked,
            Alert(45) => Self::CertificateExpired,
            Alert(48) => Self::CertificateIssuer,
            Alert::ILLEGAL_PARAMETER => Self::IllegalParameter,
            Alert::ACCESS_DENIED => Self::NoRule,
            Alert::DECRYPT_ERROR => Self::Decrypt,
            Alert::PROTOCOL_VERSION => Self::Version,
            Alert::INTERNAL_ERROR => Self::Internal,
            Alert::INAPPROPRIATE_FALLBACK => Self::Fallback,
            Alert::MISSING_EXTENSION => Self::MissingExtension,
            Alert::UNSUPPORTED_EXTENSION => Self::UnsupportedExtension,
            Alert::UNRECOGNIZED_NAME => Self::ServerName,
            Alert::CERTIFICATE_REQUIRED => Self::CertificateMissing,
            Alert::NO_APPLICATION_PROTOCOL => Self::Alpn,
            _ => Self::Protocol,
        }
    }

    /// What an alert of the peer is about.
    const fn of_received(alert: Alert) -> Self {
        match alert {
            Alert(41..=46 | 48 | 111 | 113 | 114) | Alert::CERTIFICATE_REQUIRED => {
                Self::PeerCertificate
            }
            Alert::PROTOCOL_VERSION => Self::PeerVersion,
            Alert::HANDSHAKE_FAILURE | Alert(71) | Alert::NO_APPLICATION_PROTOCOL => {
                Self::PeerNothingInCommon
            }
            _ => Self::PeerAlert,
        }
    }
}

/// How many handshakes failed, by role and reason.
pub(crate) struct Failures([[u64; Reason::ALL.len()]; 2]);

impl Default for Failures {
    fn default() -> Self {
        Self([[0; Reason::ALL.len()]; 2])
    }
}

impl Failures {
    /// One more, with a client (role of a server) or a backend.
    pub(crate) fn count(&mut self, role: Role, reason: Reason) {
        let [clients, backends] = &mut self.0;
        let of_role = match role {
            Role::Server => clients,
            Role::Client => backends,
        };
        if let Some(count) = of_role.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// Those that there were.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, Reason, u64)> {
        ["client", "backend"]
            .into_iter()
            .zip(&self.0)
            .flat_map(|(peer, counts)| {
                let counts = Reason::ALL.iter().zip(counts);
                let some = counts.filter(|(_, count)| **count > 0);
                some.map(move |(reason, count)| (peer, *reason, *count))
            })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_reason_has_a_word_of_its_own_that_is_a_label_and_stands_in_the_manual() {
        let names: HashSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        let manual = include_str!("../../docs/operations.md");
        let (_, table) = manual.split_once("## Why a handshake fails").unwrap();
        let table = table.split("\n## ").next().unwrap();
        let told: HashSet<_> = table
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
            .map(|(names, _)| names)
            .flat_map(|names| names.split("`, `"))
            .collect();
        assert_eq!(told, names);
        for (place, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, place);
            let name = reason.name();
            assert!(
                name.bytes().all(|b| b == b'_' || b.is_ascii_lowercase()),
                "{name}"
            );
        }
    }

    fn of(error: PeerError, cause: Option<Cause>) -> &'static str {
        let error = HandshakeError::Peer(error);
        Reason::of(&Failure { error, cause }).name()
    }

    #[test]
    fn a_cause_tells_more_than_the_alert_that_was_sent() {
        let sent = PeerError::AlertSent(Alert::HANDSHAKE_FAILURE);
        assert_eq!(of(sent, None), "nothing_in_common");
        assert_eq!(of(sent, Some(Cause::Group)), "group");
        let version = PeerError::AlertSent(Alert::PROTOCOL_VERSION);
        assert_eq!(of(version, Some(Cause::OldVersion)), "old_version");
        // It was about to be refused, and left before.
        assert_eq!(of(PeerError::Closed, Some(Cause::Group)), "closed");
    }

    #[test]
    fn whatever_alert_a_peer_sends_it_is_one_of_four() {
        let names = (0..=255).map(|n| of(PeerError::AlertReceived(Alert(n)), None));
        let names: HashSet<_> = names.collect();
        let expected = [
            "peer_alert",
            "peer_certificate",
            "peer_nothing_in_common",
            "peer_version",
        ];
        assert_eq!(names, expected.into());
        assert_eq!(
            of(PeerError::AlertReceived(Alert(48)), None),
            "peer_certificate"
        );
    }
}
