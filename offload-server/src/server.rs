//! Takes directives and events, runs handshakes, reports completions.

mod directed;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ipc::bounded::{Blob, Bytes};
use ipc::channel::{Channel, Doorbell, Event, SlotIndex, Status};
use ipc::clock::Clock;
use ipc::control::{Established, HandshakeError, Parameters, RequestError, Resource};
use ipc::handshake::{Completion, CompletionQueue, Directive};
use ipc::net::TcpPosition;
use ipc::record::{PostHandshakeInbox, Record, Request};
use ipc::stats;
use ipc::tls::{CipherSuite, Role};
use ipc::transport::{Client, Transport};
use rustls::HandshakeKind;

use crate::convert;
use crate::directed::Directed;
use crate::handshake::{Handshake, SessionSlot, Step};
use crate::identity::Peer;
use crate::keyring::{self, Keyring};
use crate::profile::Profiles;
use crate::session::Sessions;
use crate::signer::{KeystoreClient, Sign};
use crate::time::SystemTime;
use directed::Beginning;

/// The capabilities of the offload component.
pub struct Ports<'a, N, S, R, K, W> {
    /// Connections in handshake; its slots are the handshake slots.
    pub net: Channel<N>,
    /// Directives in, completions out.
    pub shim: CompletionQueue<S>,
    /// What sessions need after their handshake.
    pub record: PostHandshakeInbox<R>,
    /// The key store.
    pub keystore: Client<ipc::keystore::Keystore, K>,
    /// The install capability that the shim minted for a session slot.
    pub install: Box<dyn Fn(SlotIndex) -> Client<Record, W> + 'a>,
    /// Session slots at the record layer.
    pub session_slots: u16,
    /// Counters.
    pub stats: &'a stats::Page,
}

/// The key store did not answer as it should; there is nothing to offload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartError;

/// The offload component.
pub struct Server<'a, N, S, R, W, C> {
    net: Channel<N>,
    shim: CompletionQueue<S>,
    record: PostHandshakeInbox<R>,
    install: Box<dyn Fn(SlotIndex) -> Client<Record, W> + 'a>,
    profiles: Profiles,
    handshakes: Vec<Option<Box<Handshake>>>,
    directed: Vec<Option<Box<Directed>>>,
    keystore: Arc<dyn Sign + Send + Sync>,
    fetch: Box<dyn Fn() -> Option<Vec<Arc<Keyring>>> + 'a>,
    sessions: Sessions,
    clock: C,
    stats: &'a stats::Page,
    /// The shim's queue can't be read any more.
    shim_broken: bool,
}

