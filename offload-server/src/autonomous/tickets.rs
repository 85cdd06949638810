//! Resumption (R33): issued tickets, and received ones.
//!
//! As a server this component keeps nothing for a session that is over: all of it is in
//! the ticket, sealed under a key that is replaced each hour and never leaves this domain
//! (RFC 8446 §4.6.1, RFC 5077). One bit is kept for each ticket: whether it was used (RFC
//! 8446 §8.1). A chain of resumptions is bounded by its full handshake
//! ([`crate::full_handshake`]).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ipc::clock::Instant;
use ipc::control::Parameters;
use ring::digest;
use rustls::NamedGroup;
use rustls::client::{
    ClientConnectionData, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::kernel::KernelConnection;
use rustls::pki_types::ServerName;
use rustls::server::ProducesTickets;
use spin::Mutex;
use tls::Alert;
use zeroize::Zeroizing;

use super::current::{Current, Facts};
use crate::convert;
use crate::full_handshake::FullHandshake;
use crate::keyring::Keyring;
use crate::session::TakeTickets;
use crate::session_cache::{MAX_CHAIN, MAX_TICKET, Places, SessionCache};
use crate::ticket_keys::{ROTATION, TicketKeys};
use crate::time::Time;

/// The most that a ticket carries, in bytes: a client's chain with a certificate as long as is
/// kept, and others. A client says it again in its hello, which is to be no trouble for anybody.
const MAX_PLAIN: usize = 6 * 1024;

impl TicketKeys {
    /// Tickets for sessions that were requested with these parameters: a request with
    /// other parameters may not resume them. A client without a certificate could
    /// otherwise come in through a ticket. Nor is one of a ring's sessions resumed under
    /// another ring.
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
        // Without one, the client was just accepted as anonymous.
        let full = self.current.facts().full;
        let full = full.unwrap_or_else(|| FullHandshake::new(now, &[]));
        if !full.can_be_resumed(now) || plain.len() > MAX_PLAIN {
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

/// rustls' part of a client, for what is after its handshake.
pub(crate) struct AfterHandshake {
    pub(super) connection: KernelConnection<ClientConnectionData>,
    pub(super) facts: Facts,
    pub(super) current: Arc<Current>,
}

impl TakeTickets for AfterHandshake {
    fn take(&mut self, ticket: &[u8], _now: Instant) -> Result<(), Alert> {
        let connection = &mut self.connection;
        let take = || connection.handle_new_session_ticket(ticket);
        let taken = self.current.with(&mut self.facts, take);
        taken.map_err(|error| convert::alert_for(&error))
    }
}

/// What a client remembers of one server under one configuration.
pub(crate) struct Remembered {
    memory: Mutex<Memory>,
    current: Arc<Current>,
    time: Arc<dyn Time>,
}

struct Memory {
    group: Option<NamedGroup>,
    sessions: SessionCache<(FullHandshake, Session)>,
}

enum Session {
    Tls12(Tls12ClientSessionValue),
    Tls13(Tls13ClientSessionValue),
}

impl Remembered {
    /// Bytes of the list in it.
    pub(crate) const LIST: usize = SessionCache::<(FullHandshake, Session)>::LIST;

    pub(crate) fn new(current: Arc<Current>, time: Arc<dyn Time>, places: Arc<Places>) -> Self {
        Self {
            memory: Mutex::new(Memory {
                group: None,
                sessions: SessionCache::new(places),
            }),
            current,
            time,
        }
    }

    /// The latest that can be resumed: no other handshake offers it until this one has
    /// ended (RFC 8446 §C.4).
    fn take(&self, wanted: impl Fn(&Session) -> bool) -> Option<Session> {
        let sessions = &mut self.memory.lock().sessions;
        let now = self.time.now();
        sessions.retain(|(full, _)| full.can_be_resumed(now));
        let (full, session) = sessions.take(|(_, session)| wanted(session))?;
        self.current.set_full(Some(full));
        Some(session)
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

    // If the server of a session that was resumed gave no new ticket, this is its old one
    // (RFC 5077 §3.3).
    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        let facts = self.current.facts();
        let fits = facts.chain <= MAX_CHAIN && facts.ticket <= MAX_TICKET;
        if let Some(full) = facts.full.filter(|_| fits) {
            let session = (full, Session::Tls12(value));
            self.memory.lock().sessions.push(session);
        }
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        match self.take(|session| matches!(session, Session::Tls12(_)))? {
            Session::Tls12(value) => Some(value),
            Session::Tls13(_) => None,
        }
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        let sessions = &mut self.memory.lock().sessions;
        sessions.retain(|(_, session)| matches!(session, Session::Tls13(_)));
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        if let Some(full) = self.current.facts().full {
            let session = (full, Session::Tls13(value));
            self.memory.lock().sessions.push(session);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        match self.take(|session| matches!(session, Session::Tls13(_)))? {
            Session::Tls13(value) => Some(value),
            Session::Tls12(_) => None,
        }
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
                schemes: ipc::tls::Schemes::new(),
                judge: None,
                identity: None,
                stapled: None,
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
        // The chain goes on, and ends, also for a client that skips resumptions in
        // between.
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
