//! Keys of a connection.

#[cfg(feature = "serde")]
use postcard::experimental::max_size::MaxSize;

use crate::secret::Secret;

/// The key and nonce base of one direction (RFC 8446 §7.3, RFC 5288 §3).
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize, MaxSize)
)]
pub struct TrafficKey {
    /// As long as the AEAD's key: 16 or 32 bytes.
    pub key: Secret<32>,
    /// 12 bytes: the nonce base of TLS 1.3 and ChaCha20. For AES-GCM in TLS 1.2
    /// the salt (4 bytes) first; after it, out: the base of the explicit
    /// nonce, which the sequence number is XORed into; in: not used.
    pub iv: Secret<12>,
    /// The sequence number of the next record.
    pub sequence: u64,
}
