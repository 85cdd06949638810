//! One connection through all domains, each in the place of its own that
//! channels and calls leave it.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use ipc::badge::Badge;
use ipc::channel::local::{LocalChannel, LocalDoorbell, Silent, pair};
use ipc::channel::{SlotIndex, Status};
use ipc::clock::{Clock, Instant};
use ipc::control::{Answer, Control, HandshakeError, HandshakeRequest, Parameters, Request};
use ipc::mailbox::Mailbox;
use ipc::net::{self, ConnectionId, Net, NetError, Owner, SegmentHeader, TcpPosition};
use ipc::provision::{ClientRights, Keyrings, KeystoreData, ShimRights};
use ipc::queue::Queue;
use ipc::stats;
use ipc::tls::Mode;
use ipc::transport::{Client, MAX_MESSAGE, Protocol, Transport, TransportError, decode, dispatch};
use tls::Role;

const SLOT: SlotIndex = 0;
const CONNECTION: ConnectionId = ConnectionId(1);
const CLIENT: Badge = Badge::Client(1);
/// How long a quiet connection is waited for before looking again.
const TICK: Duration = Duration::from_millis(20);

type Bell = LocalDoorbell<Silent>;
type Record = record_server::Server<'static, Bell, Bell, Bell>;
type Shim = kernel_shim::Server<'static, Stack, Slots, Bell, Silent, Windows, Now>;
type Director = director::Server<'static, Bell, Bell, Now>;
type Offload = offload_server::Server<'static, Bell, Bell, Bell, Install, Now>;

/// Who reads and writes the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Handshake,
    Session,
}

/// The network stack's part: two channels and what is between them and the
/// socket.
struct Wire {
    phase: Phase,
    handshake: LocalChannel<Silent>,
    protected: LocalChannel<Silent>,
    /// From the socket, and not with the owner yet.
    incoming: Vec<u8>,
    /// For the socket.
    outgoing: Vec<u8>,
    /// Bytes given to the owner, and taken from it.
    given: u32,
    sent: u32,
}

impl Wire {
    /// Moves what can be moved between the owner and the buffers; true if
    /// something was.
    fn pump(&mut self) -> bool {
        let before = self.outgoing.len();
        let written = match self.phase {
            Phase::Waiting => 0,
            Phase::Handshake => {
                self.take_segments();
                self.handshake.write(SLOT, &self.incoming).unwrap_or(0)
            }
            Phase::Session => {
                let mut bytes = vec![0; 65536];
                let count = self.protected.read(SLOT, &mut bytes).unwrap_or(0);
                self.outgoing.extend_from_slice(&bytes[..count]);
                self.protected.write(SLOT, &self.incoming).unwrap_or(0)
            }
        };
        self.incoming.drain(..written);
        self.given = self.given.wrapping_add(u32::try_from(written).unwrap());
        written > 0 || self.outgoing.len() > before
    }

    fn take_segments(&mut self) {
        while self.handshake.readable(SLOT).unwrap_or(0) > 0 {
            let mut header = [0; SegmentHeader::SIZE];
            self.handshake.read(SLOT, &mut header).unwrap();
            let header = SegmentHeader::from_bytes(header);
            assert_eq!(header.sequence, self.sent, "not the next segment");
            let mut segment = vec![0; usize::from(header.length)];
            self.handshake.read(SLOT, &mut segment).unwrap();
            self.sent = self.sent.wrapping_add(u32::from(header.length));
            self.outgoing.extend(segment);
        }
    }

    fn hand_over(&mut self, to: Owner, expected: Option<u32>) -> Result<TcpPosition, NetError> {
        match to {
            Owner::Offload(_) => {
                self.handshake.open(SLOT);
                self.phase = Phase::Handshake;
            }
            Owner::Record(_) => {
                self.take_segments();
                let mut unread = vec![0; self.handshake.unread(SLOT).unwrap()];
                let count = self.handshake.take_back(SLOT, 0, &mut unread).unwrap();
                unread.truncate(count);
                self.given = self.given.wrapping_sub(u32::try_from(count).unwrap());
                self.handshake.close(SLOT);
                self.incoming.splice(..0, unread);
                self.protected.open(SLOT);
                self.protected.notify(SLOT);
                self.phase = Phase::Session;
            }
            Owner::Client | Owner::Application { .. } => return Err(NetError::Denied),
        }
        match expected {
            Some(expected) if expected != self.sent => Err(NetError::WrongSequence),
            _ => Ok(TcpPosition {
                tx_next: self.sent,
                rx_next: self.given,
            }),
        }
    }

    fn end(&mut self) {
        let channel = match self.phase {
            Phase::Session => &mut self.protected,
            _ => &mut self.handshake,
        };
        channel.set_status(SLOT, Status::END);
        channel.notify(SLOT);
    }
}

