//! The little of DER (X.690) that private keys need.

use zeroize::Zeroizing;

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OBJECT: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;

/// The tag of context-specific constructed field `number`.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// Reads values one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next value's tag and content.
    pub(crate) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            let count = usize::from(first & 0x7f);
            if !(1..=3).contains(&count) {
                return None;
            }
            let (bytes, behind) = rest.split_at_checked(count)?;
            length = bytes.iter().fold(0, |sum, b| sum << 8 | usize::from(*b));
            rest = behind;
        }
        let (content, behind) = rest.split_at_checked(length)?;
        self.0 = behind;
        Some((tag, content))
    }

    /// The next value's content, if it has this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let (found, content) = ahead.next()?;
        (found == tag).then(|| {
            *self = ahead;
            content
        })
    }
}

/// One value out of the pieces of its content. May hold a secret.
pub(crate) fn value(tag: u8, pieces: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    // Sized at once: a growing vector would leave copies.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + 5));
    bytes.push(tag);
    let encoded = length.to_be_bytes();
    let significant = encoded.iter().skip_while(|byte| **byte == 0);
    match length {
        0..=0x7f => bytes.extend(encoded.last()),
        _ => {
            let count = significant.clone().count();
            bytes.push(0x80 | count.to_le_bytes().first().copied().unwrap_or_default());
            bytes.extend(significant);
        }
    }
    for piece in pieces {
        bytes.extend_from_slice(piece);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for length in [0, 1, 127, 128, 255, 256, 65536] {
            let content = vec![7; length];
            let written = value(OCTET_STRING, &[&content]);
            let mut reader = Reader(&written);
            assert_eq!(reader.expect(OCTET_STRING), Some(content.as_slice()));
            assert!(reader.0.is_empty());
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        assert!(Reader(&[4, 2, 1]).next().is_none());
        assert!(Reader(&[4, 0x80]).next().is_none());
        assert!(Reader(&[4, 0x85, 1, 1, 1, 1, 1]).next().is_none());
    }
}
