//! Names of the TLS registries (RFC 8446 §11) beside cipher suites and alerts.

#[cfg(feature = "serde")]
use postcard::experimental::max_size::MaxSize;

/// A protocol version that can be negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize, MaxSize)
)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl Version {
    /// Its number on the wire (RFC 8446 §4.1.2, §4.2.1).
    pub const fn number(self) -> u16 {
        match self {
            Self::Tls12 => 0x0303,
            Self::Tls13 => 0x0304,
        }
    }
}

/// The version that records and hellos of TLS 1.3 carry where TLS 1.2 looks for one (RFC
/// 8446 §4.1.2, §5.1).
pub const LEGACY_VERSION: u16 = Version::Tls12.number();

/// What a record carries (RFC 8446 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType {
    /// 20.
    ChangeCipherSpec,
    /// 21.
    Alert,
    /// 22.
    Handshake,
    /// 23.
    ApplicationData,
}

impl ContentType {
    /// Its number on the wire.
    #[inline]
    pub const fn number(self) -> u8 {
        match self {
            Self::ChangeCipherSpec => 20,
            Self::Alert => 21,
            Self::Handshake => 22,
            Self::ApplicationData => 23,
        }
    }

    /// The type with a number on the wire.
    #[inline]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            20 => Some(Self::ChangeCipherSpec),
            21 => Some(Self::Alert),
            22 => Some(Self::Handshake),
            23 => Some(Self::ApplicationData),
            _ => None,
        }
    }
}

/// The type of a handshake message (RFC 8446 §4, RFC 5246 §7.4), by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeType(pub u8);

impl HandshakeType {
    /// RFC 5246 §7.4.1.1.
    pub const HELLO_REQUEST: Self = Self(0);
    /// RFC 8446 §4.1.2.
    pub const CLIENT_HELLO: Self = Self(1);
    /// RFC 8446 §4.1.3; also a HelloRetryRequest (§4.1.4).
    pub const SERVER_HELLO: Self = Self(2);
    /// RFC 8446 §4.6.1, RFC 5077 §3.3.
    pub const NEW_SESSION_TICKET: Self = Self(4);
    /// RFC 8446 §4.3.1.
    pub const ENCRYPTED_EXTENSIONS: Self = Self(8);
    /// RFC 8446 §4.4.2.
    pub const CERTIFICATE: Self = Self(11);
    /// RFC 5246 §7.4.3.
    pub const SERVER_KEY_EXCHANGE: Self = Self(12);
    /// RFC 8446 §4.3.2.
    pub const CERTIFICATE_REQUEST: Self = Self(13);
    /// RFC 5246 §7.4.5.
    pub const SERVER_HELLO_DONE: Self = Self(14);
    /// RFC 8446 §4.4.3.
    pub const CERTIFICATE_VERIFY: Self = Self(15);
    /// RFC 5246 §7.4.7.
    pub const CLIENT_KEY_EXCHANGE: Self = Self(16);
    /// RFC 8446 §4.4.4.
    pub const FINISHED: Self = Self(20);
    /// RFC 6066 §8.
    pub const CERTIFICATE_STATUS: Self = Self(22);
    /// RFC 8446 §4.6.3.
    pub const KEY_UPDATE: Self = Self(24);
    /// RFC 8446 §4.4.1: stands for the first ClientHello before a HelloRetryRequest, in
    /// the transcript alone.
    pub const MESSAGE_HASH: Self = Self(254);
}

/// The type of an extension (RFC 8446 §4.2), by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtensionType(pub u16);

impl ExtensionType {
    /// RFC 6066 §3.
    pub const SERVER_NAME: Self = Self(0);
    /// RFC 6066 §8.
    pub const STATUS_REQUEST: Self = Self(5);
    /// RFC 8446 §4.2.7.
    pub const SUPPORTED_GROUPS: Self = Self(10);
    /// RFC 8422 §5.1.2.
    pub const EC_POINT_FORMATS: Self = Self(11);
    /// RFC 8446 §4.2.3.
    pub const SIGNATURE_ALGORITHMS: Self = Self(13);
    /// RFC 7301 §3.1.
    pub const ALPN: Self = Self(16);
    /// RFC 7627 §5.1.
    pub const EXTENDED_MASTER_SECRET: Self = Self(23);
    /// RFC 8449 §4.
    pub const RECORD_SIZE_LIMIT: Self = Self(28);
    /// RFC 5077 §3.2.
    pub const SESSION_TICKET: Self = Self(35);
    /// RFC 8446 §4.2.11.
    pub const PRE_SHARED_KEY: Self = Self(41);
    /// RFC 8446 §4.2.10.
    pub const EARLY_DATA: Self = Self(42);
    /// RFC 8446 §4.2.1.
    pub const SUPPORTED_VERSIONS: Self = Self(43);
    /// RFC 8446 §4.2.2.
    pub const COOKIE: Self = Self(44);
    /// RFC 8446 §4.2.9.
    pub const PSK_KEY_EXCHANGE_MODES: Self = Self(45);
    /// RFC 8446 §4.2.4.
    pub const CERTIFICATE_AUTHORITIES: Self = Self(47);
    /// RFC 8446 §4.2.8.
    pub const KEY_SHARE: Self = Self(51);
    /// RFC 5746 §3.2.
    pub const RENEGOTIATION_INFO: Self = Self(0xff01);
}

