//! Which segments a connection takes: RFC 5961, which smoltcp 0.14 keeps in part.
//!
//! An attacker who can't see a connection must not end it or change its bytes by
//! guessing. A reset counts at exactly the next expected byte; one that is near it, a
//! SYN, and an acknowledgement of what was not sent are answered by a challenge: the
//! connection's sequence numbers. A peer that meant it answers that with a reset at
//! exactly that number.

use ipc::clock::Instant;
use smoltcp::socket::tcp::State;
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, TcpSeqNumber,
};

use crate::parse::{ETHERNET, IPV4, IPV6, Segment, TCP};
use crate::sequence::is_after;

/// Challenges of one connection are as far apart at the least (RFC 5961 §7; a limit for
/// all connections together would be a side channel between them, CVE-2016-5696).
pub(crate) const CHALLENGE: core::time::Duration = core::time::Duration::from_secs(1);

/// Where a connection stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stand {
    pub(crate) state: State,
    /// Of the next byte expected (RCV.NXT).
    pub(crate) expected: u32,
    /// After the last byte that there is room for.
    pub(crate) window: u32,
    /// Of the oldest byte that is not acknowledged (SND.UNA).
    pub(crate) unacknowledged: u32,
    /// After all that was sent (SND.NXT).
    pub(crate) sent: u32,
    /// The most that was ever in flight: bytes of the send buffer, which no
    /// window of the peer's makes larger.
    pub(crate) flight: u32,
}

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// smoltcp takes it.
    Pass,
    /// Its sender gets a challenge with the connection's sequence numbers.
    Challenge,
    Drop,
}

impl Stand {
    pub(crate) fn judge(&self, segment: &Segment) -> Verdict {
        if matches!(self.state, State::Closed | State::Listen | State::SynSent) {
            // smoltcp takes a reset of a SYN only if it acknowledges that.
            return Verdict::Pass;
        }
        if segment.rst {
            // §3.2.
            return match segment.sequence {
                exact if exact == self.expected => Verdict::Pass,
                near if is_between(self.expected, near, self.window) => Verdict::Challenge,
                _ => Verdict::Drop,
            };
        }
        let is_first = segment.sequence.wrapping_add(1) == self.expected;
        match (self.state, segment.syn, segment.ack) {
            // The SYN once more: smoltcp sends its answer again by the clock.
            (State::SynReceived, true, false) if is_first => Verdict::Drop,
            // §4.2.
            (_, true, _) => Verdict::Challenge,
            (_, false, false) => Verdict::Drop,
            // smoltcp wants the exact number.
            (State::SynReceived, ..) => Verdict::Pass,
            (_, false, true) if self.is_acceptable(segment.acknowledged) => Verdict::Pass,
            (_, false, true) => Verdict::Challenge,
        }
    }

    /// §5.2: neither of what was never sent, nor older than anything that can
    /// still be under way.
    fn is_acceptable(&self, acknowledged: u32) -> bool {
        let oldest = self.unacknowledged.wrapping_sub(self.flight);
        !is_after(acknowledged, self.sent) && !is_after(oldest, acknowledged)
    }

    /// A segment just before the window, as if of the peer: smoltcp answers it
    /// with an acknowledgement, once a second at the most.
    pub(crate) fn probe(&self, segment: &Segment, frame: &[u8]) -> Probe {
        let mut bytes = [0; PROBE];
        let is_v4 = segment.tuple.remote.is_ipv4();
        let length = ETHERNET + TCP + if is_v4 { IPV4 } else { IPV6 };
        let headers = length - TCP;
        if let (Some(to), Some(from)) = (bytes.get_mut(..headers), frame.get(..headers)) {
            to.copy_from_slice(from);
        }
        let mut ethernet = EthernetFrame::new_unchecked(&mut bytes[..]);
        let payload = match ethernet.ethertype() {
            EthernetProtocol::Ipv4 => {
                let mut ip = Ipv4Packet::new_unchecked(ethernet.payload_mut());
                ip.set_total_len((IPV4 + TCP) as u16);
                ip.fill_checksum();
                IPV4
            }
            _ => {
                let mut ip = Ipv6Packet::new_unchecked(ethernet.payload_mut());
                ip.set_payload_len(TCP as u16);
                IPV6
            }
        };
        let tcp = ethernet.payload_mut().get_mut(payload..);
        let mut tcp = TcpPacket::new_unchecked(tcp.unwrap_or_default());
        tcp.set_header_len(TCP as u8);
        tcp.set_src_port(segment.tuple.remote_port);
        tcp.set_dst_port(segment.tuple.local_port);
        tcp.set_seq_number(TcpSeqNumber(self.expected.wrapping_sub(1) as i32));
        tcp.set_ack_number(TcpSeqNumber(self.unacknowledged as i32));
        tcp.set_ack(true);
        Probe { bytes, length }
    }
}

