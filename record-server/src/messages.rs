//! Handshake messages after the handshake, out of records (R33).
//!
//! What is kept of them is bounded for each session: a server's peer may send KeyUpdates,
//! so no more than one of those is ever kept ([`SMALL`] bytes); a client's may send
//! tickets, which go into one of a few buffers that all sessions share
//! ([`crate::tickets`]). A ticket that finds none, or is too long, is skipped: a client
//! may ignore it (RFC 8446 §4.6.1).

use alloc::vec::Vec;

use ipc::record::MAX_POST_HANDSHAKE;
use tls::codec::MESSAGE_HEADER;
use tls::{Alert, HandshakeType, Role, Version};

/// A whole KeyUpdate, or the header of another message: what every session may
/// keep without a buffer.
pub(crate) const SMALL: usize = MESSAGE_HEADER + 1;
/// The longest message that is skipped. A NewSessionTicket of TLS 1.3 has two
/// vectors of 2¹⁶ bytes and less than 300 bytes beside them; a ClientHello is
/// shorter.
const MAX_SKIPPED: usize = (2 << 16) + 300;

/// The beginning of what the peer says after the handshake.
pub(crate) struct Messages {
    version: Version,
    role: Role,
    /// Whole messages that were not asked about yet, and the beginning of one.
    kept: Vec<u8>,
    /// Bytes to come of a message that is skipped.
    skip: usize,
    /// TLS 1.2: the peer got a no_renegotiation warning.
    is_declined: bool,
}

/// What stands first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing that is whole.
    Nothing,
    /// A message for the offload component, of so many bytes.
    Message(usize),
    /// TLS 1.2: the peer asks for a renegotiation, for the first time.
    Renegotiation,
}

impl Messages {
    pub(crate) const fn new(version: Version, role: Role) -> Self {
        Self {
            version,
            role,
            kept: Vec::new(),
            skip: 0,
            is_declined: false,
        }
    }

    /// Whether a message has begun and not ended: no other content type may come
    /// between (RFC 8446 §5.1).
    pub(crate) fn is_amid(&self) -> bool {
        self.skip > 0 || !self.kept.is_empty()
    }

    /// Whether a shared buffer holds what is kept.
    pub(crate) fn needs_buffer(&self) -> bool {
        self.kept.len() > SMALL
    }

    /// Takes the bytes of one record.
    pub(crate) fn add(&mut self, text: &[u8]) {
        let skipped = self.skip.min(text.len());
        self.skip -= skipped;
        let rest = text.get(skipped..).unwrap_or_default();
        self.kept.reserve_exact(rest.len());
        self.kept.extend_from_slice(rest);
    }

    /// What stands first; what is skipped is gone from it.
    ///
    /// # Errors
    /// The alert that the RFC names.
    pub(crate) fn next(&mut self) -> Result<Next, Alert> {
        loop {
            let Some(&kind) = self.kept.first() else {
                return Ok(Next::Nothing);
            };
            let kind = HandshakeType(kind);
            // Judged by its first byte: what is none is not waited for.
            let is_ticket = kind == HandshakeType::NEW_SESSION_TICKET && self.role == Role::Client;
            // RFC 5246 §7.4.1.1, §7.4.1.2.
            let asks = match self.role {
                Role::Server => HandshakeType::CLIENT_HELLO,
                Role::Client => HandshakeType::HELLO_REQUEST,
            };
            match self.version {
                Version::Tls13 if kind == HandshakeType::KEY_UPDATE || is_ticket => {}
                Version::Tls12 if kind == asks => {}
                _ => return Err(Alert::UNEXPECTED_MESSAGE),
            }
            let Some(&[_, a, b, c]) = self.kept.first_chunk::<MESSAGE_HEADER>() else {
                return Ok(Next::Nothing);
            };
            let length = u32::from_be_bytes([0, a, b, c]) as usize + MESSAGE_HEADER;
            if self.version == Version::Tls12 {
                self.skip_first(length)?;
                // RFC 5246 §7.2.2; once, then it is a fault, as in rustls
                // (`allowed_renegotiation_requests`).
                return match core::mem::replace(&mut self.is_declined, true) {
                    false => Ok(Next::Renegotiation),
                    true => Err(Alert::NO_RENEGOTIATION),
                };
            }
            if kind == HandshakeType::KEY_UPDATE {
                // RFC 8446 §4.6.3: one byte; and a message that changes keys ends
                // its record (§5.1).
                if length != SMALL {
                    return Err(Alert::DECODE_ERROR);
                }
                return match self.kept.len() {
                    ..SMALL => Ok(Next::Nothing),
                    SMALL => Ok(Next::Message(SMALL)),
                    _ => Err(Alert::UNEXPECTED_MESSAGE),
                };
            }
            if length > MAX_POST_HANDSHAKE {
                self.skip_first(length)?;
                continue;
            }
            return Ok(match self.kept.len() < length {
                true => Next::Nothing,
                false => Next::Message(length),
            });
        }
    }

