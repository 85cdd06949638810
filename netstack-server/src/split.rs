//! Segments that are too long for their path, in pieces.
//!
//! smoltcp has one segment size for all connections of an interface, and none that can
//! shrink during a connection. What it makes too long for a narrow path is cut here, as a
//! NIC with segmentation offload does.

use crate::parse::{ETHERNET, IPV4, IPV6, TCP, locate};

/// Flags of the last piece alone: FIN and PSH.
const OF_THE_LAST: u8 = 0x09;

/// Shows the pieces of `frame`, whose IP packets have at most `limit` bytes; the frame as
/// it is if it is short enough or no TCP segment. Checksums of TCP are left to the
/// sender, those of IPv4 are right. `piece` has room for one.
///
/// Stops when `send` does.
pub(crate) fn split(
    frame: &[u8],
    limit: usize,
    piece: &mut [u8],
    mut send: impl FnMut(&mut [u8]) -> bool,
) {
    let mut whole = |bytes: &[u8], piece: &mut [u8]| {
        if let Some(piece) = piece.get_mut(..bytes.len()) {
            piece.copy_from_slice(bytes);
            send(piece)
        } else {
            false
        }
    };
    let cut = (frame.len() > ETHERNET + limit)
        .then(|| locate(frame))
        .flatten();
    let Some(place) = cut else {
        whole(frame, piece);
        return;
    };
    let start = place.bytes.start;
    let Some(tcp) = frame.get(place.bytes) else {
        return;
    };
    let header = tcp
        .get(12)
        .map_or(TCP, |offset| usize::from(offset >> 4) * 4);
    let Some((headers, payload)) = frame.split_at_checked(start + header) else {
        return;
    };
    let payload = payload.get(..tcp.len() - header.min(tcp.len()));
    let room = (ETHERNET + limit).saturating_sub(headers.len()).max(1);
    let chunks = payload.unwrap_or_default().chunks(room);
    let last = chunks.len().saturating_sub(1);
    for (index, chunk) in chunks.enumerate() {
        let length = headers.len() + chunk.len();
        let Some(out) = piece.get_mut(..length) else {
            return;
        };
        let (to, rest) = out.split_at_mut(headers.len());
        to.copy_from_slice(headers);
        rest.copy_from_slice(chunk);
        adjust(out, start, index * room, index == last);
        if !send(out) {
            return;
        }
    }
}

/// Makes the headers those of a piece that begins `offset` bytes into the
/// segment.
fn adjust(piece: &mut [u8], start: usize, offset: usize, is_last: bool) {
    let length = piece.len();
    let Some((before, tcp)) = piece.split_at_mut_checked(start) else {
        return;
    };
    if let Some(sequence) = tcp.get_mut(4..).and_then(|t| t.first_chunk_mut::<4>()) {
        let moved = u32::from_be_bytes(*sequence).wrapping_add(offset as u32);
        *sequence = moved.to_be_bytes();
    }
    if let Some(flags) = tcp.get_mut(13)
        && !is_last
    {
        *flags &= !OF_THE_LAST;
    }
    let Some(ip) = before.get_mut(ETHERNET..) else {
        return;
    };
    if let Some(header) = ip.first_chunk_mut::<IPV6>() {
        let [high, low] = ((length - ETHERNET - IPV6) as u16).to_be_bytes();
        (header[4], header[5]) = (high, low);
    } else if let Some(header) = ip.first_chunk_mut::<IPV4>() {
        let [high, low] = ((length - ETHERNET) as u16).to_be_bytes();
        (header[2], header[3]) = (high, low);
        smoltcp::wire::Ipv4Packet::new_unchecked(&mut header[..]).fill_checksum();
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::{checksum, parse};

    /// A segment of `length` bytes with FIN, PSH and ACK, with options.
    fn segment(is_v4: bool, length: usize) -> Vec<u8> {
        let header = TCP + 12;
        let ip = if is_v4 { IPV4 } else { IPV6 };
        let mut frame = vec![0; ETHERNET + ip + header + length];
        let total = (ip + header + length) as u16;
        if is_v4 {
            frame[12..14].copy_from_slice(&[8, 0]);
            frame[14] = 0x45;
            frame[16..18].copy_from_slice(&total.to_be_bytes());
            frame[23] = 6;
            smoltcp::wire::Ipv4Packet::new_unchecked(&mut frame[14..]).fill_checksum();
        } else {
            frame[12..14].copy_from_slice(&[0x86, 0xdd]);
            frame[14] = 0x60;
            frame[18..20].copy_from_slice(&(total - 40).to_be_bytes());
            frame[20] = 6;
        }
        let tcp = &mut frame[ETHERNET + ip..];
        tcp[1] = 9;
        tcp[3] = 10;
        tcp[4..8].copy_from_slice(&(u32::MAX - 100).to_be_bytes());
        tcp[12] = (header as u8 / 4) << 4;
        tcp[13] = 0x19;
        for (index, byte) in tcp[header..].iter_mut().enumerate() {
            *byte = (index * 7 % 251) as u8;
        }
        frame
    }

    #[test]
    fn pieces_have_the_bytes_of_the_segment_in_their_place_and_fit() {
        for (is_v4, ip) in [(true, IPV4), (false, IPV6)] {
            for limit in [576, 577, 1006, 1280, 1499, 1500] {
                for length in [0, 1, 500, 1000, 1400, 1428 - (ip - IPV4)] {
                    let frame = segment(is_v4, length);
                    let payload = &frame[frame.len() - length..];
                    let (mut seen, mut flags) = (Vec::new(), Vec::new());
                    split(&frame, limit, &mut [0; 1514], |piece| {
                        assert!(piece.len() <= ETHERNET + limit);
                        let place = locate(piece).unwrap();
                        assert_eq!(place.bytes.end, piece.len());
                        if is_v4 {
                            assert!(checksum::is_right_alone(&piece[14..34]));
                        }
                        let tcp = &mut piece[place.bytes];
                        let none = IpAddr::from([0; 4]);
                        let read = parse::segment(tcp, none, none).unwrap();
                        let expected = (u32::MAX - 100).wrapping_add(seen.len() as u32);
                        assert_eq!(read.sequence, expected);
                        seen.extend_from_slice(&tcp[TCP + 12..]);
                        flags.push(tcp[13]);
                        true
                    });
                    assert!(seen == payload);
                    assert_eq!(flags.pop(), Some(0x19));
                    assert!(flags.iter().all(|flags| *flags == 0x10));
                    let room = limit - ip - TCP - 12;
                    assert_eq!(flags.len() + 1, length.div_ceil(room).max(1));
                }
            }
        }
    }
}
