//! All domains around one connection at a time, in one process: each in the place that
//! channels and calls leave it.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, bail};
use ipc::badge::Badge;
use ipc::bounded::Blob;
use ipc::channel::local::{LocalChannel, Silent, pair};
use ipc::channel::{SlotIndex, Status};
use ipc::clock::Clock;
use ipc::control::{
    Answer, Control, Established, Failure, HandshakeError, HandshakeRequest, Parameters, Request,
    RequestError, Standing,
};
use ipc::mailbox::Mailbox;
use ipc::net::ConnectionId;
use ipc::provision::{ClientRights, Keyrings, KeystoreData, ShimRights};
use ipc::queue::Queue;
use ipc::record::Export;
use ipc::stats;
use ipc::tls::Mode;
use ipc::transport::{Client, MAX_MESSAGE, Protocol, decode};
use tls::Role;

use crate::calls::{Bell, CLIENT, Install, Keys, Minted, Now, Record, Slots, Stack, Windows};
use crate::wire::Wire;

/// Connections at once: one, and what the last has not let go of.
const SLOTS: u16 = 2;
/// How long a quiet connection is waited for before looking again.
const TICK: Duration = Duration::from_millis(20);
/// How long a handshake may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long a peer that has been told everything may take to close.
const LINGER: Duration = Duration::from_secs(3);
/// Steps of a directed handshake that follow each other without a byte of the peer.
const STEPS: usize = 40;

type Shim = kernel_shim::Server<'static, Stack, Slots, Bell, Silent, Windows, Now>;
type Director = director::Server<'static, Bell, Bell, Now>;
type Offload = offload_server::Server<'static, (Bell, Bell, Bell, Install, Now)>;

/// How a stream of plaintext ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By close_notify.
    Closed,
    /// The connection ended without one.
    Truncated,
    /// By an alert: the record layer's, or a fatal one of the peer.
    Alert,
}

/// What a read brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plaintext {
    /// Bytes of the peer.
    Bytes(Vec<u8>),
    /// There are no more.
    End(End),
}

/// All domains.
pub struct System {
    stream: Option<TcpStream>,
    wire: Rc<RefCell<Wire>>,
    app: LocalChannel<Silent>,
    record: Rc<RefCell<Record>>,
    record_stats: &'static stats::Page,
    offload: Offload,
    shim: Shim,
    director: Director,
    minted: Minted,
    /// The session's slot in the application's channel.
    session: SlotIndex,
    connections: u64,
    /// The peer has closed its side.
    has_ended: bool,
}

fn page() -> &'static stats::Page {
    Box::leak(Box::default())
}

impl System {
    /// Domains with these key rings, and no connection.
    ///
    /// # Errors
    /// The key store does not take the rings.
    pub fn new(keyrings: &Keyrings, is_audited: bool) -> Result<Self> {
        let blob = postcard::to_allocvec(&KeystoreData::open(keyrings))?;
        let Ok(store) =
            keystore_server::Server::new(&blob, page(), keystore_server::firmware::absent)
        else {
            bail!("the key store refuses its keys");
        };
        // The sizes of image/system.toml.
        let (handshake, offload_net) = pair(SLOTS, 32 * 1024, 8 * 1024, Silent, Silent);
        let (protected, record_net) = pair(SLOTS, 32 * 1024, 16 * 1024, Silent, Silent);
        let (record_app, app) = pair(SLOTS, 16 * 1024, 16 * 1024, Silent, Silent);
        let (directives, completions) = pair(SLOTS, 1024, 1024, Silent, Silent);
        let (forget, forgotten) = pair(SLOTS, 64, 64, Silent, Silent);
        let (orders, order_inbox) = pair(SLOTS, 1024, 64, Silent, Silent);
        let (segments, verdicts) = pair(SLOTS, 2048, 2048, Silent, Silent);
        let (asked, inbox) = pair(1, 64 * 1024, 64 * 1024, Silent, Silent);
        let wire = Rc::new(RefCell::new(Wire::new(handshake, protected)));
        let record_stats = page();
        let ports = record_server::Ports {
            net: record_net,
            app: record_app.into(),
            offload: Queue::new(asked),
            stats: record_stats,
        };
        let record = Record::new(ports, record_server::Limits::default());
        let record = Rc::new(RefCell::new(record));
        let minted = Minted::default();
        let (for_install, for_minted) = (record.clone(), minted.clone());
        let ports = offload_server::Ports {
            net: offload_net,
            shim: Mailbox::new(completions),
            director: Some(Mailbox::new(verdicts)),
            forget: Mailbox::new(forgotten),
            record: Queue::new(inbox),
            keystore: Client::new(Keys(Arc::new(Mutex::new(store)))),
            install: Box::new(move |_| {
                Client::new(Install(for_install.clone(), for_minted.clone()))
            }),
            session_slots: SLOTS,
            clients: 1,
            heap_used: || 0,
            stats: page(),
        };
        let Ok(offload) = Offload::new(ports, Now) else {
            bail!("the key store does not answer");
        };
        let rights = ClientRights {
            client: 1,
            keyrings: keyrings.0.iter().map(|ring| ring.label.clone()).collect(),
            roles: vec![Role::Server, Role::Client],
            modes: vec![Mode::Autonomous, Mode::Directed],
            expose_keys: false,
            static_rsa: true,
            audit: is_audited,
            refused_steps: Vec::new(),
        };
        let ports = kernel_shim::Ports {
            net: Client::new(Stack(wire.clone())),
            record: Client::new(Slots(record.clone())),
            offload: Mailbox::new(directives),
            forget: Mailbox::new(forget),
            applications: vec![kernel_shim::Application {
                client: 1,
                bell: Silent,
                handshakes: SLOTS,
                sessions: SLOTS,
            }],
            windows: Windows(minted.clone()),
            director: Some(Mailbox::new(orders)),
            stats: page(),
        };
        let director = director::Ports {
            shim: Mailbox::new(order_inbox),
            offload: Mailbox::new(segments),
            slots: SLOTS,
            audit: |line| eprintln!("audit {line}"),
            heap_used: || 0,
            stats: page(),
        };
        let rights = kernel_shim::Rights::new(ShimRights(vec![rights]));
        Ok(Self {
            stream: None,
            wire,
            app,
            record,
            record_stats,
            offload,
            shim: Shim::new(ports, rights, Now),
            director: Director::new(director, Now),
            minted,
            session: 0,
            connections: 0,
            has_ended: false,
        })
    }