const PROBE: usize = ETHERNET + IPV6 + TCP;

/// A frame for smoltcp.
pub(crate) struct Probe {
    bytes: [u8; PROBE],
    length: usize,
}

impl Probe {
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// When a connection was challenged last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Challenged(Option<Instant>);

impl Challenged {
    /// Whether it may be now.
    pub(crate) fn again(&mut self, now: Instant) -> bool {
        let is_time = self.0.is_none_or(|last| now >= last + CHALLENGE);
        if is_time {
            self.0 = Some(now);
        }
        is_time
    }
}

/// Whether `number` is at `from` or after it, and before `to`.
pub(crate) fn is_between(from: u32, number: u32, to: u32) -> bool {
    number.wrapping_sub(from) < to.wrapping_sub(from)
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;
    use crate::sequence::Tuple;

    const SYNCHRONISED: [State; 8] = [
        State::SynReceived,
        State::Established,
        State::FinWait1,
        State::FinWait2,
        State::CloseWait,
        State::Closing,
        State::LastAck,
        State::TimeWait,
    ];

    fn segment(sequence: u32, acknowledged: u32, flags: [bool; 3]) -> Segment {
        let [syn, ack, rst] = flags;
        Segment {
            tuple: Tuple {
                remote_port: 1,
                local_port: 2,
                remote: IpAddr::from([10, 0, 2, 2]),
                local: IpAddr::from([10, 0, 2, 15]),
            },
            syn,
            ack,
            rst,
            sequence,
            end: sequence,
            acknowledged,
        }
    }

    fn stand(state: State, base: u32) -> Stand {
        Stand {
            state,
            expected: base,
            window: base.wrapping_add(16384),
            unacknowledged: base.wrapping_add(7),
            sent: base.wrapping_add(107),
            flight: 8192,
        }
    }

    /// Near the ends of the sequence space, too.
    const BASES: [u32; 4] = [1000, u32::MAX - 50, (1 << 31) - 3, 0];

    #[test]
    fn a_reset_counts_at_exactly_the_next_byte_in_every_state() {
        for (state, base) in SYNCHRONISED.into_iter().flat_map(|s| BASES.map(|b| (s, b))) {
            let stand = stand(state, base);
            let at = |offset: u32| {
                let sequence = base.wrapping_add(offset);
                [false, true].map(|ack| stand.judge(&segment(sequence, base, [false, ack, true])))
            };
            assert_eq!(at(0), [Verdict::Pass; 2]);
            for near in [1, 2, 16383] {
                assert_eq!(at(near), [Verdict::Challenge; 2]);
            }
            for far in [16384, 16385, 1 << 31, u32::MAX, u32::MAX - 1] {
                assert_eq!(at(far), [Verdict::Drop; 2]);
            }
        }
    }

    #[test]
    fn a_syn_is_challenged_wherever_it_is() {
        for (state, base) in SYNCHRONISED.into_iter().flat_map(|s| BASES.map(|b| (s, b))) {
            for offset in [0, 1, 100, 16384, 1 << 31, u32::MAX - 1] {
                for ack in [false, true] {
                    let syn = segment(base.wrapping_add(offset), 0, [true, ack, false]);
                    assert_eq!(stand(state, base).judge(&syn), Verdict::Challenge);
                }
            }
        }
        // The one that made the connection comes again by itself.
        let again = segment(999, 0, [true, false, false]);
        let verdict = stand(State::SynReceived, 1000).judge(&again);
        assert_eq!(verdict, Verdict::Drop);
    }

    #[test]
    fn an_acknowledgement_is_of_what_was_sent_and_not_older_than_what_can_be_under_way() {
        let states = SYNCHRONISED.into_iter().skip(1);
        for (state, base) in states.flat_map(|s| BASES.map(|b| (s, b))) {
            let at = |offset: i64| {
                let number = base.wrapping_add(offset as u32);
                stand(state, base).judge(&segment(base, number, [false, true, false]))
            };
            for offset in [7 - 8192, 0, 7, 107] {
                assert_eq!(at(offset), Verdict::Pass, "{offset}");
            }
            for offset in [6 - 8192, 108, 109, 1 << 30, 1 << 31, -(1 << 30)] {
                assert_eq!(at(offset), Verdict::Challenge, "{offset}");
            }
            let none = segment(base, 0, [false, false, false]);
            assert_eq!(stand(state, base).judge(&none), Verdict::Drop);
        }
    }

    #[test]
    fn challenges_are_apart() {
        let mut challenged = Challenged::default();
        let start = Instant::from_millis(5);
        assert!(challenged.again(start));
        assert!(!challenged.again(start + core::time::Duration::from_millis(999)));
        assert!(challenged.again(start + CHALLENGE));
    }
}
