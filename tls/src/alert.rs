//! Alerts (RFC 8446 §6, RFC 5246 §7.2).

#[cfg(feature = "serde")]
use postcard::experimental::max_size::MaxSize;

use crate::names::{ContentType, LEGACY_VERSION};

/// The description of an alert (RFC 8446 §6), by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize, MaxSize)
)]
pub struct Alert(pub u8);

impl Alert {
    /// RFC 8446 §6.1.
    pub const CLOSE_NOTIFY: Self = Self(0);
    /// A message that does not belong there.
    pub const UNEXPECTED_MESSAGE: Self = Self(10);
    /// A record that can't be opened.
    pub const BAD_RECORD_MAC: Self = Self(20);
    /// A record longer than allowed.
    pub const RECORD_OVERFLOW: Self = Self(22);
    /// No common ground.
    pub const HANDSHAKE_FAILURE: Self = Self(40);
    /// A message that can't be parsed.
    pub const DECODE_ERROR: Self = Self(50);
    /// No common version.
    pub const PROTOCOL_VERSION: Self = Self(70);
    /// A client that could do better offers less.
    pub const INAPPROPRIATE_FALLBACK: Self = Self(86);
    /// Not the peer's fault.
    pub const INTERNAL_ERROR: Self = Self(80);
    /// The handshake is given up for a reason outside the protocol.
    pub const USER_CANCELED: Self = Self(90);
    /// RFC 5246 §7.2.2: a warning where a renegotiation is declined.
    pub const NO_RENEGOTIATION: Self = Self(100);
    /// A certificate that can't be read (RFC 8446 §6.2).
    pub const BAD_CERTIFICATE: Self = Self(42);
    /// A certificate whose key can't be used.
    pub const UNSUPPORTED_CERTIFICATE: Self = Self(43);
    /// What the peer proved of itself is not let through.
    pub const ACCESS_DENIED: Self = Self(49);
    /// A field whose value can't be.
    pub const ILLEGAL_PARAMETER: Self = Self(47);
    /// A MAC or a signature that is not right.
    pub const DECRYPT_ERROR: Self = Self(51);
    /// An extension that must be there is not.
    pub const MISSING_EXTENSION: Self = Self(109);
    /// An extension that was not asked for.
    pub const UNSUPPORTED_EXTENSION: Self = Self(110);
    /// A server name that is not known (RFC 6066 §3).
    pub const UNRECOGNIZED_NAME: Self = Self(112);
    /// No certificate where one is insisted on.
    pub const CERTIFICATE_REQUIRED: Self = Self(116);
    /// No application protocol in common.
    pub const NO_APPLICATION_PROTOCOL: Self = Self(120);

    /// The two bytes of a message of this level.
    pub const fn message(self, level: AlertLevel) -> [u8; 2] {
        [level.number(), self.0]
    }

    /// The two bytes of a fatal alert.
    pub const fn fatal(self) -> [u8; 2] {
        self.message(AlertLevel::Fatal)
    }

    /// The record that ends a connection whose peer has no keys yet (RFC 8446 §5.1).
    pub const fn fatal_record(self) -> [u8; 7] {
        let [level, description] = self.fatal();
        let [major, minor] = LEGACY_VERSION.to_be_bytes();
        [
            ContentType::Alert.number(),
            major,
            minor,
            0,
            2,
            level,
            description,
        ]
    }

    /// Its name in RFC 8446 §6, or "alert" for a number without one.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            22 => "record_overflow",
            40 => "handshake_failure",
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            44 => "certificate_revoked",
            45 => "certificate_expired",
            46 => "certificate_unknown",
            47 => "illegal_parameter",
            48 => "unknown_ca",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            86 => "inappropriate_fallback",
            90 => "user_canceled",
            100 => "no_renegotiation",
            109 => "missing_extension",
            110 => "unsupported_extension",
            112 => "unrecognized_name",
            113 => "bad_certificate_status_response",
            115 => "unknown_psk_identity",
            116 => "certificate_required",
            120 => "no_application_protocol",
            _ => "alert",
        }
    }
}

/// The level of an alert (RFC 5246 §7.2, RFC 8446 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertLevel {
    /// 1.
    Warning,
    /// 2.
    Fatal,
}

impl AlertLevel {
    /// Its number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::Warning => 1,
            Self::Fatal => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fatal_alert_without_keys_is_a_record_of_seven_bytes() {
        let record = Alert::DECODE_ERROR.fatal_record();
        assert_eq!(record, [21, 3, 3, 0, 2, 2, 50]);
    }
}
