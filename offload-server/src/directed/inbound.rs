//! From records to handshake messages: one record at a time, so that not a
//! byte after the peer's Finished is taken from the connection (R32).

use alloc::vec::Vec;

use ipc::channel::{Channel, Doorbell, SlotBytes, SlotIndex};
use ipc::control::{HandshakeError, PeerError};
use tls::codec::MESSAGE_HEADER;
use tls::protection::Key;
use tls::record::{HEADER, Incoming, MAX_PLAINTEXT, max_body};
use tls::{Alert, ContentType, Version};

use super::Fault;
use crate::connection::MAX_RECORDS;

/// ChangeCipherSpecs that a peer of TLS 1.3 may send for old middleboxes: one,
/// and one more with a HelloRetryRequest.
const MAX_IGNORED: u8 = 2;
/// Alerts of TLS 1.2 that are no more than warnings and change nothing.
const MAX_WARNINGS: u8 = 4;

/// Bytes of a client's early data that are skipped: as many as BoringSSL does
/// (`kMaxEarlyDataSkipped`), for none was allowed here.
const MAX_SKIPPED: usize = 16 * 1024;

const UNEXPECTED: Fault = Fault::Refused(Alert::UNEXPECTED_MESSAGE);
const DECODE: Fault = Fault::Refused(Alert::DECODE_ERROR);

/// What was found after a record.
pub(super) enum Found {
    /// The connection has no whole record.
    Nothing,
    /// Another record was taken; look again.
    Record,
    /// TLS 1.2: the peer's ChangeCipherSpec.
    ChangeCipherSpec,
}

/// A message of this type is longer than it may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong {
    pub(super) kind: u8,
}

/// Bytes from the peer.
pub(super) struct Inbound {
    protection: Option<Key>,
    /// What was decided, once it is.
    pub(super) version: Option<Version>,
    /// Bytes of handshake messages that were not taken yet.
    messages: Vec<u8>,
    /// Bytes taken from the connection.
    taken: u32,
    records: u16,
    ignored: u8,
    warnings: u8,
    /// Bytes of early data that may still come (RFC 8446 §4.2.10), where some can.
    skippable: Option<usize>,
}

impl Inbound {
    pub(super) const fn new() -> Self {
        Self {
            protection: None,
            version: None,
            messages: Vec::new(),
            taken: 0,
            records: 0,
            ignored: 0,
            warnings: 0,
            skippable: None,
        }
    }

    /// Bytes taken from the connection so far.
    pub(super) const fn taken(&self) -> u32 {
        self.taken
    }

    /// Reads under another key from here on. The bytes before must have ended with a
    /// record (RFC 8446 §5.1).
    pub(super) fn protect(&mut self, protection: Key) -> Result<(), Fault> {
        self.must_be_empty()?;
        self.protection = Some(protection);
        Ok(())
    }

    /// The client sends early data, which is not accepted: records that can't be read are
    /// dropped until the first that can.
    pub(super) fn skip_early_data(&mut self) {
        self.skippable = Some(MAX_SKIPPED);
    }

    /// The sequence number of the next record.
    pub(super) fn sequence(&self) -> u64 {
        self.protection.as_ref().map_or(0, Key::sequence)
    }

    /// No message, nor a part of one, may be left.
    pub(super) fn must_be_empty(&self) -> Result<(), Fault> {
        match self.messages.is_empty() {
            true => Ok(()),
            false => Err(UNEXPECTED),
        }
    }

