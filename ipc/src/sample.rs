//! Samples of messages: for each variant one message that a peer could send, with its bytes
//! on the wire. Tests compare them, fuzzers and storms of malformed messages begin with
//! them; a variant without a sample fails the tests of this module.

use alloc::vec::Vec;

use serde::de::value::Error;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};

/// An enum of messages, with a sample of each variant.
pub trait Sampled: Sized {
    /// Messages, each with its encoding in hexadecimal digits: every variant at least once,
    /// in the order of the variants.
    fn samples() -> Vec<(Self, &'static str)>;
}

/// Rows of [`Sampled::samples`].
macro_rules! samples {
    ($($message:expr => $bytes:literal;)*) => {
        alloc::vec![$(($message, $bytes)),*]
    };
}
pub(crate) use samples;

/// The names of an enum's variants, in the order of their numbers on the wire, as its decoder
/// has them; none of what is no enum.
pub fn variants<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut found: &'static [&'static str] = &[];
    // It never gets a value to decode.
    let _ = T::deserialize(Question(&mut found));
    found
}

/// Takes down which variants are asked for.
struct Question<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Question<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("no enum"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = variants;
        Err(Error::custom("no value"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        option unit unit_struct newtype_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;
    use crate::segment::{Segment, Step};
    use crate::transport::decode;
    use crate::{control, keystore, net, record};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn encoded(message: &impl Serialize) -> Vec<u8> {
        postcard::to_allocvec(message).unwrap()
    }

    /// Each variant has a sample, and each sample its bytes, both ways.
    fn check<T: Sampled + Serialize + DeserializeOwned>() {
        let mut wrong = Vec::new();
        let mut places = Vec::new();
        for (message, bytes) in T::samples() {
            let found = encoded(&message);
            if hex(&found) != bytes {
                wrong.push(format!("{} is not {bytes}", hex(&found)));
            }
            let again = decode::<T>(&found).expect("its own encoding");
            assert_eq!(encoded(&again), found);
            places.push(usize::from(found[0]));
        }
        let names = variants::<T>().iter().enumerate();
        let without: Vec<_> = names
            .filter(|(place, _)| !places.contains(place))
            .map(|(_, name)| name)
            .collect();
        assert!(without.is_empty(), "without a sample: {without:?}");
        assert!(places.is_sorted(), "{places:?}");
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }

    #[test]
    fn each_segment_has_a_sample_and_these_bytes() {
        check::<Segment>();
    }

    #[test]
    fn each_operation_has_a_sample_and_these_bytes() {
        check::<control::Request>();
        check::<keystore::Request>();
        check::<net::Request>();
        check::<record::Request>();
    }

    #[test]
    fn the_variants_of_an_enum_are_those_of_its_decoder() {
        let names = variants::<Step>();
        assert_eq!(names.len(), Step::ALL.len());
        for (step, (name, place)) in Step::ALL.iter().zip(names.iter().zip(0..)) {
            assert_eq!(encoded(step), [place]);
            assert_eq!(format!("{step:?}"), *name);
        }
        assert_eq!(variants::<u8>(), [""; 0]);
    }
}
