//! The offload component between a real key store and a test that plays the
//! network stack, the shim and the record layer.

#![allow(dead_code, reason = "each test file uses a part")]

pub mod director;
pub mod update;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use ipc::badge::Badge;
use ipc::bounded::{Bytes, List, Text};
use ipc::channel::SlotIndex;
use ipc::channel::local::{LocalChannel, LocalDoorbell, Silent, pair};
use ipc::clock::{Clock, Instant};
use ipc::control::{Parameters, Standing};
use ipc::director::{DirectedSegment, SegmentQueue};
use ipc::handshake::{Completion, Directive, DirectiveQueue, ForgetQueue, Origin, Start};
use ipc::keystore::KeyKind;
use ipc::mailbox::Mailbox;
use ipc::net::{SegmentHeader, TcpPosition};
use ipc::provision::{Crls, Keyring, Keyrings, KeystoreData, PrivateKey, RefusedSteps};
use ipc::queue::Queue;
use ipc::record::{Answer, PostHandshakeQueue, Record, Request};
use ipc::segment::{Segment, Verdict};
use ipc::stats;
use ipc::tls::{Mode, PeerAuthentication};
use ipc::transport::{Client, MAX_MESSAGE, Transport, TransportError, dispatch};
use offload_server::{Ports, Server};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use tls::{Role, Version};

pub const RSA: &str = include_str!("../../../keystore-server/tests/rsa2048.pem");
/// Where the TCP connections of the tests stand.
pub const POSITION: TcpPosition = TcpPosition {
    tx_next: u32::MAX - 100,
    rx_next: 7,
};

#[derive(Clone, Copy)]
pub struct Now;

impl Clock for Now {
    fn now(&self) -> Instant {
        Instant::from_millis(5_000) + PASSED.get()
    }
    fn unix_seconds(&self) -> u64 {
        let now = SystemTime::now() + PASSED.get();
        now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
    }
}

thread_local! {
    static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// So much time has passed since the test began, for all worlds of its thread.
pub fn set_passed(passed: Duration) {
    PASSED.set(passed);
}

/// Calls a key store in this process.
pub struct Direct(Arc<Mutex<keystore_server::Server<'static>>>);

impl Transport for Direct {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        let badge = Badge::Client(1).to_word();
        Ok(self.0.lock().unwrap().serve(badge, request, reply))
    }
}

type Installed = Rc<RefCell<HashMap<SlotIndex, Vec<Request>>>>;

/// Takes what is installed.
pub struct Install {
    slot: SlotIndex,
    installed: Installed,
}

impl Transport for Install {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        Ok(dispatch::<Record>(request, reply, |request| {
            let mut installed = self.installed.borrow_mut();
            installed.entry(self.slot).or_default().push(request);
            Ok(Answer::Done)
        }))
    }
}

type Bell = LocalDoorbell<Silent>;

/// Everything around one offload component.
pub struct World {
    pub net: LocalChannel<Silent>,
    pub shim: DirectiveQueue<Bell>,
    /// The director's end.
    pub segments_out: Option<SegmentQueue<Bell>>,
    pub forget: Option<ForgetQueue<Bell>>,
    pub record: PostHandshakeQueue<Bell>,
    pub installed: Installed,
    pub authority: CertificateDer<'static>,
    pub issuer: CertifiedIssuer<'static, KeyPair>,
    pub stats: &'static stats::Page,
    store: Arc<Mutex<keystore_server::Server<'static>>>,
    offload: Server<'static, (Bell, Bell, Bell, Install, Now)>,
    /// Shim and director, where they drive handshakes.
    director: Option<director::Director>,
    /// Who asks, where the test is the shim.
    pub client: u16,
    pub standing: Standing,
    pub group: u32,
    sent: HashMap<SlotIndex, u32>,
    written: HashMap<SlotIndex, u32>,
    /// Lengths of the segments seen, by slot.
    pub segments: HashMap<SlotIndex, Vec<u16>>,
}

pub fn key_of(kind: KeyKind) -> KeyPair {
    match kind {
        KeyKind::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap(),
        KeyKind::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap(),
        KeyKind::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap(),
        KeyKind::Rsa => KeyPair::from_pem(RSA).unwrap(),
    }
}

