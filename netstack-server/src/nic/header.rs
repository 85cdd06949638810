//! What driver and device agree on, and the header before each frame (virtio 1.2 §5.1.3,
//! §5.1.6).
//!
//! All of a received header is an untrusted value.

use core::num::NonZeroU16;

use crate::checksum;
use crate::parse::{Place, TCP, locate};

/// Bytes of it, with VIRTIO_F_VERSION_1.
pub(super) const HEADER: usize = 12;

/// The most bytes of a frame: a header of Ethernet and the largest IP packet (IPv6's
/// length leaves out its header).
pub(super) const LARGEST: usize = 14 + 40 + 65_535;

const NEEDS_CHECKSUM: u8 = 1;
const DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;

/// Where TCP has its checksum.
const TCP_CHECKSUM: u16 = 16;

/// Features that both sides have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Features(u64);

impl Features {
    /// The device finishes checksums.
    pub(super) const CSUM: Self = Self(1 << 0);
    /// It may leave checksums unfinished, and says which it has compared.
    pub(super) const GUEST_CSUM: Self = Self(1 << 1);
    pub(super) const MAC: Self = Self(1 << 5);
    /// It may join segments of a connection.
    pub(super) const GUEST_TSO4: Self = Self(1 << 7);
    pub(super) const GUEST_TSO6: Self = Self(1 << 8);
    /// It cuts what is longer than a segment. Not so for IPv6: smoltcp 0.14 drops that
    /// before it gets here (ADR 0196).
    pub(super) const HOST_TSO4: Self = Self(1 << 11);
    /// A frame may take several buffers.
    pub(super) const MRG_RXBUF: Self = Self(1 << 15);
    pub(super) const EVENT_IDX: Self = Self(1 << 29);
    pub(super) const VERSION_1: Self = Self(1 << 32);

    /// What is accepted of what a device offers; `None` if that is not enough.
    pub(super) fn accept(offered: u64) -> Option<Self> {
        let offers = |wanted: &[Self]| wanted.iter().all(|one| offered & one.0 != 0);
        if !offers(&[Self::MAC, Self::VERSION_1]) {
            return None;
        }
        let mut accepted = Self(Self::MAC.0 | Self::VERSION_1.0);
        // Each with what it needs (§5.1.3.1). A joined frame is longer than a buffer.
        for (feature, needs) in [
            (Self::CSUM, &[][..]),
            (Self::GUEST_CSUM, &[]),
            (Self::MRG_RXBUF, &[]),
            (Self::EVENT_IDX, &[]),
            (Self::HOST_TSO4, &[Self::CSUM]),
            (Self::GUEST_TSO4, &[Self::GUEST_CSUM, Self::MRG_RXBUF]),
            (Self::GUEST_TSO6, &[Self::GUEST_CSUM, Self::MRG_RXBUF]),
        ] {
            if offers(&[feature]) && offers(needs) {
                accepted.0 |= feature.0;
            }
        }
        Some(accepted)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    pub(super) const fn has(self, feature: Self) -> bool {
        self.0 & feature.0 != 0
    }
}

/// What a received header says, as far as it was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received {
    /// Buffers of the frame, one at least.
    pub(super) buffers: usize,
    /// Where a checksum is to be finished: its bytes begin here, and it is so far into them.
    unfinished: Option<(u16, u16)>,
    is_compared: bool,
}

/// A frame that is none: its header does not fit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// A kind of joined segments that was not agreed on, or of no size.
    Joined,
    /// No buffers, or more than the largest frame takes.
    Buffers,
    /// A checksum outside of the frame.
    Checksum,
}

