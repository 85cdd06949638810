//! Randoms of a ServerHello that have a meaning of their own (RFC 8446 §4.1.3).

/// The random that makes a ServerHello a HelloRetryRequest (RFC 8446 §4.1.3): SHA-256 of
/// "HelloRetryRequest".
pub const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// What a server that could do TLS 1.3 ends its random with when it agrees on TLS 1.2.
pub const DOWNGRADED: [u8; 8] = *b"DOWNGRD\x01";

/// The same of one that agrees on TLS 1.1 or below. A client that offers TLS 1.3 refuses
/// either in a ServerHello of TLS 1.2 (RFC 8446 §4.1.3).
pub const DOWNGRADED_TO_11: [u8; 8] = *b"DOWNGRD\x00";