/// A key ring whose certificate is signed by `issuer`, and is valid as long as said.
pub fn keyring(
    (label, name, kind): (&str, &str, KeyKind),
    issuer: &CertifiedIssuer<'static, KeyPair>,
    trust: &CertificateDer<'_>,
    not_after: Option<SystemTime>,
) -> Keyring {
    let key = key_of(kind);
    let mut params = CertificateParams::new(vec![name.into()]).unwrap();
    params.not_after = not_after.map_or(params.not_after, Into::into);
    let certificate = params.signed_by(&key, issuer).unwrap();
    Keyring {
        label: Text::from_text(label).unwrap(),
        roles: vec![Role::Server, Role::Client],
        decrypts: kind == KeyKind::Rsa,
        schemes: List::new(),
        key: Some(PrivateKey {
            kind,
            pkcs8: key.serialize_der(),
        }),
        chain: vec![certificate.der().to_vec()],
        trust: vec![trust.to_vec()],
        crls: Crls::default(),
        ocsp: None,
    }
}

/// An authority with a key and a name of its own.
pub fn tenant(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, key_of(KeyKind::EcdsaP256)).unwrap()
}

pub fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // One key for all worlds of a test: they trust each other's certificates.
    static KEY: LazyLock<String> = LazyLock::new(|| key_of(KeyKind::EcdsaP256).serialize_pem());
    let key = KeyPair::from_pem(&KEY).unwrap();
    CertifiedIssuer::self_signed(params, key).unwrap()
}

impl World {
    /// Key rings: label, name in the certificate, kind of key.
    pub fn new(rings: &[(&str, &str, KeyKind)]) -> Self {
        Self::sized(rings, 4, 8)
    }

    /// The same, with so many slots for handshakes and sessions.
    pub fn sized(rings: &[(&str, &str, KeyKind)], handshakes: u16, sessions: u16) -> Self {
        let issuer = authority();
        let authority: CertificateDer<'static> = issuer.der().clone();
        let keyrings = rings
            .iter()
            .map(|ring| keyring(*ring, &issuer, &authority, None));
        Self::with_keyrings(keyrings.collect(), issuer, handshakes, sessions)
    }

    /// The same with these key rings; `issuer` is whom clients trust.
    pub fn with_keyrings(
        keyrings: Vec<Keyring>,
        issuer: CertifiedIssuer<'static, KeyPair>,
        handshakes: u16,
        sessions: u16,
    ) -> Self {
        let authority: CertificateDer<'static> = issuer.der().clone();
        let data = KeystoreData {
            signer: Some(update::signer()),
            ..KeystoreData::open(Keyrings(keyrings))
        };
        let blob = postcard::to_allocvec(&data).unwrap();
        let stats: &'static stats::Page = Box::leak(Box::default());
        let store_stats: &'static stats::Page = Box::leak(Box::default());
        let store =
            keystore_server::Server::new(&blob, store_stats, keystore_server::firmware::absent)
                .unwrap();
        let store = Arc::new(Mutex::new(store));
        let (net, net_side) = pair(handshakes, 32 * 1024, 8 * 1024, Silent, Silent);
        let (shim, shim_side) = pair(handshakes, 1024, 1024, Silent, Silent);
        let (segments, segments_side) = pair(handshakes, 2048, 2048, Silent, Silent);
        let (forget, forget_side) = pair(sessions, 64, 64, Silent, Silent);
        let (record, record_side) = pair(1, 65536, 65536, Silent, Silent);
        let installed = Installed::default();
        let for_install = installed.clone();
        let ports = Ports {
            net: net_side,
            shim: Mailbox::new(shim_side),
            director: Some(Mailbox::new(segments_side)),
            forget: Mailbox::new(forget_side),
            record: Queue::new(record_side),
            keystore: Client::new(Direct(store.clone())),
            install: Box::new(move |slot| {
                assert!(slot < sessions, "no such slot of a window");
                Client::new(Install {
                    slot,
                    installed: for_install.clone(),
                })
            }),
            session_slots: sessions,
            clients: 2,
            heap_used: || 0,
            stats,
        };
        Self {
            net,
            shim: Mailbox::new(shim),
            segments_out: Some(Mailbox::new(segments)),
            forget: Some(Mailbox::new(forget)),
            record: Queue::new(record),
            installed,
            authority,
            issuer,
            stats,
            store,
            offload: Server::new(ports, Now).unwrap(),
            director: None,
            client: 1,
            standing: Standing::New,
            group: 0,
            sent: HashMap::new(),
            written: HashMap::new(),
            segments: HashMap::new(),
        }
    }

