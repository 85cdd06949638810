//! Giving tickets, and resuming sessions by them (R33).

use alloc::sync::Arc;
use alloc::vec;

use ipc::segment::{Binder, Place, Ticket, Verdict};
use ring::digest::Digest;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::SupportedCipherSuite;
use rustls::crypto::hash::Hash;
use rustls::pki_types::CertificateDer;
use subtle::ConstantTimeEq;
use tls::codec::{MESSAGE_HEADER, Message, Writer};
use tls::schedule12::Master;
use tls::schedule13::{ResumptionSecret, Schedule};
use tls::{Alert, CipherSuite, Role, Version};

use super::peer::Peer;
use super::received::{ReceivedTicket, TicketCache, Tickets};
use super::resumable_session::{ResumableSession, fits};
use super::{Context, Directed, Fault, Keys};
use crate::convert;

/// What the list of binders and the one in it begin with.
const BINDERS_HEADER: usize = 3;

/// What tickets of this session will carry.
pub(super) enum Prepared {
    /// TLS 1.2: the master secret.
    Master(Digest),
    /// TLS 1.3, server.
    Server(Digest, ResumptionSecret),
    /// TLS 1.3, client: the server sends them.
    Client(ResumptionSecret),
}

impl Directed {
    // ---- resuming ----

    /// Client: finds a session to offer.
    pub(super) fn take_ticket(&mut self, context: &Context<'_>) -> Result<Verdict, Fault> {
        let taken = self
            .resumption
            .kept()
            .and_then(|kept| kept.take(context.now, context.moment()));
        let Some((received, resumable)) = taken else {
            return Ok(Verdict::Ticket(None));
        };
        let ticket = Ticket {
            suite: resumable.suite,
            length: u16::try_from(received.ticket.len()).map_err(|_| Fault::INTERNAL)?,
            session_id: random()?,
        };
        self.resumable = Some(resumable);
        self.ticket = Some(received);
        Ok(Verdict::Ticket(Some(ticket)))
    }

    /// Server: opens a ticket of the client's hello.
    pub(super) fn open_ticket(
        &mut self,
        version: Version,
        server_name: Option<&str>,
        place: Place,
        context: &Context<'_>,
    ) -> Result<Verdict, Fault> {
        let now = context.moment();
        let message = self.message.as_ref().ok_or(Fault::INTERNAL)?;
        let ticket = part(message.body(), place)?;
        let resumable = self
            .ticket_context(version, server_name)
            .and_then(|context| self.resumption.open(&context, ticket, now))
            .filter(|resumable| resumable.suite.version() == version);
        let answer = resumable.as_ref().map(|resumable| Ticket {
            suite: resumable.suite,
            length: place.length,
            session_id: [0; 32],
        });
        self.resumable = resumable;
        Ok(Verdict::Ticket(answer))
    }

    /// Takes the secret and the peer of the resumed session.
    pub(super) fn resume(&mut self, binder: Option<&Binder>) -> Result<(), Fault> {
        let resumable = self.resumable.take().ok_or(Fault::INTERNAL)?;
        let suite = self.suite().ok_or(Fault::INTERNAL)?;
        match suite.version() {
            Version::Tls13 => {
                // RFC 8446 §4.2.11: the pre-shared key goes with a hash.
                if resumable.suite.version() != Version::Tls13
                    || resumable.suite.hash() != suite.hash()
                {
                    return Err(Fault::INTERNAL);
                }
                let hash = hash_of(suite)?;
                let schedule =
                    Schedule::with_pre_shared_key(resumable.suite.hash(), resumable.secret());
                match (self.role, binder) {
                    (Role::Server, Some(binder)) => self.check(&schedule, hash, binder)?,
                    (Role::Client, None) => {}
                    _ => return Err(Fault::INTERNAL),
                }
                self.early = Some(schedule);
            }
            Version::Tls12 => {
                if resumable.suite != suite {
                    return Err(Fault::INTERNAL);
                }
                let master = Master::resumed(suite, resumable.secret());
                self.keys = Keys::Master(master.ok_or(Fault::INTERNAL)?);
            }
        }
        self.full = Some(resumable.full());
        self.peer = match resumable.into_peer() {
            Some(certificate) => Peer::Proved(vec![certificate]),
            None => Peer::Unknown,
        };
        self.is_resumed = true;
        Ok(())
    }