/// A key exchange group, by its number in the TLS Supported Groups registry.
///
/// Those with `MlKem` in their names are hybrids (draft-ietf-tls-ecdhe-mlkem): a
/// classical key exchange and ML-KEM (FIPS 203) side by side, in TLS 1.3 alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize, MaxSize)
)]
pub enum Group {
    /// 0x0017.
    Secp256r1,
    /// 0x0018.
    Secp384r1,
    /// 0x001D.
    X25519,
    /// 0x11EB.
    Secp256r1MlKem768,
    /// 0x11EC.
    X25519MlKem768,
    /// 0x11ED.
    Secp384r1MlKem1024,
}

impl Group {
    /// How many there are.
    pub const COUNT: usize = 6;

    /// Every group, in the order of preference.
    pub const ALL: [Self; Self::COUNT] = [
        Self::X25519MlKem768,
        Self::Secp256r1MlKem768,
        Self::X25519,
        Self::Secp256r1,
        Self::Secp384r1,
        Self::Secp384r1MlKem1024,
    ];

    /// Those that are on where nothing else is said, in the order of preference.
    pub const DEFAULT: [Self; 5] = [
        Self::X25519MlKem768,
        Self::Secp256r1MlKem768,
        Self::X25519,
        Self::Secp256r1,
        Self::Secp384r1,
    ];

    /// Its name in the registry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Secp256r1 => "secp256r1",
            Self::Secp384r1 => "secp384r1",
            Self::X25519 => "x25519",
            Self::Secp256r1MlKem768 => "SecP256r1MLKEM768",
            Self::X25519MlKem768 => "X25519MLKEM768",
            Self::Secp384r1MlKem1024 => "SecP384r1MLKEM1024",
        }
    }

    /// The group with a number on the wire.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|g| g.number() == number)
    }

    /// Its classical half, if it is a hybrid.
    pub const fn classical(self) -> Option<Self> {
        match self {
            Self::Secp256r1 | Self::Secp384r1 | Self::X25519 => None,
            Self::Secp256r1MlKem768 => Some(Self::Secp256r1),
            Self::X25519MlKem768 => Some(Self::X25519),
            Self::Secp384r1MlKem1024 => Some(Self::Secp384r1),
        }
    }

    /// Whether it is for this version: hybrids are for TLS 1.3.
    pub const fn is_for(self, version: Version) -> bool {
        self.classical().is_none() || matches!(version, Version::Tls13)
    }

    /// Bytes of the key share of `sender` (RFC 8446 §4.2.8.2; draft-ietf-tls-ecdhe-mlkem
    /// §4: a client sends an encapsulation key, a server a ciphertext).
    pub const fn share_len(self, sender: Role) -> usize {
        match (self, sender) {
            (Self::Secp256r1, _) => 65,
            (Self::Secp384r1, _) => 97,
            (Self::X25519, _) => 32,
            (Self::Secp256r1MlKem768, Role::Client) => 65 + 1184,
            (Self::Secp256r1MlKem768, Role::Server) => 65 + 1088,
            (Self::X25519MlKem768, Role::Client) => 1184 + 32,
            (Self::X25519MlKem768, Role::Server) => 1088 + 32,
            (Self::Secp384r1MlKem1024, _) => 97 + 1568,
        }
    }

    /// Its number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::Secp256r1 => 0x17,
            Self::Secp384r1 => 0x18,
            Self::X25519 => 0x1d,
            Self::Secp256r1MlKem768 => 0x11eb,
            Self::X25519MlKem768 => 0x11ec,
            Self::Secp384r1MlKem1024 => 0x11ed,
        }
    }
}

