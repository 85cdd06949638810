//! Versions, suites, groups, alerts: the names that all protocols share.

use postcard::experimental::max_size::MaxSize;
use serde::{Deserialize, Serialize};

use crate::bounded::{Bytes, List, Text};
use crate::secret::Secret;

/// A protocol version that can be negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, MaxSize)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// A cipher suite, by its number in the TLS Cipher Suites registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum CipherSuite {
    /// 0x1301.
    Aes128GcmSha256,
    /// 0x1302.
    Aes256GcmSha384,
    /// 0x1303.
    ChaCha20Poly1305Sha256,
    /// 0xC02B.
    EcdheEcdsaAes128GcmSha256,
    /// 0xC02C.
    EcdheEcdsaAes256GcmSha384,
    /// 0xC02F.
    EcdheRsaAes128GcmSha256,
    /// 0xC030.
    EcdheRsaAes256GcmSha384,
    /// 0xCCA8.
    EcdheRsaChaCha20Poly1305Sha256,
    /// 0xCCA9.
    EcdheEcdsaChaCha20Poly1305Sha256,
    /// 0x009C; static RSA: off unless a listener or backend says otherwise.
    RsaAes128GcmSha256,
    /// 0x009D; static RSA.
    RsaAes256GcmSha384,
}

/// The authenticated encryption of a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Aead {
    /// AES-128-GCM (RFC 5116, RFC 5288).
    Aes128Gcm,
    /// AES-256-GCM.
    Aes256Gcm,
    /// ChaCha20-Poly1305 (RFC 8439, RFC 7905).
    ChaCha20Poly1305,
}

impl CipherSuite {
    /// Suites that are on by default, in the order of preference.
    pub const ALL: [Self; 9] = [
        Self::Aes256GcmSha384,
        Self::Aes128GcmSha256,
        Self::ChaCha20Poly1305Sha256,
        Self::EcdheEcdsaAes256GcmSha384,
        Self::EcdheEcdsaAes128GcmSha256,
        Self::EcdheEcdsaChaCha20Poly1305Sha256,
        Self::EcdheRsaAes256GcmSha384,
        Self::EcdheRsaAes128GcmSha256,
        Self::EcdheRsaChaCha20Poly1305Sha256,
    ];

    /// Suites without forward secrecy (RFC 5288 §3), in the order of
    /// preference: behind all others, and only where they are asked for.
    pub const STATIC_RSA: [Self; 2] = [Self::RsaAes256GcmSha384, Self::RsaAes128GcmSha256];

    /// How many suites there are.
    pub const COUNT: usize = Self::ALL.len() + Self::STATIC_RSA.len();

    /// Whether the client encrypts the pre-master secret with the key in the
    /// server's certificate.
    pub const fn is_static_rsa(self) -> bool {
        matches!(self, Self::RsaAes128GcmSha256 | Self::RsaAes256GcmSha384)
    }

    /// Bytes of its hash: 32 for SHA-256, 48 for SHA-384.
    pub const fn hash_len(self) -> u8 {
        match self {
            Self::RsaAes256GcmSha384
            | Self::Aes256GcmSha384
            | Self::EcdheEcdsaAes256GcmSha384
            | Self::EcdheRsaAes256GcmSha384 => 48,
            _ => 32,
        }
    }

    /// Its number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::RsaAes128GcmSha256 => 0x009c,
            Self::RsaAes256GcmSha384 => 0x009d,
            Self::Aes128GcmSha256 => 0x1301,
            Self::Aes256GcmSha384 => 0x1302,
            Self::ChaCha20Poly1305Sha256 => 0x1303,
            Self::EcdheEcdsaAes128GcmSha256 => 0xc02b,
            Self::EcdheEcdsaAes256GcmSha384 => 0xc02c,
            Self::EcdheRsaAes128GcmSha256 => 0xc02f,
            Self::EcdheRsaAes256GcmSha384 => 0xc030,
            Self::EcdheRsaChaCha20Poly1305Sha256 => 0xcca8,
            Self::EcdheEcdsaChaCha20Poly1305Sha256 => 0xcca9,
        }
    }

    /// The suite with a number on the wire.
    pub fn from_number(number: u16) -> Option<Self> {
        let mut every = Self::ALL.into_iter().chain(Self::STATIC_RSA);
        every.find(|s| s.number() == number)
    }

    /// Its name in the registry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RsaAes128GcmSha256 => "TLS_RSA_WITH_AES_128_GCM_SHA256",
            Self::RsaAes256GcmSha384 => "TLS_RSA_WITH_AES_256_GCM_SHA384",
            Self::Aes128GcmSha256 => "TLS_AES_128_GCM_SHA256",
            Self::Aes256GcmSha384 => "TLS_AES_256_GCM_SHA384",
            Self::ChaCha20Poly1305Sha256 => "TLS_CHACHA20_POLY1305_SHA256",
            Self::EcdheEcdsaAes128GcmSha256 => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            Self::EcdheEcdsaAes256GcmSha384 => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            Self::EcdheRsaAes128GcmSha256 => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            Self::EcdheRsaAes256GcmSha384 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            Self::EcdheRsaChaCha20Poly1305Sha256 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            Self::EcdheEcdsaChaCha20Poly1305Sha256 => {
                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
            }
        }
    }

    /// The version that it belongs to.
    pub const fn version(self) -> Version {
        match self {
            Self::Aes128GcmSha256 | Self::Aes256GcmSha384 | Self::ChaCha20Poly1305Sha256 => {
                Version::Tls13
            }
            _ => Version::Tls12,
        }
    }

    /// Its authenticated encryption.
    pub const fn aead(self) -> Aead {
        match self {
            Self::Aes128GcmSha256
            | Self::EcdheEcdsaAes128GcmSha256
            | Self::EcdheRsaAes128GcmSha256
            | Self::RsaAes128GcmSha256 => Aead::Aes128Gcm,
            Self::Aes256GcmSha384
            | Self::EcdheEcdsaAes256GcmSha384
            | Self::EcdheRsaAes256GcmSha384
            | Self::RsaAes256GcmSha384 => Aead::Aes256Gcm,
            Self::ChaCha20Poly1305Sha256
            | Self::EcdheRsaChaCha20Poly1305Sha256
            | Self::EcdheEcdsaChaCha20Poly1305Sha256 => Aead::ChaCha20Poly1305,
        }
    }
}

