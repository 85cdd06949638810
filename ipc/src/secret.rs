//! Bytes that must not be seen, compared in variable time, or left behind.

use postcard::experimental::max_size::MaxSize;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroize;

use crate::bounded::{Bytes, TooLong};

/// At most `N` secret bytes: zeroized on drop; no `Debug`, `Clone`, `PartialEq`.
pub struct Secret<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Secret<N> {
    /// A copy of `bytes`; the caller zeroizes its own.
    ///
    /// # Errors
    /// [`TooLong`] beyond `N` bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, TooLong> {
        let mut secret = Self {
            bytes: [0; N],
            len: bytes.len(),
        };
        secret
            .bytes
            .get_mut(..bytes.len())
            .ok_or(TooLong)?
            .copy_from_slice(bytes);
        Ok(secret)
    }

    /// The bytes, for the cipher that uses them.
    pub fn expose(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl<const N: usize> Serialize for Secret<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.expose())
    }
}

impl<'de, const N: usize> Deserialize<'de> for Secret<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: &'de [u8] = Deserialize::deserialize(deserializer)?;
        Self::from_slice(bytes)
            .map_err(|TooLong| serde::de::Error::invalid_length(bytes.len(), &"a shorter secret"))
    }
}

impl<const N: usize> MaxSize for Secret<N> {
    const POSTCARD_MAX_SIZE: usize = Bytes::<N>::POSTCARD_MAX_SIZE;
}