    /// The message that stands first.
    pub(crate) fn first(&self, length: usize) -> &[u8] {
        self.kept.get(..length).unwrap_or_default()
    }

    /// Drops so many bytes: they were dealt with.
    pub(crate) fn drop_first(&mut self, length: usize) {
        self.kept.drain(..length.min(self.kept.len()));
        self.tidy();
    }

    /// Gives memory back that is not needed between two records.
    pub(crate) fn tidy(&mut self) {
        if self.kept.len() <= SMALL {
            self.kept.shrink_to_fit();
        }
    }

    /// Drops tickets, whole or begun, so that no buffer is needed.
    pub(crate) fn give_up_tickets(&mut self) {
        while self.kept.first() == Some(&HandshakeType::NEW_SESSION_TICKET.0) {
            let Some(&[_, a, b, c]) = self.kept.first_chunk::<MESSAGE_HEADER>() else {
                break;
            };
            let length = u32::from_be_bytes([0, a, b, c]) as usize + MESSAGE_HEADER;
            let dropped = length.min(self.kept.len());
            self.kept.drain(..dropped);
            self.skip = length - dropped;
        }
        // What is left is a KeyUpdate or less: it ends its record.
        self.kept.truncate(SMALL);
        self.tidy();
    }

    /// Skips the message that stands first, as far as it is there, and the rest when
    /// it comes.
    fn skip_first(&mut self, length: usize) -> Result<(), Alert> {
        if length > MAX_SKIPPED {
            return Err(Alert::DECODE_ERROR);
        }
        let dropped = length.min(self.kept.len());
        self.kept.drain(..dropped);
        self.skip = length - dropped;
        self.tidy();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, length: usize) -> Vec<u8> {
        let [_, a, b, c] = (length as u32).to_be_bytes();
        let mut message = vec![kind, a, b, c];
        message.resize(MESSAGE_HEADER + length, kind);
        message
    }

    fn client() -> Messages {
        Messages::new(Version::Tls13, Role::Client)
    }

    fn server() -> Messages {
        Messages::new(Version::Tls13, Role::Server)
    }

    #[test]
    fn r33_several_tickets_in_one_record_are_taken_one_by_one() {
        let mut messages = client();
        let both = [message(4, 30), message(4, 50)].concat();
        messages.add(&both[..60]);
        assert_eq!(messages.next(), Ok(Next::Message(34)));
        assert_eq!(messages.first(34), &both[..34]);
        messages.drop_first(34);
        assert_eq!(messages.next(), Ok(Next::Nothing));
        messages.add(&both[60..]);
        assert_eq!(messages.next(), Ok(Next::Message(54)));
        assert_eq!(messages.first(54), &both[34..]);
    }