struct Stack(Rc<RefCell<Wire>>);

impl Transport for Stack {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        Ok(dispatch::<Net>(request, reply, |request| match request {
            net::Request::Move {
                to,
                expected_tx_next,
                ..
            } => {
                let position = self.0.borrow_mut().hand_over(to, expected_tx_next)?;
                Ok(net::Answer::Moved { position })
            }
            _ => Ok(net::Answer::Done),
        }))
    }
}

struct Slots(Rc<RefCell<Record>>);

impl Transport for Slots {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        let badge = Badge::Control.to_word();
        Ok(self.0.borrow_mut().serve(badge, request, reply, Now.now()))
    }
}

/// The badge that the shim minted to install keys.
type Minted = Rc<Cell<Option<Badge>>>;

struct Install(Rc<RefCell<Record>>, Minted);

impl Transport for Install {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        // Without a capability nothing answers.
        let badge = self.1.get().map_or(0, Badge::to_word);
        Ok(self.0.borrow_mut().serve(badge, request, reply, Now.now()))
    }
}

struct Windows(Minted);

impl kernel_shim::Windows for Windows {
    fn grant_install(&mut self, _: SlotIndex, badge: Badge) {
        self.0.set(Some(badge));
    }
    fn revoke_install(&mut self, _: SlotIndex) {
        self.0.set(None);
    }
    fn grant_session(&mut self, _: u16, _: SlotIndex, _: Badge) {}
    fn revoke_session(&mut self, _: u16, _: SlotIndex) {}
}

struct Keys(Arc<Mutex<keystore_server::Server<'static>>>);

impl Transport for Keys {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        Ok(self
            .0
            .lock()
            .unwrap()
            .serve(CLIENT.to_word(), request, reply))
    }
}

/// This machine's clock.
#[derive(Clone, Copy)]
pub(crate) struct Now;

impl Clock for Now {
    fn now(&self) -> Instant {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Instant::from_nanos(u64::try_from(now.as_nanos()).unwrap())
    }
    fn unix_seconds(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_secs()
    }
}

/// How a handshake ended.
pub(crate) struct Outcome {
    /// For a person.
    pub(crate) text: String,
    /// The session's, if there is one.
    pub(crate) slot: Option<SlotIndex>,
}

/// All domains around one connection.
pub(crate) struct System {
    stream: TcpStream,
    wire: Rc<RefCell<Wire>>,
    app: LocalChannel<Silent>,
    record: Rc<RefCell<Record>>,
    offload: Offload,
    shim: Shim,
    director: Director,
    ended: bool,
}

fn page() -> &'static stats::Page {
    Box::leak(Box::default())
}