impl Received {
    /// Reads a header. How long it is, and how long its segments were, does not matter
    /// here: `parse` reads the frame itself.
    pub(super) fn read(
        header: &[u8; HEADER],
        features: Features,
        most: usize,
    ) -> Result<Self, Bad> {
        let [flags, kind, _, _, s0, s1, c0, c1, o0, o1, b0, b1] = *header;
        let is_agreed = match kind {
            GSO_NONE => true,
            GSO_TCPV4 => features.has(Features::GUEST_TSO4),
            GSO_TCPV6 => features.has(Features::GUEST_TSO6),
            _ => false,
        };
        if !is_agreed || (kind != GSO_NONE && [s0, s1] == [0; 2]) {
            return Err(Bad::Joined);
        }
        let buffers = match features.has(Features::MRG_RXBUF) {
            true => usize::from(u16::from_le_bytes([b0, b1])),
            // Some devices leave it zero then.
            false => 1,
        };
        if !(1..=most).contains(&buffers) {
            return Err(Bad::Buffers);
        }
        let agreed = match features.has(Features::GUEST_CSUM) {
            true => flags,
            false => 0,
        };
        let place = (u16::from_le_bytes([c0, c1]), u16::from_le_bytes([o0, o1]));
        Ok(Self {
            buffers,
            unfinished: (agreed & NEEDS_CHECKSUM != 0).then_some(place),
            is_compared: agreed & DATA_VALID != 0,
        })
    }

    /// Whether the checksum of the frame's TCP segment counts as compared. One of another
    /// protocol that is unfinished is finished here.
    pub(super) fn settle(&self, frame: &mut [u8]) -> Result<bool, Bad> {
        let Some((start, offset)) = self.unfinished else {
            return Ok(self.is_compared);
        };
        let bytes = frame.get_mut(usize::from(start)..).unwrap_or_default();
        if bytes.len() < usize::from(offset) + 2 {
            return Err(Bad::Checksum);
        }
        if offset != TCP_CHECKSUM {
            checksum::finish(bytes, usize::from(offset));
        }
        Ok(true)
    }
}

/// The header of a frame that goes out; begins its checksum if the device finishes that.
/// Segments have `size` bytes if the device is to cut them.
pub(super) fn write(
    frame: &mut [u8],
    size: Option<NonZeroU16>,
    features: Features,
) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    if !features.has(Features::CSUM) {
        return header;
    }
    let Some(Place { bytes, from, to }) = locate(frame) else {
        return header;
    };
    let start = bytes.start;
    let Some(segment) = frame.get_mut(bytes) else {
        return header;
    };
    checksum::begin(segment, from, to);
    let offset = segment.get(12).map_or(0, |offset| offset >> 4);
    let headers = start + usize::from(offset) * 4;
    let mut put = |at: usize, value: u16| {
        if let Some(place) = header.get_mut(at..at + 2) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    };
    // No offset of a header is as large as 16 bits.
    put(6, start as u16);
    put(8, TCP_CHECKSUM);
    let size = size.filter(|size| {
        segment.len() > usize::from(size.get()) + headers.saturating_sub(start).max(TCP)
    });
    if let Some(size) = size {
        put(2, headers as u16);
        put(4, size.get());
    }
    let [flags, kind, ..] = &mut header;
    *flags = NEEDS_CHECKSUM;
    *kind = match size {
        Some(_) => GSO_TCPV4,
        None => GSO_NONE,
    };
    header
}

#[cfg(test)]
mod tests {
    use smoltcp::wire::{Ipv4Packet, TcpPacket};

    use super::*;
    use crate::parse::{ETHERNET, IPV4};

    const ALL: Features = Features(
        Features::CSUM.0
            | Features::GUEST_CSUM.0
            | Features::GUEST_TSO4.0
            | Features::GUEST_TSO6.0
            | Features::HOST_TSO4.0
            | Features::MRG_RXBUF.0
            | Features::VERSION_1.0,
    );
    const NONE: Features = Features(Features::VERSION_1.0);

    fn without(feature: Features) -> Features {
        Features(ALL.0 & !feature.0)
    }