impl<'a, N, S, R, W, C> Server<'a, N, S, R, W, C>
where
    N: Doorbell,
    S: Doorbell,
    R: Doorbell,
    W: Transport,
    C: Clock + Clone + Send + Sync + 'static,
{
    /// Fetches the key rings and is ready for directives.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new<K: Transport + Send + Sync + 'static>(
        ports: Ports<'a, N, S, R, K, W>,
        clock: C,
    ) -> Result<Self, StartError> {
        let keystore: Arc<KeystoreClient<K>> = Arc::new(ports.keystore);
        let keyrings = keyring::fetch(&keystore).ok_or(StartError)?;
        let time = Arc::new(SystemTime(clock.clone()));
        let slots = ports.net.slots();
        // What was in progress before this start is over.
        let lost = in_progress(ports.stats);
        ports.stats.add(stats::offload::FAILED, lost);
        ports.stats.set(stats::offload::IN_PROGRESS, 0);
        Ok(Self {
            net: ports.net,
            shim: ports.shim,
            record: ports.record,
            install: ports.install,
            profiles: Profiles::new(keyrings, time),
            handshakes: (0..slots).map(|_| None).collect(),
            directed: (0..slots).map(|_| None).collect(),
            fetch: Box::new({
                let keystore = keystore.clone();
                move || keyring::fetch(&keystore)
            }),
            keystore,
            sessions: Sessions::new(ports.session_slots),
            clock,
            stats: ports.stats,
            shim_broken: false,
        })
    }

    /// Fetches the key rings again: some were replaced. Handshakes in progress
    /// go on with those that they began with.
    pub fn refetch(&mut self) {
        if let Some(keyrings) = (self.fetch)() {
            self.profiles.replace(keyrings);
        }
    }

    /// Does all there is to do, then returns; call it at each wake-up. True if
    /// a secret may have been on the stack.
    // Its frames are below the caller's, where they can be scrubbed.
    #[inline(never)]
    pub fn run(&mut self) -> bool {
        self.stats.add(stats::offload::WAKEUPS, 1);
        let mut touched_secrets = false;
        touched_secrets |= self.take_directives();
        while let Some(event) = self.net.next_event() {
            if let Event::Slot(slot) = event {
                touched_secrets |= self.step(slot);
                touched_secrets |= self.step_directed(slot);
            }
        }
        while let Some(asked) = self.record.receive() {
            let Ok(asked) = asked else { break };
            touched_secrets = true;
            self.post_handshake(&asked);
        }
        self.net.flush();
        self.shim.flush();
        touched_secrets
    }

    /// True if a segment was among them.
    fn take_directives(&mut self) -> bool {
        let mut touched_secrets = false;
        while !self.shim_broken {
            let Some(directive) = self.shim.receive() else {
                break;
            };
            match directive {
                Ok(Directive::Start {
                    slot,
                    generation,
                    session,
                    session_generation,
                    role,
                    parameters,
                    position,
                }) => {
                    let session = SessionSlot {
                        slot: session,
                        generation: session_generation,
                    };
                    self.stats.add(stats::offload::STARTED, 1);
                    self.net.follow(slot);
                    match self.start(generation, session, role, &parameters, position) {
                        Ok(handshake) => {
                            if let Some(place) = self.handshakes.get_mut(usize::from(slot)) {
                                *place = Some(handshake);
                            }
                            self.stats
                                .set(stats::offload::IN_PROGRESS, self.in_progress());
                            // The peer may have spoken already.
                            self.step(slot);
                        }
                        Err(error) => self.fail(slot, generation, error),
                    }
                }
                Ok(Directive::Cancel { slot, generation }) => {
                    let place = self.handshakes.get_mut(usize::from(slot));
                    let meant = place.and_then(|p| p.take_if(|h| h.generation == generation));
                    if meant.is_some() || self.cancel_directed(slot, generation) {
                        self.fail(slot, generation, HandshakeError::Cancelled);
                    }
                }
                Ok(Directive::Direct {
                    slot,
                    generation,
                    session,
                    session_generation,
                    role,
                    parameters,
                    position,
                }) => {
                    let session = SessionSlot {
                        slot: session,
                        generation: session_generation,
                    };
                    let beginning = Beginning {
                        generation,
                        session,
                        role,
                        parameters,
                        position,
                    };
                    self.begin_directed(slot, beginning);
                    self.shim.flush();
                }
                Ok(Directive::Segment {
                    slot,
                    generation,
                    segment,
                }) => {
                    touched_secrets = true;
                    self.perform(slot, generation, segment);
                    // The shim runs at once and queues the next.
                    self.shim.flush();
                }
                Ok(Directive::Forget { session }) => self.sessions.forget(session),
                Err(ipc::queue::ReceiveError::Malformed) => {}
                Err(ipc::queue::ReceiveError::Broken) => self.shim_broken = true,
            }
        }
        touched_secrets
    }

    fn start(
        &mut self,
        generation: u16,
        session: SessionSlot,
        role: Role,
        parameters: &Parameters,
        position: TcpPosition,
    ) -> Result<Box<Handshake>, HandshakeError> {
        if !Parameters::SEGMENT_SIZES.contains(&parameters.segment_size) {
            return Err(HandshakeError::Request(RequestError::SegmentSize));
        }
        let engine = match role {
            Role::Server => self.profiles.server(parameters)?,
            Role::Client => self.profiles.client(parameters)?,
        };
        let catch = self.profiles.catch();
        Ok(Handshake::new(
            generation, session, engine, catch, position, parameters,
        ))
    }

    /// Goes on with the handshake in `slot`; true if it ended.
    fn step(&mut self, slot: SlotIndex) -> bool {
        let place = usize::from(slot);
        let Some(handshake) = self.handshakes.get_mut(place).and_then(Option::as_mut) else {
            return false;
        };
        let step = handshake.step(&mut self.net, slot, || self.clock.now());
        let generation = handshake.generation;
        match step {
            Step::Waiting => false,
            Step::Failed(error) => {
                self.forget(slot);
                self.fail(slot, generation, error);
                true
            }
            Step::Finished => {
                if let Some(handshake) = self.forget(slot) {
                    match self.establish(handshake) {
                        Ok((established, certificate)) => {
                            self.stats.add(stats::offload::FINISHED, 1);
                            let in_progress = self.in_progress();
                            self.stats.set(stats::offload::IN_PROGRESS, in_progress);
                            self.net.close(slot);
                            self.complete(&Completion::Established {
                                slot,
                                generation,
                                established,
                                peer_certificate: certificate,
                            });
                        }
                        Err(error) => self.fail(slot, generation, error),
                    }
                }
                true
            }
        }
    }

    fn forget(&mut self, slot: SlotIndex) -> Option<Box<Handshake>> {
        let handshake = self.handshakes.get_mut(usize::from(slot))?.take();
        self.stats
            .set(stats::offload::IN_PROGRESS, self.in_progress());
        handshake
    }

    fn in_progress(&self) -> u64 {
        in_progress(self.stats)
    }

    /// Installs the keys and tells what was agreed on.
    fn establish(
        &mut self,
        mut handshake: Box<Handshake>,
    ) -> Result<(Box<Established>, Certificate), HandshakeError> {
        const INTERNAL: HandshakeError = HandshakeError::Resource(Resource::Internal);
        let choice = handshake.choice.take().ok_or(INTERNAL)?;
        let connection = handshake.connection();
        let suite = connection
            .negotiated_cipher_suite()
            .and_then(|suite| CipherSuite::from_number(u16::from(suite.suite())))
            .ok_or(INTERNAL)?;
        let version = connection
            .protocol_version()
            .and_then(convert::version)
            .ok_or(INTERNAL)?;
        let group = connection
            .negotiated_key_exchange_group()
            .and_then(convert::group);
        let alpn = connection
            .alpn_protocol()
            .and_then(|name| Bytes::from_slice(name).ok());
        let peer = Peer::of(connection.peer_certificates())?;
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let tcp = handshake.position();
        let first_byte = handshake.first_byte.unwrap_or(self.clock.now());
        let session = handshake.session;
        let expose_keys = handshake.expose_keys;

        let (tx, rx) = handshake.caught.keys().ok_or(INTERNAL)?;
        let sequence = (tx.sequence, rx.sequence);
        let key_check = expose_keys.then(|| {
            let check = |key| convert::key_check(suite, key);
            (check(&tx), check(&rx))
        });
        let keys = match expose_keys {
            true => Some((copy(&tx).ok_or(INTERNAL)?, copy(&rx).ok_or(INTERNAL)?)),
            false => None,
        };
        match (self.install)(session.slot).call(&Request::Install { suite, tx, rx }) {
            Ok(Ok(())) => {}
            _ => return Err(INTERNAL),
        }
        if version == ipc::tls::Version::Tls13 {
            let secrets = handshake.caught.secrets(suite).ok_or(INTERNAL)?;
            let role = handshake.role();
            let tickets = handshake.into_tickets();
            self.sessions.keep(session, role, secrets, tickets);
        }
        let established = Box::new(Established {
            version,
            suite,
            group,
            sequence,
            key_check,
            keys,
            peer: peer.identity,
            alpn,
            server_name: choice.server_name,
            keyring: choice.keyring,
            resumed,
            tcp,
            first_byte,
            installed: self.clock.now(),
        });
        Ok((established, peer.certificate))
    }

    /// Ends what was said to the peer, and reports.
    fn fail(&mut self, slot: SlotIndex, generation: u16, error: HandshakeError) {
        self.stats.add(stats::offload::FAILED, 1);
        self.stats
            .set(stats::offload::IN_PROGRESS, self.in_progress());
        self.net.set_status(slot, Status::END);
        self.complete(&Completion::Failed {
            slot,
            generation,
            error,
        });
    }

    fn complete(&mut self, completion: &Completion) {
        // The queue has room for a completion of every handshake slot, and
        // there is one completion for each start.
        if self.shim.send(completion).is_err() {
            self.shim_broken = true;
        }
    }

    fn post_handshake(&mut self, asked: &ipc::record::PostHandshake) {
        use ipc::record::PostHandshake::{Message, RekeyDue};
        self.stats.add(stats::offload::POST_HANDSHAKE, 1);
        let (Message { slot, .. } | RekeyDue { slot, .. }) = asked;
        let request = self.sessions.answer(asked, self.clock.now());
        // A session that ended meanwhile refuses: nothing to do.
        let _ = (self.install)(*slot).call(&request);
    }
}

fn in_progress(stats: &stats::Page) -> u64 {
    let started = stats.read(stats::offload::STARTED);
    let over = stats.read(stats::offload::FINISHED) + stats.read(stats::offload::FAILED);
    started.saturating_sub(over)
}

type Certificate = Blob<{ ipc::handshake::MAX_PEER_CERTIFICATE }>;

fn copy(key: &ipc::tls::TrafficKey) -> Option<ipc::tls::TrafficKey> {
    use ipc::secret::Secret;
    Some(ipc::tls::TrafficKey {
        key: Secret::from_slice(key.key.expose()).ok()?,
        iv: Secret::from_slice(key.iv.expose()).ok()?,
        sequence: key.sequence,
    })
}
