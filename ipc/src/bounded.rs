//! Byte strings, texts and lists with a compile-time bound on their encoding.
//!
//! `heapless` holds the values; these wrappers add what the wire needs: bytes
//! in one piece instead of one by one, and [`MaxSize`], from which the size of
//! a message is checked at compile time.

use alloc::boxed::Box;
use core::fmt;
use core::ops::Deref;

use postcard::experimental::max_size::MaxSize;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroize;

/// The longest postcard length prefix of a sequence of at most `max` items.
const fn prefix_size(max: usize) -> usize {
    let mut size = 1;
    let mut rest = max >> 7;
    while rest > 0 {
        size += 1;
        rest >>= 7;
    }
    size
}

/// The value does not fit its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// At most `N` bytes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bytes<const N: usize>(heapless::Vec<u8, N>);

impl<const N: usize> Bytes<N> {
    /// No bytes.
    pub const fn new() -> Self {
        Self(heapless::Vec::new())
    }

    /// A copy of `bytes`.
    ///
    /// # Errors
    /// [`TooLong`] beyond `N` bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, TooLong> {
        heapless::Vec::from_slice(bytes)
            .map(Self)
            .map_err(|_| TooLong)
    }
}

impl<const N: usize> Deref for Bytes<N> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const N: usize> fmt::Debug for Bytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl<const N: usize> Serialize for Bytes<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Bytes<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bound<const N: usize>;
        impl<const N: usize> Visitor<'_> for Bound<N> {
            type Value = Bytes<N>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {N} bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Bytes::from_slice(bytes).map_err(|TooLong| E::invalid_length(bytes.len(), &self))
            }
        }
        deserializer.deserialize_bytes(Bound)
    }
}

impl<const N: usize> MaxSize for Bytes<N> {
    const POSTCARD_MAX_SIZE: usize = N + prefix_size(N);
}

/// At most `N` bytes on the heap: cheap to pass on, however large `N` is.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Blob<const N: usize>(Box<[u8]>);

impl<const N: usize> Blob<N> {
    /// A copy of `bytes`.
    ///
    /// # Errors
    /// [`TooLong`] beyond `N` bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, TooLong> {
        match bytes.len() <= N {
            true => Ok(Self(bytes.into())),
            false => Err(TooLong),
        }
    }

    /// The bytes without their bound.
    pub fn into_inner(self) -> Box<[u8]> {
        self.0
    }
}

impl<const N: usize> Deref for Blob<N> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const N: usize> fmt::Debug for Blob<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl<const N: usize> Serialize for Blob<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Blob<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bound<const N: usize>;
        impl<const N: usize> Visitor<'_> for Bound<N> {
            type Value = Blob<N>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {N} bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Blob::from_slice(bytes).map_err(|TooLong| E::invalid_length(bytes.len(), &self))
            }
        }
        deserializer.deserialize_bytes(Bound)
    }
}

/// At most `N` secret bytes on the heap: zeroized on drop; no `Debug`, `Clone`, `PartialEq`.
pub struct SecretBlob<const N: usize>(Box<[u8]>);

impl<const N: usize> SecretBlob<N> {
    /// A copy of `bytes`; the caller zeroizes its own.
    ///
    /// # Errors
    /// [`TooLong`] beyond `N` bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, TooLong> {
        match bytes.len() <= N {
            true => Ok(Self(bytes.into())),
            false => Err(TooLong),
        }
    }

    /// So many zeros, to be written over.
    ///
    /// # Errors
    /// [`TooLong`] beyond `N` bytes.
    pub fn zeroed(length: usize) -> Result<Self, TooLong> {
        match length <= N {
            true => Ok(Self(alloc::vec![0; length].into())),
            false => Err(TooLong),
        }
    }

    /// The bytes, for whom they are.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, for whoever makes them.
    pub fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl<const N: usize> Drop for SecretBlob<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> Serialize for SecretBlob<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de, const N: usize> Deserialize<'de> for SecretBlob<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: &'de [u8] = Deserialize::deserialize(deserializer)?;
        Self::from_slice(bytes)
            .map_err(|TooLong| D::Error::invalid_length(bytes.len(), &"fewer bytes"))
    }
}

