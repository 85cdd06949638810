//! Frames in: whose they are, and what a SYN makes.

use ipc::channel::Doorbell;
use ipc::clock::Instant;
use ipc::stats::netstack as counters;
use smoltcp::phy::TxToken;
use smoltcp::socket::tcp::State;

use crate::connection::{Connection, Phase};
use crate::guard::Verdict;
use crate::link::Learned;
use crate::mss;
use crate::parse::{self, Frame, Segment};
use crate::path::{Narrow, REMEMBERED, TooBig};
use crate::room::Newcomer;
use crate::stack::Core;

impl<B: Doorbell> Core<'_, B> {
    /// Looks at a frame; `is_compared` if its checksum of TCP counts as right.
    pub(crate) fn ingress(
        &mut self,
        bytes: &[u8],
        is_compared: bool,
        reply: impl TxToken,
        now: Instant,
    ) {
        let mut host = self.link.host();
        host.check &= !is_compared;
        let learned = match parse::frame(bytes, &host) {
            Frame::Tcp(segment) => return self.segment_in(&segment, bytes, reply, now),
            Frame::Arp(arp) => self.link.arp_in(&arp, bytes, reply, now),
            Frame::Discovery(message) => self.link.discovery_in(&message, reply, now),
            Frame::TooBig(word) => return self.too_big_in(&word, now),
            Frame::Echo => return self.link.pass_in(bytes, reply, now),
            Frame::Housekeeping => {
                self.link.pass_in(bytes, reply, now);
                // The DHCP client may have learned something.
                Learned::Network
            }
            Frame::Dropped => return self.stats.add(counters::DROPPED, 1),
        };
        match learned {
            Learned::Nothing => {}
            Learned::Neighbour => self.connections.resolved(),
            Learned::Network => self.clock.keep_house_at(now),
        }
    }

    fn segment_in(&mut self, segment: &Segment, bytes: &[u8], reply: impl TxToken, now: Instant) {
        let opens = segment.syn && !segment.ack && !segment.rst;
        let mut found = self.connections.between(&segment.tuple);
        if opens
            && let Some(index) = found
            && let Some(connection) = self.connections.get_mut(index)
            && connection.is_outdated(segment)
        {
            // RFC 9293 §3.10.7.4: a newer SYN may end TIME-WAIT early.
            self.forget(index);
            found = None;
        }
        if let Some(index) = found {
            return self.known_in(index, segment, bytes, reply, now);
        }
        // RFC 1122 §4.2.3.10: what was not sent to a host by a host is not
        // answered.
        let host = self.link.host();
        if !(host.owns(segment.tuple.local) && host.is_peer(segment.tuple.remote)) {
            self.stats.add(counters::DROPPED, 1);
        } else if opens && self.listeners.at(segment.tuple.local_port).is_some() {
            self.open_in(segment, bytes, reply, now);
        } else {
            // It belongs to no connection: smoltcp answers with a reset.
            self.link.pass_in(bytes, reply, now);
        }
    }

    fn known_in(
        &mut self,
        index: u32,
        segment: &Segment,
        bytes: &[u8],
        reply: impl TxToken,
        now: Instant,
    ) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let Some(stand) = connection.stand() else {
            return;
        };
        let verdict = stand.judge(segment);
        let mut challenge = None;
        match verdict {
            Verdict::Pass => {}
            Verdict::Drop => {
                self.stats.add(counters::GUARDED, 1);
                return;
            }
            Verdict::Challenge => {
                self.stats.add(counters::GUARDED, 1);
                // Before the SYN's answer has left there is nothing to tell.
                let is_early = stand.state == State::SynReceived && stand.sent == 0;
                if is_early || !connection.challenged.again(now) {
                    return;
                }
                challenge = Some(stand.probe(segment, bytes));
            }
        }
        let bytes = challenge.as_ref().map_or(bytes, |probe| probe.as_slice());
        if verdict == Verdict::Pass {
            connection.last_heard = now;
        }
        let was_opening = stand.state == State::SynSent;
        let raised = (was_opening && segment.syn).then(|| mss::raised(bytes));
        let bytes = raised.as_ref().and_then(Option::as_deref).unwrap_or(bytes);
        let Some(wire) = &mut connection.wire else {
            return;
        };
        self.link.segment_in(bytes, reply, &mut wire.sockets, now);
        if was_opening && segment.syn && connection.state() != State::SynSent {
            connection.note_peer_start(segment.sequence);
        }
        self.connections.touch(index);
    }

    /// A SYN to a port that is listened on. A socket is made for it, so that
    /// every SYN of a burst finds one listening; when the table or the memory of sockets is
    /// full, another is evicted.
    fn open_in(&mut self, segment: &Segment, bytes: &[u8], reply: impl TxToken, now: Instant) {
        let port = segment.tuple.local_port;
        let Some(listener) = self.listeners.at(port) else {
            return;
        };
        let client = listener.client();
        if listener.is_full() {
            // The gateway accepts as fast as it can: the SYN that is sent again in a
            // second finds room.
            self.stats.add(counters::BACKLOG_FULL, 1);
            return;
        }
        let Some(mut wire) = self.wire(self.sockets.accepted(), Newcomer::Syn, now) else {
            if self.connections.first_sending().is_some() {
                // It is over in seconds: the SYN is sent again.
                self.stats.add(counters::DEFERRED, 1);
                return;
            }
            self.stats.add(counters::TABLE_FULL, 1);
            return self.link.pass_in(bytes, reply, now);
        };
        let socket = wire.prepare();
        if socket.listen((segment.tuple.local, port)).is_err() {
            self.sockets.recycle(wire);
            return;
        }
        let seed = self.unpredictable.draw(&segment.tuple, now);
        let raised = mss::raised(bytes);
        let bytes = raised.as_deref().unwrap_or(bytes);
        self.link.syn_in(bytes, reply, &mut wire, seed, now);
        if wire.socket().state() != State::SynReceived {
            // Not what it seemed: a bad sum, or not our address.
            self.sockets.recycle(wire);
            return;
        }
        let mut connection = Connection::new(wire, segment.tuple, client, Phase::HalfOpen, now);
        connection.note_peer_start(segment.sequence);
        connection.narrow = self.link.paths.find(segment.tuple.remote, now);
        let Some(index) = self.connections.insert(connection) else {
            return;
        };
        if let Some(listener) = self.listeners.at(port) {
            listener.enter(Phase::HalfOpen);
        }
        self.connections.reckon(index);
        self.connections.touch(index);
    }

    /// RFC 1191 §6.4, RFC 8201 §4, with the checks of RFC 5927 §7.
    fn too_big_in(&mut self, word: &TooBig, now: Instant) {
        let link = u16::try_from(self.link.mtu()).unwrap_or(u16::MAX);
        let found = self.connections.between(&word.tuple);
        let limit = found
            .and_then(|index| self.connections.get_mut(index))
            .and_then(|connection| connection.believe(word, link, now));
        let Some(limit) = limit else {
            return self.stats.add(counters::NARROWED_REFUSED, 1);
        };
        self.stats.add(counters::NARROWED, 1);
        let to = word.tuple.remote;
        let narrow = Narrow {
            limit,
            until: now + REMEMBERED,
        };
        self.link.paths.note(to, narrow);
        // Others to the same host learn of it from messages of their own: to look for them
        // would be a long way for a short message.
        if let Some(connection) = found.and_then(|index| self.connections.get_mut(index)) {
            connection.follow(narrow, now);
        }
    }
}