    /// The same, with a real shim in front that drives handshakes.
    pub fn directed(rings: &[(&str, &str, KeyKind)]) -> Self {
        Self::refusing(rings, Vec::new())
    }

    /// The same, where the policy refuses steps.
    pub fn refusing(rings: &[(&str, &str, KeyKind)], refused: Vec<RefusedSteps>) -> Self {
        Self::new(rings).with_director(rings, 4, refused)
    }

    /// Puts a real shim in front.
    pub fn with_director(
        self,
        rings: &[(&str, &str, KeyKind)],
        handshakes: u16,
        refused: Vec<RefusedSteps>,
    ) -> Self {
        let mut world = self;
        let (unused, _) = pair(1, 1024, 1024, Silent, Silent);
        let queue = std::mem::replace(&mut world.shim, Mailbox::new(unused));
        let forget = world.forget.take().unwrap();
        let segments = world.segments_out.take().unwrap();
        let labels = rings.iter().map(|(label, ..)| *label);
        world.director = Some(director::Director::new(
            (queue, forget, segments),
            labels,
            handshakes,
            refused,
        ));
        world
    }

    pub fn in_mode(mode: Mode, rings: &[(&str, &str, KeyKind)]) -> Self {
        match mode {
            Mode::Autonomous => Self::new(rings),
            Mode::Directed => Self::directed(rings),
        }
    }

    pub fn run(&mut self) {
        self.run_offload();
        while let Some(director) = &mut self.director {
            for (slot, written) in &self.written {
                let unread = self.net.unread(*slot).unwrap();
                director.set_taken(*slot, written - unread as u32);
            }
            if !director.run() {
                break;
            }
            self.run_offload();
        }
    }

    /// What the offload component tells the monitor of its queues.
    pub fn untaken(&self) -> u64 {
        self.offload.untaken()
    }

    /// One turn of the offload component.
    pub fn turn(&mut self) -> offload_server::Turn {
        let turn = self.turn_untold();
        let _ = self.offload.flush();
        turn
    }

    /// The same up to where the domain scrubs its stack.
    pub fn turn_untold(&mut self) -> offload_server::Turn {
        self.offload.run()
    }

    /// As the domain does it: turns until there is no more to do.
    fn run_offload(&mut self) {
        while self.turn().is_busy {}
        assert_eq!(self.offload.untaken(), 0, "it waits for nothing");
    }

    /// Starts a handshake in `slot`, for the session slot of the same number.
    pub fn start(&mut self, slot: SlotIndex, parameters: Parameters) {
        self.start_as(slot, Role::Server, parameters);
    }

    /// The same in either role.
    pub fn start_as(&mut self, slot: SlotIndex, role: Role, parameters: Parameters) {
        self.net.open(slot);
        self.sent.insert(slot, POSITION.tx_next);
        self.written.insert(slot, 0);
        if let Some(director) = &mut self.director {
            director.start(slot, role, parameters);
            return self.run();
        }
        self.start_session(slot, slot, role, parameters);
    }

    /// The same in autonomous mode, for this session slot.
    pub fn start_session(
        &mut self,
        slot: SlotIndex,
        session: SlotIndex,
        role: Role,
        parameters: Parameters,
    ) {
        self.send_start(slot, session, Mode::Autonomous, role, parameters);
    }

    /// Begins a directed handshake in `slot` for a test that says each segment.
    pub fn begin(&mut self, slot: SlotIndex, role: Role, parameters: Parameters) {
        self.send_start(slot, slot, Mode::Directed, role, parameters);
    }

