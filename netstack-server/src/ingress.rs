//! Frames in: whose they are, and what a SYN makes.

use ipc::channel::Doorbell;
use ipc::clock::Instant;
use ipc::stats::netstack as counters;
use smoltcp::iface::{self, Interface};
use smoltcp::phy::{Device, TxToken};
use smoltcp::socket::tcp::State;

use crate::connection::{Connection, Phase};
use crate::device::Inlet;
use crate::guard::Verdict;
use crate::parse::{self, Frame, Host, Segment};
use crate::stack::Core;
use crate::time::wire_time;

impl<G: Doorbell, O: Doorbell, R: Doorbell> Core<'_, G, O, R> {
    pub(crate) fn ingress(&mut self, bytes: &[u8], reply: impl TxToken, now: Instant) {
        match parse::frame(bytes, &self.host()) {
            Frame::Tcp(segment) => self.segment_in(&segment, bytes, reply, now),
            Frame::Arp(arp) => self.arp_in(&arp, bytes, reply, now),
            Frame::Discovery(message) => self.discovery_in(&message, reply, now),
            Frame::TooBig(word) => self.too_big_in(&word, now),
            Frame::Echo => self.pass_in(bytes, reply, now),
            Frame::Housekeeping => {
                self.pass_in(bytes, reply, now);
                // The DHCP client may have learned something.
                self.housekeeping = now;
            }
            Frame::Dropped => self.stats.add(counters::DROPPED, 1),
        }
    }

    /// Who this system is now.
    pub(crate) fn host(&self) -> Host<'_> {
        Host {
            hardware: self.link.hardware,
            addresses: self.interface.ip_addrs(),
            mtu: self.capabilities.mtu(),
            dhcp: self.addresses.has_dhcp(),
            check: self.capabilities.check,
        }
    }

    fn segment_in(&mut self, segment: &Segment, bytes: &[u8], reply: impl TxToken, now: Instant) {
        let opens = segment.syn && !segment.ack && !segment.rst;
        let mut found = self.tuples.get(&segment.tuple).copied();
        if opens && let Some(index) = found.filter(|index| self.is_outdated(*index, segment)) {
            // RFC 9293 §3.10.7.4: a newer SYN may end TIME-WAIT early.
            self.forget(index);
            found = None;
        }
        if let Some(index) = found {
            return self.known_in(index, segment, bytes, reply, now);
        }
        // RFC 1122 §4.2.3.10: what was not sent to a host by a host is not
        // answered.
        let host = self.host();
        if !(host.owns(segment.tuple.local) && host.is_peer(segment.tuple.remote)) {
            self.stats.add(counters::DROPPED, 1);
        } else if opens && self.clients.listener(segment.tuple.local_port).is_some() {
            self.open_in(segment, bytes, reply, now);
        } else {
            // It belongs to no connection: smoltcp answers with a reset.
            self.pass_in(bytes, reply, now);
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
        let Some(connection) = self.table.get_mut(index) else {
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
        let Some(wire) = &mut connection.wire else {
            return;
        };
        let mut inlet = Inlet::new(bytes, Some(reply), &self.capabilities);
        self.interface
            .poll_ingress_single(wire_time(now), &mut inlet, &mut wire.sockets);
        if was_opening && segment.syn && connection.state() != State::SynSent {
            connection.note_peer_start(segment.sequence);
        }
        self.stats.add(counters::FRAMES_OUT, inlet.sent.frames);
        self.touch(index);
    }

    /// A SYN to a port that is listened on. A socket is made for it, so that
    /// every SYN of a burst finds one listening; the number of half-open
    /// connections is bounded by the backlog, and the oldest is evicted.
    fn open_in(&mut self, segment: &Segment, bytes: &[u8], reply: impl TxToken, now: Instant) {
        let port = segment.tuple.local_port;
        let Some(client) = self.make_room(port) else {
            // The gateway accepts as fast as it can: the SYN that is sent again in a
            // second finds room.
            self.stats.add(counters::BACKLOG_FULL, 1);
            return;
        };
        let Some(mut wire) = self.wire(self.limits.accepted) else {
            self.stats.add(counters::TABLE_FULL, 1);
            return self.pass_in(bytes, reply, now);
        };
        let socket = wire.prepare();
        if socket.listen((segment.tuple.local, port)).is_err() {
            self.recycle(wire);
            return;
        }
        let seed = self.unpredictable.draw(&segment.tuple, now);
        let mut inlet = Inlet::new(bytes, Some(reply), &self.capabilities);
        let mut source = self.first_number_source(seed, &mut inlet, now);
        source.poll_ingress_single(wire_time(now), &mut inlet, &mut wire.sockets);
        if wire.socket().state() != State::SynReceived {
            // Not what it seemed: a bad sum, or not our address.
            self.recycle(wire);
            return;
        }
        let mut connection = Connection::new(wire, segment.tuple, client, Phase::HalfOpen, now);
        connection.note_peer_start(segment.sequence);
        connection.narrow = self.link.paths.find(segment.tuple.remote, now);
        let Some(index) = self.table.insert(connection) else {
            return;
        };
        self.tuples.insert(segment.tuple, index);
        if let Some(listener) = self.clients.listener(port) {
            listener.half_open.push_back(index);
        }
        self.reckon(index);
        self.touch(index);
    }

    /// Room for one more half-open connection at `port`; the client that
    /// listens there.
    fn make_room(&mut self, port: u16) -> Option<u16> {
        let listener = self.clients.listener(port)?;
        let client = listener.client;
        if listener.half_open.len() + listener.waiting >= listener.backlog {
            let oldest = listener.half_open.front().copied()?;
            self.stats.add(counters::HALF_OPEN_DROPPED, 1);
            self.forget(oldest);
        }
        Some(client)
    }

    /// An interface whose generator of random numbers starts at a number for
    /// this connection alone. smoltcp takes the initial sequence number from
    /// it; its own generator's next number could be computed from a few that
    /// were seen (ADR 0030).
    pub(crate) fn first_number_source(
        &self,
        seed: u64,
        device: &mut impl Device,
        now: Instant,
    ) -> Interface {
        let mut settings = iface::Config::new(self.hardware);
        settings.random_seed = seed;
        let mut source = Interface::new(settings, device, wire_time(now));
        let addresses = self.interface.ip_addrs();
        source.update_ip_addrs(|list| {
            // Both lists have the same capacity.
            let _ = list.extend_from_slice(addresses);
        });
        source
    }

    /// Shows smoltcp a frame of no connection.
    pub(crate) fn pass_in(&mut self, bytes: &[u8], reply: impl TxToken, now: Instant) {
        self.show(bytes, Some(reply), now);
    }

    /// The same; without `reply` an answer goes nowhere.
    pub(crate) fn show(&mut self, bytes: &[u8], reply: Option<impl TxToken>, now: Instant) {
        let mut inlet = Inlet::new(bytes, reply, &self.capabilities);
        let sockets = &mut self.addresses.sockets;
        self.interface
            .poll_ingress_single(wire_time(now), &mut inlet, sockets);
        self.stats.add(counters::FRAMES_OUT, inlet.sent.frames);
    }
}