/// A signature scheme (RFC 8446 §4.2.3) that keys here can be used with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize, MaxSize)
)]
pub enum Scheme {
    /// 0x0401, TLS 1.2 only.
    RsaPkcs1Sha256,
    /// 0x0501, TLS 1.2 only.
    RsaPkcs1Sha384,
    /// 0x0601, TLS 1.2 only.
    RsaPkcs1Sha512,
    /// 0x0403.
    EcdsaSecp256r1Sha256,
    /// 0x0503.
    EcdsaSecp384r1Sha384,
    /// 0x0804.
    RsaPssRsaeSha256,
    /// 0x0805.
    RsaPssRsaeSha384,
    /// 0x0806.
    RsaPssRsaeSha512,
    /// 0x0807.
    Ed25519,
}

impl Scheme {
    /// How many there are.
    pub const COUNT: usize = 9;

    /// Every scheme, in the order of preference for each kind of key.
    pub const ALL: [Self; Self::COUNT] = [
        Self::EcdsaSecp256r1Sha256,
        Self::EcdsaSecp384r1Sha384,
        Self::Ed25519,
        Self::RsaPssRsaeSha256,
        Self::RsaPssRsaeSha384,
        Self::RsaPssRsaeSha512,
        Self::RsaPkcs1Sha256,
        Self::RsaPkcs1Sha384,
        Self::RsaPkcs1Sha512,
    ];

    /// All of them in the order in which a peer is told of them, the strongest of a
    /// kind first; the same in both modes.
    pub const OFFERED: [Self; Self::COUNT] = [
        Self::EcdsaSecp384r1Sha384,
        Self::EcdsaSecp256r1Sha256,
        Self::Ed25519,
        Self::RsaPssRsaeSha512,
        Self::RsaPssRsaeSha384,
        Self::RsaPssRsaeSha256,
        Self::RsaPkcs1Sha512,
        Self::RsaPkcs1Sha384,
        Self::RsaPkcs1Sha256,
    ];

    /// What a peer is told of: `wanted`, or all.
    pub const fn offered(wanted: &[Self]) -> &[Self] {
        match wanted {
            [] => &Self::OFFERED,
            wanted => wanted,
        }
    }

    /// The first of `own`, or of all, that `fits`.
    pub fn choose(own: &[Self], fits: impl Fn(Self) -> bool) -> Option<Self> {
        let own = match own {
            [] => &Self::ALL,
            own => own,
        };
        own.iter().copied().find(|scheme| fits(*scheme))
    }

    /// Its name in the registry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RsaPkcs1Sha256 => "rsa_pkcs1_sha256",
            Self::RsaPkcs1Sha384 => "rsa_pkcs1_sha384",
            Self::RsaPkcs1Sha512 => "rsa_pkcs1_sha512",
            Self::EcdsaSecp256r1Sha256 => "ecdsa_secp256r1_sha256",
            Self::EcdsaSecp384r1Sha384 => "ecdsa_secp384r1_sha384",
            Self::RsaPssRsaeSha256 => "rsa_pss_rsae_sha256",
            Self::RsaPssRsaeSha384 => "rsa_pss_rsae_sha384",
            Self::RsaPssRsaeSha512 => "rsa_pss_rsae_sha512",
            Self::Ed25519 => "ed25519",
        }
    }

    /// Its number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::RsaPkcs1Sha256 => 0x0401,
            Self::RsaPkcs1Sha384 => 0x0501,
            Self::RsaPkcs1Sha512 => 0x0601,
            Self::EcdsaSecp256r1Sha256 => 0x0403,
            Self::EcdsaSecp384r1Sha384 => 0x0503,
            Self::RsaPssRsaeSha256 => 0x0804,
            Self::RsaPssRsaeSha384 => 0x0805,
            Self::RsaPssRsaeSha512 => 0x0806,
            Self::Ed25519 => 0x0807,
        }
    }

    /// The scheme with a number on the wire.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.number() == number)
    }

    /// Whether TLS 1.3 allows it in a CertificateVerify (RFC 8446 §4.2.3).
    pub const fn in_tls13(self) -> bool {
        !matches!(
            self,
            Self::RsaPkcs1Sha256 | Self::RsaPkcs1Sha384 | Self::RsaPkcs1Sha512
        )
    }
}

/// ECPointFormat uncompressed (RFC 8422 §5.1.2), the only one of TLS 1.3.
pub const UNCOMPRESSED: u8 = 0;
/// ECCurveType named_curve (RFC 8422 §5.4).
pub const NAMED_CURVE: u8 = 3;
/// CertificateStatusType ocsp (RFC 6066 §8).
pub const OCSP: u8 = 1;
/// ClientCertificateType rsa_sign (RFC 5246 §7.4.4).
pub const RSA_SIGN: u8 = 1;
/// ClientCertificateType ecdsa_sign (RFC 8422 §5.5), also of EdDSA keys.
pub const ECDSA_SIGN: u8 = 64;

/// Which side of the handshake this system plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize, MaxSize)
)]
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
