//! Bytes that must not be seen, compared in variable time, or left behind.

use zeroize::Zeroize;

/// There are more bytes than there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

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

    /// `length` bytes that `fill` writes; `None` when it can't, or they are too many.
    pub fn filled(length: usize, fill: impl FnOnce(&mut [u8]) -> Option<()>) -> Option<Self> {
        let mut secret = Self {
            bytes: [0; N],
            len: length,
        };
        fill(secret.bytes.get_mut(..length)?)?;
        Some(secret)
    }

    /// The bytes, for the cipher that uses them.
    pub fn expose(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// No bytes.
impl<const N: usize> Default for Secret<N> {
    fn default() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

#[cfg(feature = "serde")]
mod passed_on {
    use postcard::experimental::max_size::MaxSize;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Secret, TooLong};

    impl<const N: usize> Serialize for Secret<N> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.expose())
        }
    }

    impl<'de, const N: usize> Deserialize<'de> for Secret<N> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let bytes: &'de [u8] = Deserialize::deserialize(deserializer)?;
            Self::from_slice(bytes).map_err(|TooLong| {
                serde::de::Error::invalid_length(bytes.len(), &"a shorter secret")
            })
        }
    }

    impl<const N: usize> MaxSize for Secret<N> {
        const POSTCARD_MAX_SIZE: usize = N + length_size(N);
    }

    /// The longest postcard length of at most `max` bytes.
    const fn length_size(max: usize) -> usize {
        let mut size = 1;
        let mut rest = max >> 7;
        while rest > 0 {
            size += 1;
            rest >>= 7;
        }
        size
    }
}
