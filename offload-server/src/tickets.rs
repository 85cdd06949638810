//! Resumption (R33): tickets that are given away, and those that were taken.
//!
//! As a server this component keeps nothing for a session that is over: all of
//! it is in the ticket, sealed under a key that is replaced each hour and never
//! leaves this domain (RFC 8446 §4.6.1, RFC 5077). One bit is kept for each
//! ticket: whether it was used (RFC 8446 §8.1). What is resumed by tickets again and
//! again is bounded by its full handshake ([`crate::full_handshake`]).

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ipc::control::Parameters;
use ring::digest;
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::server::ProducesTickets;
use spin::Mutex;
use zeroize::Zeroizing;

use crate::current::Current;
use crate::full_handshake::FullHandshake;
use crate::keyring::Keyring;
use crate::ticket_keys::{ROTATION, TicketKeys};
use crate::time::Time;

/// Bytes of a server's chain that is kept with its tickets, and by each session that
/// takes some. No tickets are taken from a server whose chain is longer.
pub(crate) const MAX_CHAIN: usize = 4096;
/// Tickets that are kept from one server.
pub(crate) const MOST_TAKEN: usize = 4;

impl TicketKeys {
    /// Tickets for sessions that were asked for with these parameters: what
    /// one request allowed, another with other parameters may not resume. A
    /// client without a certificate could otherwise come in through a ticket. Nor is
    /// one of a ring's sessions resumed under another ring.
    pub(crate) fn ticketer(
        self: &Arc<Self>,
        parameters: &Parameters,
        rings: &[Arc<Keyring>],
        current: Arc<Current>,
    ) -> Arc<dyn ProducesTickets> {
        let mut buffer = [0; ipc::transport::MAX_MESSAGE];
        let context = postcard::to_slice(parameters, &mut buffer)
            .ok()
            .map(|bytes| digest::digest(&digest::SHA256, bytes));
        Arc::new(Ticketer {
            keys: self.clone(),
            context,
            rings: rings.to_vec(),
            current,
        })
    }
}

/// Seals and opens tickets for one configuration.
#[derive(Debug)]
struct Ticketer {
    keys: Arc<TicketKeys>,
    /// What the session was asked for with; authenticated with the ticket.
    context: Option<digest::Digest>,
    /// Which is chosen is authenticated, too.
    rings: Vec<Arc<Keyring>>,
    current: Arc<Current>,
}

impl Ticketer {
    /// For the handshake in work; `None` before a ring is chosen.
    fn context(&self) -> Option<Vec<u8>> {
        let ring = self.rings.get(self.current.facts().ring?)?;
        Some([self.context.as_ref()?.as_ref(), ring.label.as_bytes()].concat())
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        self.context.is_some()
    }

    fn lifetime(&self) -> u32 {
        ROTATION
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let now = self.keys.now();
        // Without one, the client has just been let in as nobody.
        let full = self.current.facts().full;
        let full = full.unwrap_or_else(|| FullHandshake::new(now, &[]));
        if !full.can_be_resumed(now) {
            return None;
        }
        let plain = Zeroizing::new([&full.to_bytes()[..], plain].concat());
        self.keys.seal(&self.context()?, &plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        // Of tickets that one hello has, the last that opens is the one that counts.
        self.current.set_full(None);
        let opened = Zeroizing::new(self.keys.open(&self.context()?, cipher)?);
        let (full, plain) = FullHandshake::split_from(&opened)?;
        if !full.can_be_resumed(self.keys.now()) {
            return None;
        }
        self.current.set_full(Some(full));
        Some(plain.to_vec())
    }
}

/// What a client remembers of one server under one configuration.
pub(crate) struct Remembered {
    memory: Mutex<Memory>,
    current: Arc<Current>,
    time: Arc<dyn Time>,
}

#[derive(Default)]
struct Memory {
    group: Option<NamedGroup>,
    tls12: Option<(FullHandshake, Tls12ClientSessionValue)>,
    tls13: VecDeque<(FullHandshake, Tls13ClientSessionValue)>,
}

impl Remembered {
    pub(crate) fn new(current: Arc<Current>, time: Arc<dyn Time>) -> Self {
        Self {
            memory: Mutex::default(),
            current,
            time,
        }
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remembered")
    }
}

// One configuration has one server name: it need not be looked at.
impl ClientSessionStore for Remembered {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.memory.lock().group = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.memory.lock().group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        let facts = self.current.facts();
        let full = facts.full.filter(|_| facts.chain <= MAX_CHAIN);
        self.memory.lock().tls12 = full.map(|full| (full, value));
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        let tls12 = &mut self.memory.lock().tls12;
        let now = self.time.now();
        tls12.take_if(|(full, _)| !full.can_be_resumed(now));
        let (full, value) = tls12.clone()?;
        self.current.set_full(Some(full));
        Some(value)
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.memory.lock().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let Some(full) = self.current.facts().full else {
            return;
        };
        let tickets = &mut self.memory.lock().tls13;
        if tickets.len() == MOST_TAKEN {
            tickets.pop_front();
        }
        tickets.push_back((full, value));
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let tickets = &mut self.memory.lock().tls13;
        let now = self.time.now();
        tickets.retain(|(full, _)| full.can_be_resumed(now));
        let (full, value) = tickets.pop_back()?;
        self.current.set_full(Some(full));
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticket_keys::tests::keys;
    use core::sync::atomic::Ordering;

    #[test]
    fn a_ticket_is_good_under_its_ring_alone_and_as_long_as_its_session_may_be_resumed() {
        use crate::full_handshake::MAX_AGE;
        use ipc::bounded::Text;
        use ipc::keystore::KeyringIndex;
        let (keys, time) = keys();
        let ring = |label| {
            Arc::new(Keyring {
                index: KeyringIndex(0),
                label: Text::from_text(label).unwrap(),
                kind: None,
                trust: Vec::new(),
                identity: None,
            })
        };
        let current = Arc::new(Current::default());
        let ticketer = Ticketer {
            keys,
            context: Some(digest::digest(&digest::SHA256, b"asked")),
            rings: vec![ring("a"), ring("b")],
            current: current.clone(),
        };
        assert_eq!(ticketer.encrypt(b"state"), None);
        current.set_ring(0);
        let ticket = ticketer.encrypt(b"state").unwrap();
        current.set_ring(1);
        assert_eq!(ticketer.decrypt(&ticket), None);
        current.set_ring(0);
        assert_eq!(ticketer.decrypt(&ticket).unwrap(), b"state");
        // The chain goes on, and ends, also for one who never comes back in between.
        let begun = current.facts().full;
        assert!(begun.is_some());
        time.0.fetch_add(MAX_AGE.as_secs() - 1, Ordering::Relaxed);
        let last = ticketer.encrypt(b"state").unwrap();
        time.0.fetch_add(1, Ordering::Relaxed);
        assert_eq!(ticketer.encrypt(b"state"), None);
        assert_eq!(ticketer.decrypt(&last), None);
        assert_eq!(current.facts().full, None);
    }
}