    /// The binder of the hello received last (RFC 8446 §4.2.11.2).
    fn check(
        &self,
        schedule: &Schedule,
        hash: &'static dyn Hash,
        binder: &Binder,
    ) -> Result<(), Fault> {
        let message = self.message.as_ref().ok_or(Fault::INTERNAL)?;
        if message.is_in_transcript {
            return Err(Fault::INTERNAL);
        }
        let claimed = part(message.body(), binder.binder)?;
        let end = MESSAGE_HEADER + usize::from(binder.list);
        let bound = message.bytes.get(..end).ok_or(Fault::INTERNAL)?;
        let transcript = self.transcript.hash_with(hash, bound);
        let expected = schedule
            .binder(transcript.as_ref())
            .ok_or(Fault::INTERNAL)?;
        match bool::from(expected.as_ref().ct_eq(claimed)) {
            true => Ok(()),
            false => Err(Fault::Refused(Alert::DECRYPT_ERROR)),
        }
    }

    /// Client: ends its hello with the binder of the session offered.
    pub(super) fn write_binders(&self, hello: &mut Message) -> Result<(), Fault> {
        let resumable = self.resumable.as_ref().ok_or(Fault::INTERNAL)?;
        let hash = hash_of(resumable.suite)?;
        let length = u8::try_from(hash.output_len()).map_err(|_| Fault::INTERNAL)?;
        // What is bound has the lengths of the whole.
        let whole = hello.length() + BINDERS_HEADER + usize::from(length);
        hello.set_length(1, 3, whole.saturating_sub(MESSAGE_HEADER));
        let schedule = Schedule::with_pre_shared_key(resumable.suite.hash(), resumable.secret());
        let transcript = self.transcript.hash_with(hash, hello.written());
        let binder = schedule
            .binder(transcript.as_ref())
            .ok_or(Fault::INTERNAL)?;
        hello.nested(0, |w| {
            w.vec8(binder.as_ref());
        });
        Ok(())
    }

    /// Client: the ticket of the session offered.
    pub(super) fn ticket(&self) -> Result<&ReceivedTicket, Fault> {
        self.ticket.as_ref().ok_or(Fault::INTERNAL)
    }

    // ---- being resumed ----

    /// Makes what tickets of this session carry.
    pub(super) fn prepare_ticket(
        &mut self,
        server_name: Option<&str>,
        context: &Context<'_>,
    ) -> Result<Verdict, Fault> {
        self.absorb();
        let version = self.version().ok_or(Fault::INTERNAL)?;
        let now = context.moment();
        let can_be_resumed = self.full.is_some_and(|full| full.can_be_resumed(now));
        if !can_be_resumed || self.certificate().is_some_and(|peer| !fits(peer)) {
            return Ok(Verdict::Ticket(None));
        }
        let secret = match &self.keys {
            Keys::Application { master, .. } => {
                let hash = self.transcript.hash().ok_or(Fault::INTERNAL)?;
                Some(master.resumption(hash.as_ref()).ok_or(Fault::INTERNAL)?)
            }
            Keys::Master(_) => None,
            _ => return Err(Fault::INTERNAL),
        };
        let context = self.ticket_context(version, server_name);
        self.prepared = match (self.role, secret, context) {
            (Role::Server, None, Some(context)) => Some(Prepared::Master(context)),
            (Role::Server, Some(secret), Some(context)) => Some(Prepared::Server(context, secret)),
            (Role::Client, Some(secret), _) if self.resumption.kept().is_some() => {
                Some(Prepared::Client(secret))
            }
            _ => return Ok(Verdict::Ticket(None)),
        };
        Ok(Verdict::Done)
    }

