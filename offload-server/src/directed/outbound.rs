//! From handshake messages to records, and to the connection.
//!
//! Messages are kept until something is sent for which they must be in
//! records, so that a flight takes as few of them as it can.

use alloc::vec::Vec;

use ipc::channel::{Channel, Doorbell, SlotIndex};
use tls::protection::Key;
use tls::record::{HEADER, Header};
use tls::{Alert, ContentType, RecordLimit, Role};

use super::Fault;
use crate::output::Output;

/// The version of a client's first record (RFC 8446 §5.1).
const INITIAL_VERSION: [u8; 2] = [3, 1];

/// Bytes to the peer.
pub(super) struct Outbound {
    output: Output,
    protection: Option<Key>,
    /// Handshake messages that are in no record yet.
    flight: Vec<u8>,
    /// Of protected records.
    limit: RecordLimit,
    /// A client's first record is still to come.
    is_first_hello_due: bool,
}

impl Outbound {
    pub(super) const fn new(output: Output, role: Role) -> Self {
        Self {
            output,
            protection: None,
            flight: Vec::new(),
            limit: RecordLimit::NONE,
            is_first_hello_due: matches!(role, Role::Client),
        }
    }

    /// Adds a handshake message to the flight.
    pub(super) fn message(&mut self, message: &[u8]) {
        self.flight.extend_from_slice(message);
    }

    /// Writes under another key from here on.
    pub(super) fn protect(&mut self, protection: Key) -> Result<(), Fault> {
        self.end_flight()?;
        self.protection = Some(protection);
        Ok(())
    }

    /// Protected records carry no more from here on.
    pub(super) const fn limit_records(&mut self, limit: RecordLimit) {
        self.limit = limit;
    }

    /// What a protected record carries at most.
    pub(super) const fn record_limit(&self) -> RecordLimit {
        self.limit
    }

    /// ChangeCipherSpec; it is never protected in a first handshake.
    pub(super) fn change_cipher_spec(&mut self) -> Result<(), Fault> {
        self.end_flight()?;
        plain(ContentType::ChangeCipherSpec, &[1], self.output.buffer())
    }

    /// A fatal alert.
    pub(super) fn alert(&mut self, alert: Alert) -> Result<(), Fault> {
        self.end_flight()?;
        self.record(ContentType::Alert, &alert.fatal())
    }

    /// Puts into the connection what there is room for.
    pub(super) fn flush<D: Doorbell>(
        &mut self,
        channel: &mut Channel<D>,
        slot: SlotIndex,
    ) -> Result<(), Fault> {
        self.end_flight()?;
        Ok(self.output.flush(channel, slot)?)
    }

    /// Records that have not gone.
    #[cfg(test)]
    pub(super) fn written(&mut self) -> &[u8] {
        self.output.buffer()
    }

    /// Whether everything has gone.
    pub(super) fn is_empty(&self) -> bool {
        self.flight.is_empty() && self.output.is_empty()
    }

    /// Bytes that wait for the peer to take them.
    pub(super) fn waiting(&self) -> usize {
        self.flight.len() + self.output.waiting()
    }

    /// TCP sequence number of the next byte.
    pub(super) fn next(&self) -> u32 {
        self.output.next()
    }

    /// The sequence number of the next record.
    pub(super) fn sequence(&self) -> u64 {
        self.protection.as_ref().map_or(0, Key::sequence)
    }

    /// Puts the flight into records.
    pub(super) fn end_flight(&mut self) -> Result<(), Fault> {
        let flight = core::mem::take(&mut self.flight);
        // RFC 8449 §4: a limit is for protected records.
        let limit = match self.protection {
            Some(_) => self.limit,
            None => RecordLimit::NONE,
        };
        for fragment in flight.chunks(limit.plaintext()) {
            self.record(ContentType::Handshake, fragment)?;
        }
        Ok(())
    }

    fn record(&mut self, kind: ContentType, text: &[u8]) -> Result<(), Fault> {
        let out = self.output.buffer();
        let start = out.len();
        match &mut self.protection {
            Some(key) => seal(key, kind, text, out)?,
            None => plain(kind, text, out)?,
        }
        // RFC 8446 §5.1: an initial ClientHello may say TLS 1.0, and does so everywhere.
        if core::mem::take(&mut self.is_first_hello_due)
            && let Some([_, version @ .., _, _]) = out
                .get_mut(start..)
                .and_then(|record| record.first_chunk_mut::<HEADER>())
        {
            *version = INITIAL_VERSION;
        }
        Ok(())
    }
}

fn plain(kind: ContentType, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    let length = u16::try_from(text.len()).map_err(|_| Fault::INTERNAL)?;
    out.extend_from_slice(&Header::new(kind, length).bytes());
    out.extend_from_slice(text);
    Ok(())
}

/// Appends the record that carries `text` to `out`.
pub(super) fn seal(
    key: &mut Key,
    kind: ContentType,
    text: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let (start, form) = (out.len(), key.form());
    out.resize(start + form.overhead() + text.len(), 0);
    let record = out.get_mut(start..).unwrap_or_default();
    let at = form.plaintext_at();
    record
        .get_mut(at..at + text.len())
        .ok_or(Fault::INTERNAL)?
        .copy_from_slice(text);
    let sealed = key.seal(kind, record, text.len());
    sealed.map(|_| ()).ok_or(Fault::INTERNAL)
}
