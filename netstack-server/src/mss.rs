//! The segments that a peer asks for.
//!
//! A peer says in its SYN how long the segments are that it takes (RFC 9293 §3.7.1). One that
//! takes 48 bytes, the least that smoltcp believes, makes of one acknowledgement thirty times
//! the frames of another, for which one NIC is there. So nobody takes less than IPv4's default:
//! no path in use carries less.

use alloc::vec::Vec;

use crate::checksum;
use crate::parse::{TCP, locate};

/// RFC 9293 §3.7.1: what is assumed without the option.
const LEAST: u16 = 536;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;

/// A frame with a SYN that asks for less, as if it asked for that; `None` if it does not.
pub(crate) fn raised(frame: &[u8]) -> Option<Vec<u8>> {
    let place = locate(frame)?;
    let segment = frame.get(place.bytes.clone())?;
    let at = place.bytes.start + find(segment)?;
    let asked = frame.get(at..at + 2)?;
    if asked >= &LEAST.to_be_bytes()[..] {
        return None;
    }
    let mut raised = frame.to_vec();
    raised
        .get_mut(at..at + 2)?
        .copy_from_slice(&LEAST.to_be_bytes());
    checksum::fill(raised.get_mut(place.bytes)?, place.from, place.to);
    Some(raised)
}

/// Where the size is in a segment (RFC 9293 §3.1, Options).
fn find(segment: &[u8]) -> Option<usize> {
    let end = usize::from(segment.get(12)? >> 4) * 4;
    let options = segment.get(..end)?;
    let mut at = TCP;
    loop {
        match options.get(at..)? {
            [NO_OPERATION, ..] => at += 1,
            [END, ..] => return None,
            [MAXIMUM_SEGMENT_SIZE, 4, _, _, ..] => return Some(at + 2),
            [_, length @ 2..=u8::MAX, ..] => at += usize::from(*length),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(options: &[u8]) -> Vec<u8> {
        let mut segment = vec![0; TCP];
        segment.extend_from_slice(options);
        segment[12] = (segment.len() as u8 / 4) << 4;
        segment
    }

    #[test]
    fn the_size_is_found_among_other_options() {
        assert_eq!(find(&segment(&[2, 4, 5, 0xb4])), Some(22));
        assert_eq!(find(&segment(&[1, 3, 3, 7, 2, 4, 0, 48])), Some(26));
        for none in [
            &[][..],
            &[1, 1, 1, 1],
            &[0, 1, 2, 4, 5, 0xb4, 0, 0],
            &[3, 0, 2, 4, 0, 48, 0, 0],
            &[3, 9, 2, 4, 0, 48, 0, 0],
            &[1, 1, 1, 2],
            &[2, 3, 1, 0],
        ] {
            assert_eq!(find(&segment(none)), None, "{none:?}");
        }
        for length in 0..24 {
            assert_eq!(find(&segment(&[2, 4, 0, 48])[..length]), None, "{length}");
        }
    }
}
