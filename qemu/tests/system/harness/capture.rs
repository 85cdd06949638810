//! The packet capture: what really went over the wire.

use std::fs;
use std::path::Path;

/// One TCP segment (RFC 9293 §3.1).
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// Sent by the guest, or to it.
    pub(crate) from_guest: bool,
    /// The guest's port.
    pub(crate) guest: u16,
    /// The other port: the client's own, QEMU keeps it.
    pub(crate) peer: u16,
    /// Of its first byte.
    pub(crate) sequence: u32,
    /// FIN 1, SYN 2, RST 4, ACK 16.
    pub(crate) flags: u8,
    /// What it carries.
    pub(crate) payload: Vec<u8>,
}

/// SYN.
pub(crate) const SYN: u8 = 2;

/// A TLS record on the wire (RFC 8446 §5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// TCP sequence number of its first byte.
    pub(crate) sequence: u32,
    /// Its content type.
    pub(crate) kind: u8,
    /// Bytes after its header.
    pub(crate) length: usize,
}

/// All segments of one connection so far, in the order of the capture.
pub(crate) fn connection(capture: &Path, guest: u16, peer: u16) -> Vec<Segment> {
    let bytes = fs::read(capture).unwrap();
    segments(&bytes)
        .into_iter()
        .filter(|segment| segment.guest == guest && segment.peer == peer)
        .collect()
}

/// The records that the guest sent, up to the last whole one. Retransmissions
/// are laid over each other.
pub(crate) fn records_from_guest(segments: &[Segment]) -> Vec<Record> {
    let own = || segments.iter().filter(|segment| segment.from_guest);
    let syn = own().find(|segment| segment.flags & SYN != 0).unwrap();
    let first = syn.sequence.wrapping_add(1);
    let mut stream: Vec<Option<u8>> = Vec::new();
    for segment in own().filter(|segment| segment.flags & SYN == 0) {
        let start = segment.sequence.wrapping_sub(first) as usize;
        // A keep-alive is just before the window.
        if start > 1 << 30 {
            continue;
        }
        let end = start + segment.payload.len();
        if stream.len() < end {
            stream.resize(end, None);
        }
        for (place, byte) in stream[start..end].iter_mut().zip(&segment.payload) {
            *place = Some(*byte);
        }
    }
    let bytes: Vec<u8> = stream.into_iter().map_while(|byte| byte).collect();
    let mut records = Vec::new();
    let mut at = 0;
    while let Some([kind, _, _, high, low]) = bytes.get(at..at + 5) {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if at + 5 + length > bytes.len() {
            break;
        }
        records.push(Record {
            sequence: first.wrapping_add(at as u32),
            kind: *kind,
            length,
        });
        at += 5 + length;
    }
    records
}

/// Reads a capture file (pcap, little-endian, Ethernet), up to its last whole
/// packet.
fn segments(bytes: &[u8]) -> Vec<Segment> {
    const MAGIC: [u8; 4] = 0xa1b2_c3d4_u32.to_le_bytes();
    const FILE_HEADER: usize = 24;
    const PACKET_HEADER: usize = 16;
    assert_eq!(bytes.get(..4), Some(MAGIC.as_slice()), "not a pcap file");
    let mut segments = Vec::new();
    let mut rest = &bytes[FILE_HEADER..];
    while let Some((header, after)) = rest.split_at_checked(PACKET_HEADER) {
        let length = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
        let Some((frame, next)) = after.split_at_checked(length) else {
            break;
        };
        segments.extend(segment(frame));
        rest = next;
    }
    segments
}

/// The TCP segment in an Ethernet frame with IPv4, if it is one of a
/// connection to the guest. The guest is the end that is not the host, 10.0.2.2.
fn segment(frame: &[u8]) -> Option<Segment> {
    const HOST: [u8; 4] = [10, 0, 2, 2];
    const TCP: u8 = 6;
    let packet = frame.get(14..)?;
    if frame.get(12..14)? != [0x08, 0x00] || *packet.get(9)? != TCP {
        return None;
    }
    let header = usize::from(packet.first()? & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    let from_guest = packet.get(16..20)? == HOST;
    let tcp = packet.get(header..total)?;
    let port = |at: usize| Some(u16::from_be_bytes([*tcp.get(at)?, *tcp.get(at + 1)?]));
    let (source, destination) = (port(0)?, port(2)?);
    let (guest, peer) = if from_guest {
        (source, destination)
    } else {
        (destination, source)
    };
    Some(Segment {
        from_guest,
        guest,
        peer,
        sequence: u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?),
        flags: *tcp.get(13)?,
        payload: tcp.get(usize::from(tcp.get(12)? >> 4) * 4..)?.to_vec(),
    })
}

#[test]
fn a_capture_is_read_and_cut_into_records() {
    let packet = |sequence: u32, flags: u8, payload: &[u8]| {
        let mut tcp = vec![1, 188, 156, 64];
        tcp.extend(sequence.to_be_bytes());
        tcp.extend([0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
        tcp.extend(payload);
        let total = (20 + tcp.len()) as u16;
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0]);
        frame.extend(total.to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2]);
        frame.extend(tcp);
        // Ethernet pads short frames.
        frame.resize(frame.len().max(60), 0);
        let mut bytes = vec![0; 8];
        bytes.extend((frame.len() as u32).to_le_bytes());
        bytes.extend((frame.len() as u32).to_le_bytes());
        bytes.extend(frame);
        bytes
    };
    let mut file = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
    file.resize(24, 0);
    file.extend(packet(u32::MAX, SYN, &[]));
    file.extend(packet(4, 16, &[2, 7, 7, 23, 3, 3, 0]));
    file.extend(packet(0, 16, &[22, 3, 3, 0]));
    file.extend(packet(0, 16, &[22, 3, 3, 0]));
    file.extend(packet(11, 16, &[1, 9, 23, 3, 3]));
    let all = segments(&file);
    assert_eq!(all.len(), 5);
    assert!(
        all.iter()
            .all(|s| s.from_guest && s.guest == 444 && s.peer == 40000)
    );
    let record = |sequence, kind, length| Record {
        sequence,
        kind,
        length,
    };
    let expected = [record(0, 22, 2), record(7, 23, 1)];
    assert_eq!(records_from_guest(&all), expected);
}
