//! Cipher suites (RFC 8446 §B.4, RFC 5288, RFC 5289, RFC 7905).

#[cfg(feature = "serde")]
use postcard::experimental::max_size::MaxSize;

use crate::names::Version;

/// A cipher suite, by its number in the TLS Cipher Suites registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize, MaxSize)
)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize, MaxSize)
)]
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
    /// preference: after all others, and only where they are asked for.
    pub const STATIC_RSA: [Self; 2] = [Self::RsaAes256GcmSha384, Self::RsaAes128GcmSha256];

    /// How many suites there are.
    pub const COUNT: usize = Self::ALL.len() + Self::STATIC_RSA.len();

    /// Whether the client encrypts the pre-master secret with the key in the
    /// server's certificate.
    pub const fn is_static_rsa(self) -> bool {
        matches!(self, Self::RsaAes128GcmSha256 | Self::RsaAes256GcmSha384)
    }

    /// Whether its records carry a part of their nonce (RFC 5288 §3): AES-GCM in TLS 1.2.
    #[inline]
    pub const fn has_explicit_nonce(self) -> bool {
        matches!(self.version(), Version::Tls12) && !matches!(self.aead(), Aead::ChaCha20Poly1305)
    }

    /// The hash of its key schedule and transcript.
    pub const fn hash(self) -> Hash {
        match self {
            Self::RsaAes256GcmSha384
            | Self::Aes256GcmSha384
            | Self::EcdheEcdsaAes256GcmSha384
            | Self::EcdheRsaAes256GcmSha384 => Hash::Sha384,
            _ => Hash::Sha256,
        }
    }

    /// Bytes of its hash: 32 for SHA-256, 48 for SHA-384.
    pub const fn hash_len(self) -> u8 {
        match self.hash() {
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
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

/// The hash of a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
}

impl Hash {
    /// Bytes of its output.
    #[expect(clippy::len_without_is_empty, reason = "no hash is empty")]
    pub const fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_have_distinct_numbers_that_lead_back() {
        for suite in CipherSuite::ALL.into_iter().chain(CipherSuite::STATIC_RSA) {
            assert_eq!(CipherSuite::from_number(suite.number()), Some(suite));
        }
    }
}