impl System {
    pub(crate) fn new(stream: TcpStream, keyrings: &Keyrings) -> Result<Self> {
        stream.set_read_timeout(Some(TICK))?;
        stream.set_nodelay(true)?;
        let blob = postcard::to_allocvec(&KeystoreData::open(keyrings))?;
        let Ok(store) =
            keystore_server::Server::new(&blob, page(), keystore_server::firmware::absent)
        else {
            bail!("the key store refuses its keys");
        };
        let (handshake, offload_net) = pair(1, 32 * 1024, 8 * 1024, Silent, Silent);
        let (protected, record_net) = pair(1, 64 * 1024, 64 * 1024, Silent, Silent);
        let (record_app, app) = pair(1, 64 * 1024, 64 * 1024, Silent, Silent);
        let (directives, completions) = pair(1, 1024, 1024, Silent, Silent);
        let (forget, forgotten) = pair(1, 64, 64, Silent, Silent);
        let (orders, order_inbox) = pair(1, 1024, 64, Silent, Silent);
        let (segments, verdicts) = pair(1, 2048, 2048, Silent, Silent);
        let (asked, inbox) = pair(1, 65536, 65536, Silent, Silent);
        let wire = Rc::new(RefCell::new(Wire {
            phase: Phase::Waiting,
            handshake,
            protected,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            given: 0,
            sent: 0,
        }));
        let ports = record_server::Ports {
            net: record_net,
            app: record_app.into(),
            offload: Queue::new(asked),
            stats: page(),
        };
        let limits = record_server::Limits::default();
        let record = Rc::new(RefCell::new(Record::new(ports, limits)));
        let minted = Minted::default();
        let (for_install, for_minted) = (record.clone(), minted.clone());
        let ports = offload_server::Ports {
            net: offload_net,
            shim: Mailbox::new(completions),
            director: Mailbox::new(verdicts),
            forget: Mailbox::new(forgotten),
            record: Queue::new(inbox),
            keystore: Client::new(Keys(Arc::new(Mutex::new(store)))),
            install: Box::new(move |_| {
                Client::new(Install(for_install.clone(), for_minted.clone()))
            }),
            session_slots: 1,
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
            audit: std::env::var_os("HOST_AUDIT").is_some(),
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
                handshakes: 1,
                sessions: 1,
            }],
            windows: Windows(minted),
            director: Mailbox::new(orders),
            stats: page(),
        };
        let director = director::Ports {
            shim: Mailbox::new(order_inbox),
            offload: Mailbox::new(segments),
            slots: 1,
            audit: |line| eprintln!("audit {line}"),
            heap_used: || 0,
            stats: page(),
        };
        let rights = kernel_shim::Rights::new(ShimRights(vec![rights]));
        Ok(Self {
            stream,
            wire,
            app,
            record,
            offload,
            shim: Shim::new(ports, rights, Now),
            director: Director::new(director, Now),
            ended: false,
        })
    }

    /// Runs a handshake to its end.
    pub(crate) fn handshake(
        &mut self,
        role: Role,
        mode: Mode,
        parameters: Parameters,
    ) -> Result<Outcome> {
        let request = Request::StartHandshake(HandshakeRequest {
            connection: CONNECTION,
            role,
            mode,
            parameters: parameters.into(),
            tcp_sequence: None,
            deadline: Now.now() + Duration::from_secs(60),
            group: 0,
            standing: ipc::control::Standing::New,
        });
        if let Err(error) = self.call(&request) {
            bail!("not started: {error:?}");
        }
        loop {
            self.turn()?;
            match self.call(&Request::CollectAny) {
                Ok(Answer::Established(_, result)) => {
                    self.app.follow(result.slot);
                    let agreed = &result.established;
                    let group = agreed.group.map_or("no group", |group| group.name());
                    return Ok(Outcome {
                        text: format!(
                            "established {:?} {} {group} keyring {}",
                            agreed.version,
                            agreed.suite.name(),
                            &*agreed.keyring
                        ),
                        slot: Some(result.slot),
                    });
                }
                Ok(Answer::Failed(_, error)) => {
                    self.flush()?;
                    return Ok(Outcome {
                        text: format!("failed {error:?}"),
                        slot: None,
                    });
                }
                Ok(_) => self.wait()?,
                Err(error) => bail!("{error:?}"),
            }
        }
    }

    /// Plaintext of the peer; `None` at its end.
    pub(crate) fn read(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            self.turn()?;
            let status = self.app.peer_status(SLOT);
            let mut bytes = vec![0; 65536];
            let count = self.app.read(SLOT, &mut bytes).unwrap_or(0);
            if count > 0 {
                bytes.truncate(count);
                return Ok(Some(bytes));
            }
            if self.ended || status.has(Status::END) || status.has(Status::RESET) {
                return Ok(None);
            }
            self.wait()?;
        }
    }

    /// Plaintext for the peer; what does not fit is lost.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let _ = self.app.write(SLOT, bytes);
    }

    /// Says close_notify and waits for the peer to go.
    pub(crate) fn close(&mut self) -> Result<()> {
        self.turn()?;
        self.app.set_status(SLOT, Status::END);
        self.app.notify(SLOT);
        self.turn()?;
        self.linger()
    }

    /// Says what is left to say, and closes.
    pub(crate) fn linger(&mut self) -> Result<()> {
        self.turn()?;
        self.stream.shutdown(std::net::Shutdown::Write).ok();
        Ok(())
    }

    /// Lets every domain run until nothing moves.
    fn turn(&mut self) -> Result<()> {
        for _ in 0..100 {
            let moved = self.wire.borrow_mut().pump();
            self.offload.run();
            let _ = self.offload.flush();
            self.shim.run();
            self.director.run();
            self.offload.run();
            let _ = self.offload.flush();
            self.records();
            self.flush()?;
            if !moved {
                break;
            }
        }
        // A verdict and its segment move no byte.
        for _ in 0..40 {
            self.shim.run();
            self.director.run();
            self.offload.run();
            let _ = self.offload.flush();
        }
        self.records();
        self.wire.borrow_mut().pump();
        self.flush()
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
        Ok(self.stream.write_all(&outgoing)?)
    }

    /// Waits a little for the peer.
    fn wait(&mut self) -> Result<()> {
        let mut bytes = [0; 16384];
        match self.stream.read(&mut bytes) {
            Ok(0) => {
                self.ended = true;
                self.wire.borrow_mut().end();
            }
            Ok(count) => self
                .wire
                .borrow_mut()
                .incoming
                .extend_from_slice(&bytes[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn call(&mut self, request: &Request) -> Result<Answer, HandshakeError> {
        let request = postcard::to_allocvec(request).unwrap();
        let mut reply = [0; MAX_MESSAGE];
        let length = self.shim.serve(CLIENT.to_word(), &request, &mut reply);
        decode::<<Control as Protocol>::Reply>(&reply[..length]).unwrap()
    }
}