    /// What a server's ticket is sealed for; `None` before the ring is known.
    fn ticket_context(&self, version: Version, server_name: Option<&str>) -> Option<Digest> {
        self.resumption.context(version, self.ring?, server_name)
    }

    /// Server: a ticket; none is empty (RFC 5077 §3.3).
    pub(super) fn write_ticket(&self, nonce: u8, out: &mut Message) -> Result<(), Fault> {
        let full = self.full.ok_or(Fault::INTERNAL)?;
        let suite = self.suite().ok_or(Fault::INTERNAL)?;
        let peer = self.certificate();
        let (context, resumable) = match (&self.prepared, &self.keys) {
            (Some(Prepared::Server(context, secret)), _) => {
                let key = secret.pre_shared_key(&[nonce]).ok_or(Fault::INTERNAL)?;
                (
                    context,
                    ResumableSession::new(suite, key.expose(), peer, full),
                )
            }
            (Some(Prepared::Master(context)), Keys::Master(master)) => (
                context,
                ResumableSession::new(suite, master.expose(), peer, full),
            ),
            (None, Keys::Master(_)) => return Ok(()),
            _ => return Err(Fault::INTERNAL),
        };
        let ticket = resumable.and_then(|resumable| self.resumption.seal(context, &resumable));
        out.bytes(&ticket.ok_or(Fault::INTERNAL)?);
        Ok(())
    }

    /// TLS 1.2, client: takes the ticket of the message received last.
    pub(super) fn keep_ticket(&mut self, context: &Context<'_>) -> Result<(), Fault> {
        let message = self.message.as_ref().ok_or(Fault::INTERNAL)?;
        let received =
            ReceivedTicket::parse12(message.body(), context.now).map_err(Fault::Refused)?;
        // Without a new one the old one stays good.
        if received.is_some() {
            self.ticket = received;
            self.is_new_ticket = true;
        }
        Ok(())
    }

    /// The handshake is finished: TLS 1.2, client: keeps the ticket that the
    /// session has, new or old; TLS 1.3, client: what takes those to come.
    pub(super) fn remember(&mut self) -> Option<Tickets> {
        let kept: Arc<TicketCache> = self.resumption.kept()?.clone();
        let suite = self.suite()?;
        let peer = self.certificate().cloned();
        let full = self.full?;
        if let Keys::Master(master) = &self.keys {
            let is_good = self.is_new_ticket || self.is_resumed;
            if let Some(received) = self.ticket.take().filter(|_| is_good) {
                kept.keep12(
                    received,
                    ResumableSession::new(suite, master.expose(), peer.as_ref(), full),
                );
            }
            return None;
        }
        match self.prepared.take()? {
            Prepared::Client(secret) => Some(Tickets {
                suite,
                secret,
                peer,
                full,
                kept,
            }),
            _ => None,
        }
    }

    /// The peer's own certificate, if it proved to have its key.
    fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.peer.proved()?.first()
    }
}

/// The hash of a suite of TLS 1.3.
fn hash_of(suite: CipherSuite) -> Result<&'static dyn Hash, Fault> {
    match convert::primitives(suite) {
        Some(SupportedCipherSuite::Tls13(suite)) => Ok(suite.common.hash_provider),
        _ => Err(Fault::INTERNAL),
    }
}

pub(super) fn part(body: &[u8], place: Place) -> Result<&[u8], Fault> {
    let start = usize::from(place.offset);
    body.get(start..start + usize::from(place.length))
        .ok_or(Fault::INTERNAL)
}

/// Random bytes that are no secret.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Fault> {
    let mut random = [0; N];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| Fault::INTERNAL)?;
    Ok(random)
}
