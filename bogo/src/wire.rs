//! The network stack's part: two channels, and what is between them and a socket.

use ipc::channel::local::{LocalChannel, Silent};
use ipc::channel::{SlotIndex, Status};
use ipc::net::{NetError, Owner, SegmentHeader, TcpPosition};
use tls::ContentType;
use tls::record::Header;
use tls::server_hello::RETRY;

/// Who reads and writes the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Handshake(SlotIndex),
    Session(SlotIndex),
}

/// One connection at a time, between a socket and its owner.
pub(crate) struct Wire {
    phase: Phase,
    handshake: LocalChannel<Silent>,
    protected: LocalChannel<Silent>,
    /// From the socket, and not with the owner yet.
    pub(crate) incoming: Vec<u8>,
    /// For the socket.
    pub(crate) outgoing: Vec<u8>,
    /// The peer sends nothing more.
    has_ended: bool,
    /// What a HelloRetryRequest is found by, in what came and in what goes.
    hellos: [Hellos; 2],
    /// Sequence numbers of the next byte: delivered to the owner, and taken from it.
    delivered: u32,
    sent: u32,
}

impl Wire {
    pub(crate) fn new(handshake: LocalChannel<Silent>, protected: LocalChannel<Silent>) -> Self {
        Self {
            phase: Phase::Waiting,
            handshake,
            protected,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            has_ended: false,
            hellos: Default::default(),
            delivered: 0,
            sent: 0,
        }
    }

    /// Another connection begins.
    pub(crate) fn begin(&mut self) {
        self.phase = Phase::Waiting;
        self.incoming.clear();
        self.outgoing.clear();
        self.has_ended = false;
        self.hellos = Default::default();
    }

    /// Whether a HelloRetryRequest came or went.
    pub(crate) fn has_retried(&self) -> bool {
        self.hellos.iter().any(Hellos::has_retry)
    }

    /// Moves what can be moved between the owner and the buffers; true if something was.
    pub(crate) fn pump(&mut self) -> bool {
        let before = self.outgoing.len();
        let written = match self.phase {
            Phase::Waiting => 0,
            Phase::Handshake(slot) => {
                self.take_segments(slot);
                let written = self.handshake.write(slot, &self.incoming).unwrap_or(0);
                self.hellos[0].add(self.incoming.get(..written).unwrap_or_default());
                written
            }
            Phase::Session(slot) => {
                self.take_records(slot);
                self.protected.write(slot, &self.incoming).unwrap_or(0)
            }
        };
        self.incoming.drain(..written);
        self.delivered = self.delivered.wrapping_add(length(written));
        self.tell_end();
        written > 0 || self.outgoing.len() > before
    }

    /// The peer's end stands after its last byte.
    fn tell_end(&mut self) {
        if !self.has_ended || !self.incoming.is_empty() {
            return;
        }
        let (channel, slot) = match self.phase {
            Phase::Waiting => return,
            Phase::Handshake(slot) => (&mut self.handshake, slot),
            Phase::Session(slot) => (&mut self.protected, slot),
        };
        if !channel.status(slot).has(Status::END) {
            channel.set_status(slot, Status::END);
            channel.notify(slot);
        }
    }

    fn take_segments(&mut self, slot: SlotIndex) {
        while self.handshake.readable(slot).unwrap_or(0) > 0 {
            let mut header = [0; SegmentHeader::SIZE];
            let got = self.handshake.read(slot, &mut header).unwrap_or(0);
            let header = SegmentHeader::from_bytes(header);
            let mut segment = vec![0; usize::from(header.length)];
            let body = self.handshake.read(slot, &mut segment).unwrap_or(0);
            // The network stack cuts off a connection whose segments are not in order.
            if got < SegmentHeader::SIZE || body < segment.len() || header.sequence != self.sent {
                return;
            }
            self.sent = self.sent.wrapping_add(u32::from(header.length));
            self.hellos[1].add(&segment);
            self.outgoing.extend(segment);
        }
    }

    fn take_records(&mut self, slot: SlotIndex) {
        let mut bytes = vec![0; self.protected.readable(slot).unwrap_or(0)];
        let count = self.protected.read(slot, &mut bytes).unwrap_or(0);
        bytes.truncate(count);
        self.outgoing.extend(bytes);
    }

    /// Gives the connection to another owner.
    pub(crate) fn hand_over(
        &mut self,
        to: Owner,
        expected: Option<u32>,
    ) -> Result<TcpPosition, NetError> {
        match to {
            Owner::Offload(slot) => {
                self.handshake.open(slot);
                self.phase = Phase::Handshake(slot);
            }
            Owner::Record(slot) => {
                self.leave_handshake();
                self.protected.open(slot);
                self.protected.notify(slot);
                self.phase = Phase::Session(slot);
            }
            Owner::Client | Owner::Application { .. } => return Err(NetError::Denied),
        }
        match expected {
            Some(expected) if expected != self.sent => Err(NetError::WrongSequence),
            _ => Ok(TcpPosition {
                tx_next: self.sent,
                rx_next: self.delivered,
            }),
        }
    }

    /// What the offload component wrote goes out; what it did not read comes back.
    fn leave_handshake(&mut self) {
        let Phase::Handshake(slot) = self.phase else {
            return;
        };
        self.take_segments(slot);
        let mut unread = vec![0; self.handshake.unread(slot).unwrap_or(0)];
        let count = self.handshake.take_back(slot, 0, &mut unread).unwrap_or(0);
        unread.truncate(count);
        self.delivered = self.delivered.wrapping_sub(length(count));
        self.handshake.close(slot);
        self.incoming.splice(..0, unread);
    }

    /// The owner lets the connection go.
    pub(crate) fn release(&mut self) {
        self.leave_handshake();
        if let Phase::Session(slot) = self.phase {
            self.take_records(slot);
            self.protected.close(slot);
        }
        self.phase = Phase::Waiting;
    }

    /// The peer closed its side.
    pub(crate) fn end(&mut self) {
        self.has_ended = true;
        self.tell_end();
    }
}

fn length(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The handshake messages of one direction before anything is protected.
#[derive(Default)]
struct Hellos {
    /// Of a record that is not whole.
    records: Vec<u8>,
    messages: Vec<u8>,
    is_over: bool,
}

impl Hellos {
    fn add(&mut self, bytes: &[u8]) {
        self.records.extend_from_slice(bytes);
        while let Some((header, rest)) = Header::split_from(&self.records)
            && !self.is_over
        {
            let Some(body) = rest.get(..header.length()) else {
                return;
            };
            match header.content_type() {
                Some(ContentType::Handshake) => self.messages.extend_from_slice(body),
                Some(ContentType::ChangeCipherSpec | ContentType::Alert) => {}
                _ => self.is_over = true,
            }
            self.records.drain(..header.record_length());
        }
    }

    fn has_retry(&self) -> bool {
        let mut windows = self.messages.windows(RETRY.len());
        windows.any(|window| window == RETRY)
    }
}
