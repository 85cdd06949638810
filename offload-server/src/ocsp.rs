//! OCSP responses (RFC 6960 §4.2.1) of a key ring, which clients get that ask for them
//! (RFC 6066 §8, RFC 8446 §4.4.2.1). Nothing of them is looked at but when they are out of
//! date: whom a response is good for is the client's to say.

use alloc::sync::Arc;
use alloc::vec::Vec;

use der::asn1::{AnyRef, GeneralizedTime};
use der::{Decode, Tag, Tagged};
use rustls::sign::CertifiedKey;

use crate::certified::{context, items};

/// A chain and its key, with a response.
#[derive(Debug)]
pub(crate) struct Stapled {
    pub(crate) identity: Arc<CertifiedKey>,
    /// When it is out of date, in seconds since 1970; never, if it does not say.
    pub(crate) next_update: u64,
}

impl Stapled {
    pub(crate) fn new(identity: &CertifiedKey, response: Vec<u8>) -> Self {
        Self {
            next_update: next_update(&response).unwrap_or(u64::MAX),
            identity: Arc::new(CertifiedKey {
                ocsp: Some(response),
                ..identity.clone()
            }),
        }
    }
}

/// The first nextUpdate of what the response is about (RFC 6960 §4.2.1).
fn next_update(response: &[u8]) -> Option<u64> {
    // responseStatus, responseBytes: responseType, response.
    let bytes = items(AnyRef::from_der(response).ok()?)?.nth(1)??;
    let basic = items(AnyRef::from_der(bytes.value()).ok()?)?.nth(1)??;
    let data = items(AnyRef::from_der(basic.value()).ok()?)?.next()??;
    let is_list = |part: &AnyRef<'_>| part.tag() == Tag::Sequence;
    let singles = items(data)?.flatten().find(is_list)?;
    let times = items(singles)?.flatten().filter_map(of_single);
    times.min()
}

fn of_single(single: AnyRef<'_>) -> Option<u64> {
    // certID, certStatus, thisUpdate; the status has a tag of this number too.
    let mut rest = items(single)?.flatten().skip(3);
    let tagged = rest.find(|part| part.tag() == context(0))?;
    let time = GeneralizedTime::from_der(tagged.value()).ok()?;
    Some(time.to_unix_duration().as_secs())
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        let length = match content.len() {
            ..0x80 => vec![low],
            0x80..0x100 => vec![0x81, low],
            _ => vec![0x82, high, low],
        };
        [&[tag], &length[..], content].concat()
    }

    /// About so many certificates, each with the time of its next answer.
    fn response(next_updates: &[Option<&[u8]>]) -> Vec<u8> {
        let now = || der(0x18, b"20260101000000Z");
        let single = |next: &Option<&[u8]>| {
            let next = next.map(|time| der(0xa0, &der(0x18, time)));
            let extensions = der(0xa1, &der(0x30, &[]));
            // A status with the number of the time's tag.
            let parts = [der(0x30, &[1]), vec![0x80, 0], now()];
            der(
                0x30,
                &[parts.concat(), next.unwrap_or_default(), extensions].concat(),
            )
        };
        let singles: Vec<u8> = next_updates.iter().flat_map(single).collect();
        let data = [der(0xa1, &der(0x30, &[])), now(), der(0x30, &singles)].concat();
        let basic = der(0x30, &[der(0x30, &data), der(0x30, &[])].concat());
        let bytes = der(0x30, &[vec![6, 1, 0x2b], der(4, &basic)].concat());
        der(0x30, &[vec![0x0a, 1, 0], der(0xa0, &bytes)].concat())
    }

    #[test]
    fn a_response_is_out_of_date_at_its_first_next_update() {
        let (early, late): (&[u8], &[u8]) = (b"20270101000000Z", b"20280101000000Z");
        let first = Some(1_798_761_600);
        assert_eq!(next_update(&response(&[Some(early)])), first);
        assert_eq!(
            next_update(&response(&[Some(late), Some(early), None])),
            first
        );
        assert_eq!(next_update(&response(&[None])), None);
        assert_eq!(next_update(&response(&[])), None);
    }

    #[test]
    fn what_can_not_be_read_is_never_out_of_date() {
        assert_eq!(next_update(&[1, 2, 3, 4]), None);
        let whole = response(&[Some(b"20270101000000Z")]);
        for length in 0..whole.len() {
            assert_eq!(next_update(&whole[..length]), None, "{length}");
        }
    }
}