    /// A header of these fields: flags, kind, header length, segment size, start and
    /// offset of the checksum, buffers.
    fn header(fields: [u16; 7]) -> [u8; HEADER] {
        let [flags, kind, rest @ ..] = fields;
        let mut bytes = vec![flags as u8, kind as u8];
        bytes.extend(rest.iter().flat_map(|field| field.to_le_bytes()));
        bytes.try_into().unwrap()
    }

    fn read(fields: [u16; 7], features: Features) -> Result<Received, Bad> {
        Received::read(&header(fields), features, 33)
    }

    fn segment(length: usize) -> Vec<u8> {
        let mut frame: Vec<u8> = (0..ETHERNET + IPV4 + TCP + length)
            .map(|i| i as u8)
            .collect();
        frame[12..14].copy_from_slice(&[8, 0]);
        let mut ip = Ipv4Packet::new_unchecked(&mut frame[ETHERNET..]);
        ip.set_version(4);
        ip.set_header_len(20);
        ip.set_total_len((IPV4 + TCP + length) as u16);
        ip.set_next_header(smoltcp::wire::IpProtocol::Tcp);
        TcpPacket::new_unchecked(&mut frame[ETHERNET + IPV4..]).set_header_len(20);
        frame
    }

    /// What the device makes of an unfinished checksum.
    fn finished(mut frame: Vec<u8>, header: &[u8; HEADER]) -> Vec<u8> {
        let start = usize::from(u16::from_le_bytes([header[6], header[7]]));
        let offset = usize::from(u16::from_le_bytes([header[8], header[9]]));
        checksum::finish(&mut frame[start..], offset);
        frame
    }

    #[test]
    fn features_are_accepted_with_what_they_need_and_no_others() {
        let mac = Features::MAC.0;
        assert_eq!(Features::accept(mac), None);
        assert_eq!(Features::accept(Features::VERSION_1.0), None);
        let base = mac | Features::VERSION_1.0;
        let accepted = |offered: u64| Features::accept(base | offered).unwrap().0 & !base;
        assert_eq!(accepted(0), 0);
        let known = (ALL.0 | Features::EVENT_IDX.0) & !base;
        assert_eq!(accepted(u64::MAX), known);
        for (feature, needed) in [
            (Features::HOST_TSO4, Features::CSUM),
            (Features::GUEST_TSO4, Features::GUEST_CSUM),
            (Features::GUEST_TSO6, Features::GUEST_CSUM),
            (Features::GUEST_TSO4, Features::MRG_RXBUF),
            (Features::GUEST_TSO6, Features::MRG_RXBUF),
        ] {
            assert_eq!(accepted(!needed.0) & feature.0, 0, "{feature:?}");
        }
    }

    #[test]
    fn a_kind_of_frame_that_was_not_agreed_on_is_refused() {
        for (kind, feature) in [(1, Features::GUEST_TSO4), (4, Features::GUEST_TSO6)] {
            assert!(read([0, kind, 0, 1448, 0, 0, 1], ALL).is_ok());
            let refused = read([0, kind, 0, 1448, 0, 0, 1], without(feature));
            assert_eq!(refused, Err(Bad::Joined));
            // Of no size.
            assert_eq!(read([0, kind, 0, 0, 0, 0, 1], ALL), Err(Bad::Joined));
        }
        // UDP, UDP segments, both TCPs at once, ECN, all bits.
        for kind in [2, 3, 5, 0x80, 0x81, 0x84, 0xff] {
            assert_eq!(read([0, kind, 0, 1448, 0, 0, 1], ALL), Err(Bad::Joined));
        }
    }

    #[test]
    fn a_frame_has_at_least_one_buffer_and_as_many_as_the_largest() {
        for (buffers, fits) in [
            (0, false),
            (1, true),
            (33, true),
            (34, false),
            (u16::MAX, false),
        ] {
            let found = read([0, 0, 0, 0, 0, 0, buffers], ALL);
            match fits {
                true => assert_eq!(found.unwrap().buffers, usize::from(buffers)),
                false => assert_eq!(found, Err(Bad::Buffers)),
            }
            // Not agreed on: nobody looks.
            assert_eq!(read([0, 0, 0, 0, 0, 0, buffers], NONE).unwrap().buffers, 1);
        }
    }