    fn send_start(
        &mut self,
        slot: SlotIndex,
        session: SlotIndex,
        mode: Mode,
        role: Role,
        parameters: Parameters,
    ) {
        self.net.open(slot);
        self.sent.insert(slot, POSITION.tx_next);
        self.written.insert(slot, 0);
        let directive = Directive::Start(Start {
            slot,
            generation: 1,
            session,
            session_generation: 9,
            mode,
            role,
            origin: Origin {
                client: self.client,
                group: self.group,
                deadline: Instant::NEVER,
                standing: self.standing,
            },
            parameters: Box::new(parameters),
            position: POSITION,
        });
        self.shim.send(&directive).unwrap();
        self.run();
    }

    /// Starts a handshake as client, driven by the shim.
    pub fn start_client(&mut self, slot: SlotIndex, parameters: Parameters) {
        self.net.open(slot);
        self.sent.insert(slot, POSITION.tx_next);
        self.written.insert(slot, 0);
        let director = self.director.as_mut().unwrap();
        director.start(slot, Role::Client, parameters);
        self.run();
    }

    /// Bytes from the client; returns what the offload component sends back.
    pub fn exchange(&mut self, slot: SlotIndex, bytes: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        let mut rest = bytes;
        loop {
            let written = self.net.write(slot, rest).unwrap();
            rest = &rest[written..];
            *self.written.get_mut(&slot).unwrap() += written as u32;
            self.run();
            let got = self.take_segments(slot);
            let is_quiet = got.is_empty() && (written == 0 || rest.is_empty());
            answer.extend(got);
            if is_quiet {
                return answer;
            }
        }
    }

    /// Takes segments as the network stack does: numbered on, or refused.
    fn take_segments(&mut self, slot: SlotIndex) -> Vec<u8> {
        let mut bytes = Vec::new();
        let next = self.sent.get_mut(&slot).unwrap();
        while self.net.readable(slot).unwrap() > 0 {
            let mut header = [0; SegmentHeader::SIZE];
            assert_eq!(self.net.read(slot, &mut header), Ok(SegmentHeader::SIZE));
            let header = SegmentHeader::from_bytes(header);
            assert_eq!(header.sequence, *next, "not the next segment");
            let mut segment = vec![0; usize::from(header.length)];
            assert_eq!(self.net.read(slot, &mut segment), Ok(segment.len()));
            *next = next.wrapping_add(u32::from(header.length));
            self.segments.entry(slot).or_default().push(header.length);
            bytes.extend(segment);
        }
        bytes
    }

    /// Has one step of a handshake done, in the director's place.
    pub fn perform(&mut self, slot: SlotIndex, segment: Segment) {
        let step = DirectedSegment {
            slot,
            generation: 1,
            segment,
        };
        self.segments_out.as_mut().unwrap().send(&step).unwrap();
        self.run();
    }

    /// What became of it.
    pub fn verdict(&mut self) -> Option<Verdict> {
        let received = self.segments_out.as_mut()?.receive()?;
        Some(received.unwrap().verdict)
    }

    /// The application closes all its sessions.
    pub fn close_sessions(&mut self) {
        if let Some(director) = &mut self.director {
            director.close_sessions();
        }
    }

    pub fn completion(&mut self) -> Option<Completion> {
        if let Some(director) = &mut self.director {
            return director.completion();
        }
        self.shim.receive().map(|received| received.unwrap())
    }
}

/// Ours for rustls'.
pub fn version_of(version: &rustls::SupportedProtocolVersion) -> Version {
    match version.version {
        rustls::ProtocolVersion::TLSv1_2 => Version::Tls12,
        _ => Version::Tls13,
    }
}

pub fn parameters(rings: &[&str]) -> Parameters {
    Parameters {
        versions: List::from_items([Version::Tls13, Version::Tls12]).unwrap(),
        suites: List::new(),
        groups: List::new(),
        keyrings: List::from_items(rings.iter().map(|r| Text::from_text(r).unwrap())).unwrap(),
        peer_authentication: PeerAuthentication::None,
        server_name: None,
        alpn: List::from_items([Bytes::from_slice(b"http/1.1").unwrap()]).unwrap(),
        segment_size: 1400,
        resumption: false,
        expose_keys: false,
        allow_static_rsa: false,
        peer_schemes: List::new(),
    }
}
