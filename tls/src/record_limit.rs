//! How long the records are that a peer takes (RFC 8449).

#[cfg(feature = "serde")]
use postcard::experimental::max_size::MaxSize;

use crate::names::Version;
use crate::record::MAX_PLAINTEXT;

/// The least that record_size_limit may say (RFC 8449 §4).
const LEAST: u16 = 64;
/// RFC 8449 §4: in TLS 1.3 the content type counts.
const INNER_TYPE: u16 = 1;

/// How many bytes of plaintext a record for a peer carries at most, without the content type
/// of TLS 1.3: no more than the peer says in record_size_limit, nor than the protocol allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize, MaxSize),
    serde(try_from = "u16", into = "u16")
)]
pub struct RecordLimit(u16);

/// No such limit exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoLimit;

impl RecordLimit {
    /// That of the protocol (RFC 8446 §5.1), for a peer that says none.
    pub const NONE: Self = Self(MAX_PLAINTEXT as u16);

    /// What this side says: it takes all that the protocol allows.
    pub const fn own(version: Version) -> u16 {
        match version {
            Version::Tls13 => Self::NONE.0 + INNER_TYPE,
            Version::Tls12 => Self::NONE.0,
        }
    }

    /// What a peer says, in a session of this version. One that takes more than the
    /// protocol allows gets no more.
    ///
    /// # Errors
    /// It says less than it may: illegal_parameter.
    pub fn of_peer(said: u16, version: Version) -> Result<Self, NoLimit> {
        if said < LEAST {
            return Err(NoLimit);
        }
        let plaintext = match version {
            Version::Tls13 => said - INNER_TYPE,
            Version::Tls12 => said,
        };
        Ok(Self(plaintext.min(Self::NONE.0)))
    }

    /// Bytes of plaintext; never zero.
    #[inline]
    pub fn plaintext(self) -> usize {
        self.0.into()
    }
}

impl TryFrom<u16> for RecordLimit {
    type Error = NoLimit;

    fn try_from(plaintext: u16) -> Result<Self, NoLimit> {
        match (LEAST - INNER_TYPE..=Self::NONE.0).contains(&plaintext) {
            true => Ok(Self(plaintext)),
            false => Err(NoLimit),
        }
    }
}

impl From<RecordLimit> for u16 {
    fn from(limit: RecordLimit) -> Self {
        limit.0
    }
}

impl core::fmt::Display for NoLimit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("no limit of a record")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_counts_in_tls_1_3_alone() {
        for (said, tls13, tls12) in [
            (0, None, None),
            (63, None, None),
            (64, Some(63), Some(64)),
            (16_384, Some(16_383), Some(16_384)),
            (16_385, Some(16_384), Some(16_384)),
            (u16::MAX, Some(16_384), Some(16_384)),
        ] {
            let of = |version| {
                let limit = RecordLimit::of_peer(said, version).ok();
                limit.map(RecordLimit::plaintext)
            };
            assert_eq!((of(Version::Tls13), of(Version::Tls12)), (tls13, tls12));
        }
    }

    #[test]
    fn what_this_side_says_is_what_the_protocol_allows() {
        for version in [Version::Tls13, Version::Tls12] {
            let limit = RecordLimit::of_peer(RecordLimit::own(version), version);
            assert_eq!(limit, Ok(RecordLimit::NONE));
        }
    }

    #[test]
    fn a_number_that_no_peer_can_lead_to_is_no_limit() {
        for (number, is_one) in [
            (0, false),
            (62, false),
            (63, true),
            (16_384, true),
            (16_385, false),
        ] {
            assert_eq!(RecordLimit::try_from(number).is_ok(), is_one, "{number}");
        }
    }
}