impl<const N: usize> MaxSize for SecretBlob<N> {
    const POSTCARD_MAX_SIZE: usize = N + prefix_size(N);
}

impl<const N: usize> MaxSize for Blob<N> {
    const POSTCARD_MAX_SIZE: usize = N + prefix_size(N);
}

/// At most `N` bytes of UTF-8.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text<const N: usize>(heapless::String<N>);

impl<const N: usize> Text<N> {
    /// A copy of `text`.
    ///
    /// # Errors
    /// [`TooLong`] beyond `N` bytes.
    pub fn from_text(text: &str) -> Result<Self, TooLong> {
        heapless::String::try_from(text)
            .map(Self)
            .map_err(|_| TooLong)
    }
}

impl<const N: usize> Deref for Text<N> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl<const N: usize> Serialize for Text<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Text<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bound<const N: usize>;
        impl<const N: usize> Visitor<'_> for Bound<N> {
            type Value = Text<N>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {N} bytes of text")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Text::from_text(text).map_err(|TooLong| E::invalid_length(text.len(), &self))
            }
        }
        deserializer.deserialize_str(Bound)
    }
}

impl<const N: usize> MaxSize for Text<N> {
    const POSTCARD_MAX_SIZE: usize = N + prefix_size(N);
}

/// At most `N` values, in order.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    transparent,
    bound(serialize = "T: Serialize", deserialize = "T: Deserialize<'de>")
)]
pub struct List<T, const N: usize>(heapless::Vec<T, N>);

impl<T, const N: usize> List<T, N> {
    /// No values.
    pub const fn new() -> Self {
        Self(heapless::Vec::new())
    }

    /// Adds `value` after the others.
    ///
    /// # Errors
    /// [`TooLong`] when there are `N` values already.
    pub fn push(&mut self, value: T) -> Result<(), TooLong> {
        self.0.push(value).map_err(|_| TooLong)
    }

    /// The values of `items`.
    ///
    /// # Errors
    /// [`TooLong`] beyond `N` values.
    pub fn from_items(items: impl IntoIterator<Item = T>) -> Result<Self, TooLong> {
        let mut list = Self::new();
        for item in items {
            list.push(item)?;
        }
        Ok(list)
    }
}

impl<T, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> Deref for List<T, N> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: fmt::Debug, const N: usize> fmt::Debug for List<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: MaxSize, const N: usize> MaxSize for List<T, N> {
    const POSTCARD_MAX_SIZE: usize = T::POSTCARD_MAX_SIZE * N + prefix_size(N);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_encoded_as_a_length_and_the_bytes() {
        let bytes = Bytes::<4>::from_slice(&[1, 2, 255]).unwrap();
        let mut buffer = [0; 8];
        let encoded = postcard::to_slice(&bytes, &mut buffer).unwrap();
        assert_eq!(encoded, [3, 1, 2, 255]);
        assert!(postcard::from_bytes::<Bytes<4>>(encoded).unwrap() == bytes);
    }

    #[test]
    fn a_length_above_the_bound_is_refused() {
        assert!(postcard::from_bytes::<Bytes<2>>(&[3, 1, 2, 3]).is_err());
        assert!(postcard::from_bytes::<Text<2>>(b"\x03abc").is_err());
        assert!(postcard::from_bytes::<List<u8, 2>>(&[3, 1, 2, 3]).is_err());
        assert!(postcard::from_bytes::<Bytes<200>>(&[0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
    }

    #[test]
    fn text_that_is_not_utf8_is_refused() {
        assert!(postcard::from_bytes::<Text<4>>(&[2, 0xc3, 0x28]).is_err());
    }

    #[test]
    fn the_bound_covers_the_longest_value() {
        let list = List::<Bytes<130>, 3>::from_items(
            [(); 3].map(|()| Bytes::from_slice(&[7; 130]).unwrap()),
        )
        .unwrap();
        let mut buffer = [0; 500];
        let encoded = postcard::to_slice(&list, &mut buffer).unwrap();
        assert_eq!(encoded.len(), List::<Bytes<130>, 3>::POSTCARD_MAX_SIZE);
    }
}
