//! The steps of a directed handshake that a policy can refuse.

use postcard::experimental::max_size::MaxSize;
use serde::{Deserialize, Serialize};

/// A step: a directive (R12 to R29), or one under a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Step {
    /// The random of a hello (R12 to R15).
    Random = 1,
    /// A key share (R18, R20).
    KeyShare = 2,
    /// Showing the ring's chain.
    ShowCertificate = 3,
    /// Decoding the peer's Certificate (R16, R17).
    DecodeCertificate = 4,
    /// Accepting the peer's chain (R16, R17).
    AcceptCertificate = 5,
    /// Encrypting a pre-master secret (R18).
    EncryptPreMaster = 6,
    /// Decrypting one with the ring's key (R20).
    DecryptPreMaster = 7,
    /// Agreeing on the pre-master secret (R18, R20).
    Agree = 8,
    /// Deriving secrets and keys (R22, R23).
    DeriveKeys = 9,
    /// Signing with the ring's key (R24).
    Sign = 10,
    /// Signing with it for a client that names no server (RFC 6066 §3).
    SignWithoutServerName = 11,
    /// Signing with it by RSASSA-PKCS1-v1_5 (TLS 1.2).
    SignRsaPkcs1 = 12,
    /// Verifying the peer's signature (R25).
    VerifySignature = 13,
    /// The MAC of this side's Finished (R26, R27).
    ComputeMac = 14,
    /// Checking the MAC of the peer's (R28, R29).
    ValidateMac = 15,
    /// Installing the session's keys.
    InstallKeys = 16,
    /// Server: encapsulating a secret with ML-KEM (FIPS 203).
    Encapsulate = 17,
    /// Client: decapsulating one.
    Decapsulate = 18,
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 18] = [
        Self::Random,
        Self::KeyShare,
        Self::ShowCertificate,
        Self::DecodeCertificate,
        Self::AcceptCertificate,
        Self::EncryptPreMaster,
        Self::DecryptPreMaster,
        Self::Agree,
        Self::DeriveKeys,
        Self::Sign,
        Self::SignWithoutServerName,
        Self::SignRsaPkcs1,
        Self::VerifySignature,
        Self::ComputeMac,
        Self::ValidateMac,
        Self::InstallKeys,
        Self::Encapsulate,
        Self::Decapsulate,
    ];

    /// Its word in a configuration and in the audit log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::KeyShare => "key-share",
            Self::ShowCertificate => "show-certificate",
            Self::DecodeCertificate => "decode-certificate",
            Self::AcceptCertificate => "accept-certificate",
            Self::EncryptPreMaster => "encrypt-pre-master",
            Self::DecryptPreMaster => "decrypt-pre-master",
            Self::Agree => "agree",
            Self::DeriveKeys => "derive-keys",
            Self::Sign => "sign",
            Self::SignWithoutServerName => "sign-without-server-name",
            Self::SignRsaPkcs1 => "sign-rsa-pkcs1",
            Self::VerifySignature => "verify-signature",
            Self::ComputeMac => "compute-mac",
            Self::ValidateMac => "validate-mac",
            Self::InstallKeys => "install-keys",
            Self::Encapsulate => "encapsulate",
            Self::Decapsulate => "decapsulate",
        }
    }
}