    /// The next connection.
    ///
    /// # Errors
    /// The socket's.
    pub fn connect(&mut self, stream: TcpStream) -> Result<()> {
        stream.set_read_timeout(Some(TICK))?;
        stream.set_nodelay(true)?;
        self.stream = Some(stream);
        self.wire.borrow_mut().begin();
        self.connections += 1;
        self.has_ended = false;
        Ok(())
    }

    /// Runs a handshake to its end.
    ///
    /// # Errors
    /// The socket's, outside; why there is no session, inside.
    pub fn handshake(
        &mut self,
        role: Role,
        mode: Mode,
        parameters: Parameters,
    ) -> Result<Result<Box<Established>, HandshakeError>> {
        let request = Request::StartHandshake(HandshakeRequest {
            connection: ConnectionId(self.connections),
            role,
            mode,
            parameters: parameters.into(),
            tcp_sequence: None,
            deadline: Now.now() + DEADLINE,
            group: 0,
            standing: Standing::New,
        });
        if let Err(error) = self.call(CLIENT, &request) {
            return Ok(Err(error));
        }
        loop {
            self.turn()?;
            match self.call(CLIENT, &Request::CollectAny) {
                Ok(Answer::Established(_, result)) => {
                    self.session = result.slot;
                    self.app.follow(result.slot);
                    return Ok(Ok(result.established));
                }
                Ok(Answer::Failed(_, Failure { error, .. })) => {
                    self.flush()?;
                    return Ok(Err(error));
                }
                Ok(_) => self.wait()?,
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// Plaintext of the peer, or how it ended.
    ///
    /// # Errors
    /// The socket's.
    pub fn read(&mut self) -> Result<Plaintext> {
        loop {
            self.turn()?;
            // Before the bytes: with END set, none come after those found.
            let status = self.app.peer_status(self.session);
            let mut bytes = vec![0; self.app.readable(self.session).unwrap_or(0)];
            let count = self.app.read(self.session, &mut bytes).unwrap_or(0);
            if count > 0 {
                bytes.truncate(count);
                return Ok(Plaintext::Bytes(bytes));
            }
            if status.has(Status::END) {
                return Ok(Plaintext::End(End::Closed));
            }
            if status.has(Status::RESET) {
                let is_truncated = self.record_stats.read(stats::record::TRUNCATED) > 0;
                return Ok(Plaintext::End(match is_truncated {
                    true => End::Truncated,
                    false => End::Alert,
                }));
            }
            self.wait()?;
        }
    }

    /// Plaintext for the peer.
    ///
    /// # Errors
    /// The socket's.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = self.app.write(self.session, rest).unwrap_or(0);
            rest = rest.get(count..).unwrap_or_default();
            self.turn()?;
            if self.app.peer_status(self.session).has(Status::RESET) {
                return Ok(());
            }
            if count == 0 {
                self.wait()?;
            }
        }
        Ok(())
    }

    /// Says close_notify.
    ///
    /// # Errors
    /// The socket's.
    pub fn close(&mut self) -> Result<()> {
        self.turn()?;
        self.app.set_status(self.session, Status::END);
        self.app.notify(self.session);
        self.turn()
    }

    /// Whether the server asked for another ClientHello (RFC 8446 §4.1.4).
    pub fn has_retried(&self) -> bool {
        self.wire.borrow().has_retried()
    }

    /// Part of the peer's certificate.
    ///
    /// # Errors
    /// The shim's.
    pub fn peer_certificate(&mut self) -> Result<Vec<u8>, HandshakeError> {
        let unknown = HandshakeError::Request(RequestError::Unknown);
        let badge = self.minted.session.get().ok_or(unknown)?;
        let mut certificate = Vec::new();
        loop {
            let offset = u16::try_from(certificate.len()).map_err(|_| unknown)?;
            match self.call(badge, &Request::PeerCertificate { offset })? {
                Answer::Certificate(part) if part.is_empty() => return Ok(certificate),
                Answer::Certificate(part) => certificate.extend_from_slice(&part),
                _ => return Err(unknown),
            }
        }
    }

    /// Keying material of the session.
    ///
    /// # Errors
    /// The shim's.
    pub fn export(
        &mut self,
        label: &[u8],
        context: Option<&[u8]>,
        length: u16,
    ) -> Result<Vec<u8>, HandshakeError> {
        let unknown = HandshakeError::Request(RequestError::Unknown);
        let badge = self.minted.session.get().ok_or(unknown)?;
        let mut material = Vec::new();
        loop {
            let request = Request::Export(Export {
                label: Blob::from_slice(label).map_err(|_| unknown)?,
                context: context
                    .map(Blob::from_slice)
                    .transpose()
                    .map_err(|_| unknown)?,
                length,
                offset: u16::try_from(material.len()).map_err(|_| unknown)?,
            });
            match self.call(badge, &request)? {
                Answer::Exported(part) if part.expose().is_empty() => return Ok(material),
                Answer::Exported(part) => material.extend_from_slice(part.expose()),
                _ => return Err(unknown),
            }
        }
    }

    /// Ends the session, sends what is left, and closes the connection.
    ///
    /// # Errors
    /// The socket's.
    pub fn end(&mut self) -> Result<()> {
        if let Some(badge) = self.minted.session.get() {
            // One that the record layer ended is closed all the same.
            let _ = self.call(badge, &Request::CloseSession);
        }
        self.turn()?;
        let Some(mut stream) = self.stream.take() else {
            return Ok(());
        };
        stream.shutdown(Shutdown::Write).ok();
        // Closing with bytes unread would reset the connection, and with it what we said.
        let until = std::time::Instant::now() + LINGER;
        let mut bytes = [0; 16384];
        while !self.has_ended && std::time::Instant::now() < until {
            match stream.read(&mut bytes) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if is_quiet(error.kind()) => {}
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Lets every domain run until nothing moves.
    fn turn(&mut self) -> Result<()> {
        loop {
            let moved = self.wire.borrow_mut().pump();
            // A verdict and its segment move no byte.
            for _ in 0..STEPS {
                self.run_offload();
                self.shim.run();
                while self.director.run() {}
            }
            self.run_offload();
            self.records();
            self.flush()?;
            if !moved {
                return Ok(());
            }
        }
    }

    fn run_offload(&mut self) {
        loop {
            let turn = self.offload.run();
            let _ = self.offload.flush();
            if !turn.is_busy {
                return;
            }
        }
    }

    /// The record layer's turns, until there is no more to do.
    fn records(&mut self) {
        let mut record = self.record.borrow_mut();
        record.run(Now.now());
        while record.is_busy() {
            record.run(Now.now());
        }
    }

    fn flush(&mut self) -> Result<()> {
        let mut wire = self.wire.borrow_mut();
        wire.pump();
        let outgoing = std::mem::take(&mut wire.outgoing);
        drop(wire);
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        match stream.write_all(&outgoing) {
            // The peer is gone; reading says so too, after what it said last.
            Err(error) if is_gone(error.kind()) => Ok(()),
            done => Ok(done?),
        }
    }

    /// Waits a little for the peer.
    fn wait(&mut self) -> Result<()> {
        let Some(stream) = &mut self.stream else {
            bail!("no connection");
        };
        if self.has_ended {
            std::thread::sleep(TICK);
            return Ok(());
        }
        let mut bytes = [0; 16384];
        match stream.read(&mut bytes) {
            Ok(0) => self.note_end(),
            Ok(count) => {
                let bytes = bytes.get(..count).unwrap_or_default();
                self.wire.borrow_mut().incoming.extend_from_slice(bytes);
            }
            Err(error) if is_quiet(error.kind()) => {}
            Err(error) if is_gone(error.kind()) => self.note_end(),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn note_end(&mut self) {
        self.has_ended = true;
        self.wire.borrow_mut().end();
    }

    fn call(&mut self, badge: Badge, request: &Request) -> Result<Answer, HandshakeError> {
        let malformed = HandshakeError::Request(RequestError::Malformed);
        let request = postcard::to_allocvec(request).map_err(|_| malformed)?;
        let mut reply = [0; MAX_MESSAGE];
        let length = self.shim.serve(badge.to_word(), &request, &mut reply);
        let reply = reply.get(..length).unwrap_or_default();
        decode::<<Control as Protocol>::Reply>(reply).unwrap_or(Err(malformed))
    }
}

fn is_quiet(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn is_gone(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
    )
}