    /// Takes the next whole handshake message, with its header; of one that is longer than
    /// `limit`, its type.
    pub(super) fn take_message(
        &mut self,
        limit: u16,
    ) -> Result<Option<Result<Vec<u8>, TooLong>>, Fault> {
        let Some(&[kind, a, b, c]) = self.messages.first_chunk::<MESSAGE_HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, a, b, c]);
        if length > u32::from(limit) {
            return Ok(Some(Err(TooLong { kind })));
        }
        let end = MESSAGE_HEADER + usize::try_from(length).map_err(|_| DECODE)?;
        if self.messages.len() < end {
            return Ok(None);
        }
        if self.messages.len() == end {
            return Ok(Some(Ok(core::mem::take(&mut self.messages))));
        }
        Ok(Some(Ok(self.messages.drain(..end).collect())))
    }

    /// Takes one record from the connection, if there is a whole one.
    pub(super) fn take_record<D: Doorbell>(
        &mut self,
        channel: &mut Channel<D>,
        slot: SlotIndex,
    ) -> Result<Found, Fault> {
        let mut bytes = SlotBytes::new(channel, slot);
        let Some(incoming) = Incoming::fetch(&bytes)? else {
            return Ok(Found::Nothing);
        };
        let header = incoming.header();
        let (Some(kind), true) = (header.content_type(), header.is_tls()) else {
            return Err(match self.taken {
                0 => Fault::NotTls,
                _ => DECODE,
            });
        };
        if header.length() > self.longest() {
            return Err(Fault::Refused(Alert::RECORD_OVERFLOW));
        }
        if !incoming.is_whole(&bytes)? {
            return Ok(Found::Nothing);
        }
        self.records += 1;
        if self.records > MAX_RECORDS {
            return Err(UNEXPECTED);
        }
        let length = header.record_length();
        let mut record = alloc::vec![0; length];
        incoming.take(&mut bytes, &mut record)?;
        let whole = u32::try_from(length).unwrap_or(0);
        self.taken = self.taken.wrapping_add(whole);
        self.take(kind, &mut record)
    }

    /// The longest body of a record (RFC 8446 §5.2, RFC 5246 §6.2.3).
    fn longest(&self) -> usize {
        match (&self.protection, self.version) {
            (None, _) if self.skippable.is_some() => max_body(Version::Tls13),
            (None, _) => MAX_PLAINTEXT,
            (Some(_), version) => max_body(version.unwrap_or(Version::Tls12)),
        }
    }

    fn take(&mut self, kind: ContentType, record: &mut [u8]) -> Result<Found, Fault> {
        let is_13 = self.version == Some(Version::Tls13);
        match (kind, &mut self.protection) {
            // RFC 8446 §5: dropped, even if all else is protected.
            (ContentType::ChangeCipherSpec, _) if is_13 => {
                self.must_be_empty()?;
                self.ignored += 1;
                match (body_of(record), self.ignored) {
                    ([1], ..=MAX_IGNORED) => Ok(Found::Record),
                    _ => Err(UNEXPECTED),
                }
            }
            // A client that could not read the first protected record tells so
            // without protection.
            (ContentType::Alert, Some(protection)) if is_13 && protection.sequence() == 0 => {
                self.alert(body_of(record))
            }
            // RFC 8446 §4.2.10: a HelloRetryRequest leaves it without keys.
            (ContentType::ApplicationData, None) if self.skippable.is_some() => self.skip(record),
            (kind, Some(protection)) => {
                if is_13 && kind != ContentType::ApplicationData {
                    return Err(UNEXPECTED);
                }
                let (kind, text) = match protection.open(kind, record) {
                    Err(Alert::BAD_RECORD_MAC) if self.skippable.is_some() => {
                        return self.skip(record);
                    }
                    opened => opened.map_err(Fault::Refused)?,
                };
                self.skippable = None;
                self.plain(kind, record.get(text).unwrap_or_default())
            }
            (kind, None) => {
                if kind == ContentType::Handshake {
                    // RFC 8446 §4.1.2: a second ClientHello offers none.
                    self.skippable = None;
                }
                self.plain(kind, body_of(record))
            }
        }
    }

    /// Drops a record of early data.
    fn skip(&mut self, record: &[u8]) -> Result<Found, Fault> {
        let left = self.skippable.unwrap_or(0);
        let left = left.checked_sub(body_of(record).len());
        self.skippable = Some(left.ok_or(UNEXPECTED)?);
        Ok(Found::Record)
    }

    fn plain(&mut self, kind: ContentType, text: &[u8]) -> Result<Found, Fault> {
        match kind {
            // RFC 8446 §5.1: no empty fragments.
            ContentType::Handshake if text.is_empty() => Err(DECODE),
            ContentType::Handshake => {
                self.messages.extend_from_slice(text);
                Ok(Found::Record)
            }
            ContentType::Alert => self.alert(text),
            ContentType::ChangeCipherSpec if self.version == Some(Version::Tls12) => {
                // Its place is between messages, and never twice.
                self.must_be_empty()?;
                match (text, &self.protection) {
                    ([1], None) => Ok(Found::ChangeCipherSpec),
                    _ => Err(UNEXPECTED),
                }
            }
            ContentType::ChangeCipherSpec | ContentType::ApplicationData => Err(UNEXPECTED),
        }
    }

    /// RFC 8446 §6, RFC 5246 §7.2.
    fn alert(&mut self, text: &[u8]) -> Result<Found, Fault> {
        self.must_be_empty()?;
        let &[level, description] = text else {
            return Err(DECODE);
        };
        let alert = Alert(description);
        let is_harmless = match self.version {
            Some(Version::Tls13) => alert == Alert::USER_CANCELED,
            _ => level == 1 && alert != Alert::CLOSE_NOTIFY,
        };
        self.warnings += u8::from(is_harmless);
        if is_harmless && self.warnings <= MAX_WARNINGS {
            return Ok(Found::Record);
        }
        let error = HandshakeError::Peer(PeerError::AlertReceived(alert));
        Err(Fault::Over(error))
    }
}

/// What comes after the header of a record.
fn body_of(record: &[u8]) -> &[u8] {
    record.get(HEADER..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_message_that_is_too_long_the_type_is_told() {
        let mut inbound = Inbound::new();
        inbound.messages = vec![11, 0, 0, 3, 7, 7, 7];
        let taken = |inbound: &mut Inbound, limit| inbound.take_message(limit).ok().unwrap();
        let too_long = Some(Err(TooLong { kind: 11 }));
        assert_eq!(taken(&mut inbound, 2), too_long);
        let whole = taken(&mut inbound, 3).unwrap().unwrap();
        assert_eq!(whole.len(), 7);
        // Before it has come.
        inbound.messages = vec![11, 1, 0, 0];
        assert_eq!(taken(&mut inbound, u16::MAX), too_long);
    }
}