    #[test]
    fn a_key_update_ends_its_record() {
        let mut messages = client();
        messages.add(&[message(24, 1), message(4, 10)].concat());
        assert_eq!(messages.next(), Err(Alert::UNEXPECTED_MESSAGE));
        let mut messages = client();
        messages.add(&[message(4, 10), message(24, 1)].concat());
        assert_eq!(messages.next(), Ok(Next::Message(14)));
        messages.drop_first(14);
        assert_eq!(messages.next(), Ok(Next::Message(5)));
    }

    #[test]
    fn what_a_server_s_peer_may_not_say_is_refused_by_its_first_byte() {
        for kind in (0..=255).filter(|kind| *kind != 24) {
            let mut messages = server();
            messages.add(&[kind]);
            assert_eq!(messages.next(), Err(Alert::UNEXPECTED_MESSAGE), "{kind}");
        }
        for length in [0, 2, 4096, 0xff_ffff] {
            let mut messages = server();
            messages.add(&message(24, length)[..4]);
            assert_eq!(messages.next(), Err(Alert::DECODE_ERROR), "{length}");
        }
    }

    #[test]
    fn a_server_s_session_never_keeps_more_than_a_key_update() {
        let update = message(24, 1);
        for cut in 0..=update.len() {
            let mut messages = server();
            for byte in &update[..cut] {
                messages.add(&[*byte]);
                messages.next().unwrap();
                messages.tidy();
            }
            assert!(
                messages.kept.capacity() <= 8,
                "{}",
                messages.kept.capacity()
            );
            assert!(!messages.needs_buffer());
        }
    }

    #[test]
    fn a_ticket_longer_than_is_passed_on_is_skipped_and_what_follows_is_taken() {
        let mut messages = client();
        let bytes = [message(4, 70_000), message(4, 9)].concat();
        for part in bytes.chunks(1000) {
            messages.add(part);
            let next = messages.next().unwrap();
            assert!(matches!(next, Next::Nothing | Next::Message(13)));
            assert!(messages.kept.len() < 1000);
        }
        assert_eq!(messages.next(), Ok(Next::Message(13)));
        let mut messages = client();
        messages.add(&message(4, 200_000)[..100]);
        assert_eq!(messages.next(), Err(Alert::DECODE_ERROR));
    }

    #[test]
    fn tickets_are_given_up_whole_or_begun_and_a_key_update_is_not() {
        let bytes = [message(4, 300), message(4, 300), message(24, 1)].concat();
        for cut in 0..=bytes.len() {
            let mut messages = client();
            messages.add(&bytes[..cut]);
            messages.give_up_tickets();
            assert!(!messages.needs_buffer(), "{cut}");
            messages.add(&bytes[cut..]);
            let mut last = Vec::new();
            while let Next::Message(length) = messages.next().unwrap() {
                last = messages.first(length).to_vec();
                messages.drop_first(length);
            }
            assert_eq!(last, message(24, 1), "{cut}");
        }
    }

    #[test]
    fn a_renegotiation_is_declined_once() {
        for (role, kind, length) in [(Role::Server, 1, 900), (Role::Client, 0, 0)] {
            let mut messages = Messages::new(Version::Tls12, role);
            let bytes = message(kind, length);
            let mut declined = 0;
            for byte in &bytes {
                messages.add(&[*byte]);
                declined += u32::from(messages.next() == Ok(Next::Renegotiation));
                assert!(messages.kept.capacity() <= 8);
            }
            assert_eq!(declined, 1, "{role:?}");
            assert!(!messages.is_amid());
            messages.add(&bytes);
            assert_eq!(messages.next(), Err(Alert::NO_RENEGOTIATION));
        }
    }

    #[test]
    fn in_tls12_only_a_request_to_renegotiate_is_declined() {
        for (role, allowed) in [(Role::Server, 1), (Role::Client, 0)] {
            for kind in (0..=255).filter(|kind| *kind != allowed) {
                let mut messages = Messages::new(Version::Tls12, role);
                messages.add(&[kind]);
                assert_eq!(messages.next(), Err(Alert::UNEXPECTED_MESSAGE), "{kind}");
            }
        }
    }
}