    #[test]
    fn a_checksum_counts_as_compared_only_as_it_was_agreed_on() {
        for (flags, is_compared) in [(0, false), (1, true), (2, true), (3, true), (4, false)] {
            let fields = [flags, 0, 0, 0, 34, 16, 1];
            let settle = |features| read(fields, features).unwrap().settle(&mut segment(9));
            assert_eq!(settle(ALL), Ok(is_compared), "{flags}");
            assert_eq!(settle(without(Features::GUEST_CSUM)), Ok(false), "{flags}");
        }
    }

    #[test]
    fn a_checksum_outside_of_its_frame_is_refused() {
        let length = segment(9).len() as u16;
        let settle = |start: u16, offset: u16| {
            let received = read([1, 0, 0, 0, start, offset, 1], ALL).unwrap();
            received.settle(&mut segment(9))
        };
        assert_eq!(settle(length - 18, 16), Ok(true));
        assert_eq!(settle(length - 8, 6), Ok(true));
        for (start, offset) in [
            (length - 17, 16),
            (length, 0),
            (length - 1, 0),
            (u16::MAX, 16),
            (34, length - 34 - 1),
            (34, u16::MAX),
            (u16::MAX, u16::MAX),
        ] {
            assert_eq!(
                settle(start, offset),
                Err(Bad::Checksum),
                "{start} {offset}"
            );
        }
    }

    #[test]
    fn an_unfinished_checksum_of_another_protocol_is_finished_and_one_of_tcp_left() {
        let mut frame = segment(30);
        let before = frame.clone();
        let tcp = read([1, 0, 0, 0, 34, 16, 1], ALL).unwrap();
        assert_eq!(tcp.settle(&mut frame), Ok(true));
        assert_eq!(frame, before);
        // Of a pseudo-header whose sum is zero.
        frame[40..42].fill(0);
        let udp = read([1, 0, 0, 0, 34, 6, 1], ALL).unwrap();
        assert_eq!(udp.settle(&mut frame), Ok(true));
        assert!(checksum::is_right_alone(&frame[34..]));
        assert_eq!(frame[..40], before[..40]);
        assert_eq!(frame[42..], before[42..]);
    }

    #[test]
    fn a_device_that_finishes_checksums_gets_them_begun() {
        for length in [0, 1, 7, 1460] {
            let mut frame = segment(length);
            let mut right = frame.clone();
            let Place { bytes, from, to } = locate(&frame).unwrap();
            checksum::fill(&mut right[bytes], from, to);
            let header = write(&mut frame, None, ALL);
            assert_eq!(header, self::header([1, 0, 0, 0, 34, 16, 0]));
            assert_eq!(finished(frame, &header), right);
        }
    }

    #[test]
    fn what_the_device_does_not_do_is_left_as_it_is() {
        let mut frame = segment(100);
        let before = frame.clone();
        assert_eq!(write(&mut frame, None, NONE), [0; HEADER]);
        assert_eq!(frame, before);
        // No TCP.
        frame[23] = 17;
        let before = frame.clone();
        assert_eq!(write(&mut frame, None, ALL), [0; HEADER]);
        assert_eq!(frame, before);
    }

    #[test]
    fn a_device_is_told_how_long_segments_are_only_if_there_are_several() {
        let size = NonZeroU16::new(1448);
        let cut = |length: usize| write(&mut segment(length), size, ALL);
        assert_eq!(cut(1448), header([1, 0, 0, 0, 34, 16, 0]));
        assert_eq!(cut(1449), header([1, 1, 54, 1448, 34, 16, 0]));
        assert_eq!(cut(8192), header([1, 1, 54, 1448, 34, 16, 0]));
    }
}
