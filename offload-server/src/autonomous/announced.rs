//! What a peer says in the clear, and rustls does not tell: how long a server's ticket of TLS
//! 1.2 is (RFC 5077 §3.3), which kinds of certificates it takes (RFC 5246 §7.4.4), and how many
//! entries lists have.

use ipc::keystore::KeyKind;
use tls::names::{ECDSA_SIGN, RSA_SIGN};
use tls::record::HEADER;
use tls::{Alert, ContentType, HandshakeType};

use super::lists::Lists;
use super::messages::{Messages, Part};

const ALERT: u8 = ContentType::Alert.number();
const HANDSHAKE: u8 = ContentType::Handshake.number();

/// What a CertificateRequest of TLS 1.2 says of keys: with which a client may sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    rsa: bool,
    ecdsa: bool,
}

impl Accepted {
    pub(crate) const fn accepts(self, kind: KeyKind) -> bool {
        match kind {
            KeyKind::Rsa => self.rsa,
            // RFC 8422 §5.5: EdDSA keys too.
            KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::Ed25519 => self.ecdsa,
        }
    }
}

/// What was seen of the messages so far.
#[derive(Default)]
pub(crate) struct Announced {
    messages: Messages,
    lists: Lists,
    kind: Option<HandshakeType>,
    /// ChangeCipherSpec arrived: what follows is encrypted. rustls takes none before the
    /// ticket that ServerHello promised.
    is_over: bool,
    ticket: usize,
    /// `None` without a CertificateRequest.
    accepted: Option<Accepted>,
    /// Its types that are to come; `None` before their number.
    types: Option<u8>,
}

impl Announced {
    /// Looks at the next record, with its header.
    ///
    /// # Errors
    /// The alert that is due for a list that is too long.
    pub(crate) fn look_at(&mut self, record: &[u8]) -> Result<(), Alert> {
        let payload = record.get(HEADER..).unwrap_or_default();
        match record.first() {
            Some(&HANDSHAKE) if self.is_over => return self.lists.look_at(payload),
            Some(&HANDSHAKE) => {}
            // A warning tells nothing, and the flight goes on after it.
            Some(&ALERT) => return Ok(()),
            _ => {
                self.is_over = true;
                self.lists.change();
                return Ok(());
            }
        }
        let mut rest = payload;
        while let Some(part) = self.messages.next(&mut rest) {
            match part {
                Part::Begins(kind, length) => {
                    self.kind = Some(kind);
                    match kind {
                        HandshakeType::NEW_SESSION_TICKET => {
                            self.ticket = self.ticket.max(length);
                        }
                        HandshakeType::CERTIFICATE_REQUEST => {
                            (self.accepted, self.types) = (Some(Accepted::default()), None);
                        }
                        _ => {}
                    }
                }
                Part::Body(part) if self.kind == Some(HandshakeType::CERTIFICATE_REQUEST) => {
                    self.read_types(part);
                }
                Part::Body(_) | Part::Ends(_) => {}
            }
        }
        self.lists.look_at(payload)
    }

    /// Entries of lists that are kept.
    pub(crate) const fn entries(&self) -> u32 {
        self.lists.kept()
    }

    /// A part of a CertificateRequest: its types come first.
    fn read_types(&mut self, part: &[u8]) {
        let (left, part) = match (self.types, part.split_first()) {
            (Some(left), _) => (left, part),
            (None, Some((count, rest))) => (*count, rest),
            (None, None) => return,
        };
        let types = part.get(..usize::from(left)).unwrap_or(part);
        let read = u8::try_from(types.len()).unwrap_or(left);
        self.types = Some(left.saturating_sub(read));
        if let Some(accepted) = &mut self.accepted {
            accepted.rsa |= types.contains(&RSA_SIGN);
            accepted.ecdsa |= types.contains(&ECDSA_SIGN);
        }
    }

    /// What the CertificateRequest accepts; `None` without one in the clear.
    pub(crate) const fn accepted(&self) -> Option<Accepted> {
        self.accepted
    }

    /// Bytes of the longest NewSessionTicket, without its header; zero without one.
    pub(crate) const fn ticket(&self) -> usize {
        self.ticket
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use tls::codec::MESSAGE_HEADER;

    use super::*;

    fn message(kind: u8, length: usize) -> Vec<u8> {
        let [_, _, _, _, _, a, b, c] = (length as u64).to_be_bytes();
        let mut message = vec![kind, a, b, c];
        message.resize(MESSAGE_HEADER + length, 4);
        message
    }

    fn ticket_in(messages: &[u8], size: usize, kind: u8) -> usize {
        let mut seen = Announced::default();
        for part in messages.chunks(size) {
            let [high, low] = (part.len() as u16).to_be_bytes();
            let _ = seen.look_at(&[&[kind, 3, 3, high, low], part].concat());
        }
        seen.ticket()
    }

    #[test]
    fn a_ticket_is_found_however_the_flight_is_cut() {
        let flight = [
            message(2, 80),
            message(11, 3000),
            message(14, 0),
            message(4, 5000),
        ];
        let flight = flight.concat();
        for size in [1, 2, 3, 5, 1000, 9000] {
            assert_eq!(ticket_in(&flight, size, HANDSHAKE), 5000, "{size}");
        }
        assert_eq!(ticket_in(&message(2, 80), 10, HANDSHAKE), 0);
    }

    #[test]
    fn the_kinds_of_a_request_are_found_however_the_flight_is_cut() {
        for (types, rsa, ecdsa) in [
            (&[3, 1, 64, 2][..], true, true),
            (&[1, 64], false, true),
            (&[2, 2, 1], true, false),
            (&[0], false, false),
        ] {
            // Signature schemes and authorities, which are no types.
            let body = [types, &[0, 2, 64, 1, 0, 0]].concat();
            let length = u8::try_from(body.len()).unwrap();
            let request = [&[13, 0, 0, length][..], &body].concat();
            let flight = [message(2, 80), message(11, 300), request, message(14, 0)].concat();
            for size in [1, 2, 3, 5, 1000] {
                let mut seen = Announced::default();
                for part in flight.chunks(size) {
                    let [high, low] = (part.len() as u16).to_be_bytes();
                    let _ = seen.look_at(&[&[HANDSHAKE, 3, 3, high, low], part].concat());
                }
                assert_eq!(seen.accepted(), Some(Accepted { rsa, ecdsa }), "{size}");
            }
        }
        assert_eq!(Announced::default().accepted(), None);
    }

    #[test]
    fn what_is_encrypted_announces_nothing() {
        let mut seen = Announced::default();
        let _ = seen.look_at(&[20, 3, 3, 0, 1, 1]);
        let _ = seen.look_at(&[22, 3, 3, 0, 4, 4, 0, 99, 0]);
        assert_eq!(seen.ticket(), 0);
        assert_eq!(ticket_in(&message(4, 50), 100, 23), 0);
        let mut seen = Announced::default();
        let _ = seen.look_at(&[21, 3, 3, 0, 2, 1, 90]);
        let _ = seen.look_at(&[22, 3, 3, 0, 4, 4, 0, 99, 0]);
        assert_eq!(seen.ticket(), 99 << 8, "after a warning");
    }
}