impl Aead {
    /// Bytes of its key.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }
}

/// A key exchange group, by its number in the TLS Supported Groups registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Group {
    /// 0x0017.
    Secp256r1,
    /// 0x0018.
    Secp384r1,
    /// 0x001D.
    X25519,
}

impl Group {
    /// Every group, in the order of preference.
    pub const ALL: [Self; 3] = [Self::X25519, Self::Secp256r1, Self::Secp384r1];

    /// Its name in the registry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Secp256r1 => "secp256r1",
            Self::Secp384r1 => "secp384r1",
            Self::X25519 => "x25519",
        }
    }

    /// The group with a number on the wire.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|g| g.number() == number)
    }

    /// Bytes of a public key (RFC 8446 §4.2.8.2).
    pub const fn share_len(self) -> usize {
        match self {
            Self::Secp256r1 => 65,
            Self::Secp384r1 => 97,
            Self::X25519 => 32,
        }
    }

    /// Its number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::Secp256r1 => 0x17,
            Self::Secp384r1 => 0x18,
            Self::X25519 => 0x1d,
        }
    }
}

/// Which side of the handshake this system plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Role {
    /// Waits for the ClientHello.
    Server,
    /// Sends the ClientHello.
    Client,
}

impl Role {
    /// The peer's role.
    pub const fn other(self) -> Self {
        match self {
            Self::Server => Self::Client,
            Self::Client => Self::Server,
        }
    }
}

/// Who drives the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Mode {
    /// The offload component alone.
    Autonomous,
    /// The kernel shim, message segment by message segment.
    Directed,
}

/// What the server asks of its client (RFC 8446 §4.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum PeerAuthentication {
    /// No certificate is asked for.
    None,
    /// A certificate is asked for; a client without one goes on.
    Request,
    /// A client without a certificate is refused.
    Require,
}

/// The description of an alert (RFC 8446 §6), by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
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
    /// No certificate where one is insisted on.
    pub const CERTIFICATE_REQUIRED: Self = Self(116);
    /// No application protocol in common.
    pub const NO_APPLICATION_PROTOCOL: Self = Self(120);

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

/// The name of a key ring.
pub type Label = Text<32>;
/// One ALPN protocol name (RFC 7301), at most 32 bytes here.
pub type Protocol = Bytes<32>;
/// ALPN protocol names in the order of preference.
pub type Protocols = List<Protocol, 4>;
/// A DNS name without a trailing dot, or, where this system is the client, an IP
/// address. The type takes any text: whoever prints one or passes it on asks
/// [`is_dns_name`] first.
pub type ServerName = Text<253>;

/// Whether `name` is a DNS name as RFC 1035 §2.3.1 and RFC 5890 §2.3.1 write it, with
/// underscores, which are in use: labels of 1 to 63 letters, digits, hyphens and
/// underscores that neither begin nor end with a hyphen, the last one no number; 253
/// bytes in all; no dot at the end (RFC 6066 §3).
pub fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(is_of_name)
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    // An IPv4 address is no name.
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= 253 && !is_number && name.split('.').all(is_label)
}

/// The key and nonce base of one direction (RFC 8446 §7.3, RFC 5288 §3).
#[derive(Serialize, Deserialize, MaxSize)]
pub struct TrafficKey {
    /// As long as the AEAD's key.
    pub key: Secret<32>,
    /// 12 bytes: the nonce base of TLS 1.3 and ChaCha20. For AES-GCM in TLS 1.2
    /// the salt (4 bytes) first; behind it, out: the base of the explicit
    /// nonce, which the sequence number is XORed into; in: not used.
    pub iv: Secret<12>,
    /// The sequence number of the next record.
    pub sequence: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dns_name_is_told_from_what_could_forge_a_line() {
        for name in [
            "a",
            "a.test",
            "xn--bcher-kva.example",
            "_sip.a.test",
            "1.a",
            "A-b.C",
        ] {
            assert!(is_dns_name(name), "{name}");
        }
        let long_label = ["a".repeat(64).as_str(), ".test"].concat();
        let long = ["a".repeat(63).as_str(); 4].join(".");
        for name in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a.test",
            "a-.test",
            "10.0.2.2",
            "1",
            "::1",
            "a b",
            "a\nhandshake ok",
            "a\"",
            "a=b",
            "a\0",
            "ä.test",
            "a/b",
            "*.test",
            &long_label,
            &long,
        ] {
            assert!(!is_dns_name(name), "{name:?}");
        }
    }

    #[test]
    fn suites_have_distinct_numbers_that_lead_back() {
        for suite in CipherSuite::ALL.into_iter().chain(CipherSuite::STATIC_RSA) {
            assert_eq!(CipherSuite::from_number(suite.number()), Some(suite));
        }
    }
}
