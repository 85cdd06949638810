//! One session between a rustls client and the record layer, without a kernel.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]
#![allow(dead_code, reason = "each test file uses a part")]

use std::io::Read;
use std::sync::Arc;

use ipc::badge::Badge;
use ipc::channel::local::{LocalChannel, LocalDoorbell, Silent, pair};
use ipc::clock::Instant;
use ipc::queue::Queue;
use ipc::record::{Answer, PostHandshakeInbox, Record, RecordError, Request};
use ipc::stats;
use ipc::transport::{MAX_MESSAGE, Protocol, decode};
use rcgen::{CertificateParams, KeyPair};
use record_server::{Limits, Ports, Server};
use rustls::crypto::ring as provider;
use rustls::kernel::KernelConnection;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, RootCertStore, ServerConfig,
    SupportedCipherSuite,
};
use tls::{CipherSuite, Exporter, RecordLimit, Role, Secret, TrafficKey};

pub(crate) const SLOT: u16 = 1;
pub(crate) const SESSION: Badge = Badge::Session {
    slot: SLOT,
    generation: 3,
};

pub(crate) type Bell = LocalDoorbell<Silent>;

/// One session between a rustls client and the record layer.
pub(crate) struct World {
    pub(crate) server: Server<'static, Bell, Bell, Bell>,
    pub(crate) net: LocalChannel<Silent>,
    pub(crate) app: LocalChannel<Silent>,
    pub(crate) offload: PostHandshakeInbox<Bell>,
    pub(crate) client: ClientConnection,
    pub(crate) secrets: KernelConnection<ServerConnectionData>,
    pub(crate) stats: &'static stats::Page,
    pub(crate) now: Instant,
}

pub(crate) fn traffic((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> TrafficKey {
    use ConnectionTrafficSecrets::{Aes128Gcm, Aes256Gcm, Chacha20Poly1305};
    let (Aes128Gcm { key, iv } | Aes256Gcm { key, iv } | Chacha20Poly1305 { key, iv }) = secrets
    else {
        panic!("another AEAD");
    };
    TrafficKey {
        key: Secret::from_slice(key.as_ref()).unwrap(),
        iv: Secret::from_slice(iv.as_ref()).unwrap(),
        sequence,
    }
}

/// A finished handshake: the client, and the server's secrets.
pub(crate) fn handshake(
    suite: SupportedCipherSuite,
    fragment: Option<usize>,
) -> (ClientConnection, UnbufferedServerConnection) {
    let key =
        KeyPair::from_pem(include_str!("../../../keystore-server/tests/rsa2048.pem")).unwrap();
    let ecdsa = KeyPair::generate().unwrap();
    let is_rsa = format!("{:?}", suite.suite()).contains("_RSA_");
    let key = if is_rsa { key } else { ecdsa };
    let certificate = CertificateParams::new(vec!["localhost".into()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let provider = Arc::new(rustls::crypto::CryptoProvider {
        cipher_suites: vec![suite],
        ..provider::default_provider()
    });
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[suite.version()])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.max_fragment_size = fragment;
    let der = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[suite.version()])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], der)
        .unwrap();
    server.enable_secret_extraction = true;
    server.send_tls13_tickets = 0;
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = UnbufferedServerConnection::new(Arc::new(server)).unwrap();
    client.set_buffer_limit(None);
    while client.is_handshaking() || client.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let answer = advance(&mut server, &mut bytes);
        client.read_tls(&mut &answer[..]).unwrap();
        client.process_new_packets().unwrap();
    }
    (client, server)
}

/// Gives the server bytes; returns its answer.
pub(crate) fn advance(server: &mut UnbufferedServerConnection, bytes: &mut Vec<u8>) -> Vec<u8> {
    let mut answer = Vec::new();
    loop {
        let UnbufferedStatus { discard, state } = server.process_tls_records(bytes);
        let goes_on = match state.unwrap() {
            ConnectionState::EncodeTlsData(mut data) => {
                let mut room = vec![0; 32768];
                let length = data.encode(&mut room).unwrap();
                answer.extend_from_slice(&room[..length]);
                true
            }
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                true
            }
            _ => false,
        };
        bytes.drain(..discard);
        if !goes_on {
            return answer;
        }
    }
}

/// What keying material of the session comes from.
pub(crate) fn exporter() -> Exporter {
    Exporter::tls13(Secret::from_slice(&[3; 32]).unwrap())
}

impl World {
    pub(crate) fn new(
        suite: SupportedCipherSuite,
        fragment: Option<usize>,
        limits: Limits,
    ) -> Self {
        Self::limited(suite, fragment, limits, RecordLimit::NONE)
    }

    /// The same for a peer that takes no longer records.
    pub(crate) fn limited(
        suite: SupportedCipherSuite,
        fragment: Option<usize>,
        limits: Limits,
        record_limit: RecordLimit,
    ) -> Self {
        let (client, server) = handshake(suite, fragment);
        let (secrets, kernel) = server.dangerous_into_kernel_connection().unwrap();
        let (mut net, net_side) = pair(2, 32768, 16384, Silent, Silent);
        let (app, app_side) = pair(2, 16384, 16384, Silent, Silent);
        let (offload, offload_side) = pair(1, 65536, 65536, Silent, Silent);
        let stats: &'static stats::Page = Box::leak(Box::default());
        let ports = Ports {
            net: net_side,
            app: app_side.into(),
            offload: Queue::new(offload_side),
            stats,
        };
        let server = Server::new(ports, limits);
        let number = u16::from(suite.suite());
        let install = Request::Install {
            generation: 3,
            role: Role::Server,
            suite: CipherSuite::from_number(number).unwrap(),
            tx: traffic(secrets.tx),
            rx: traffic(secrets.rx),
            record_limit,
            exporter: exporter(),
        };
        net.open(SLOT);
        net.notify(SLOT);
        let mut world = Self {
            server,
            net,
            app,
            offload: Queue::new(offload),
            client,
            secrets: kernel,
            stats,
            now: Instant::from_millis(1),
        };
        assert_eq!(world.call(SESSION, &install), Ok(()));
        world.app.follow(SLOT);
        world
    }

    /// The offload component ends and restarts, on the same memory.
    pub(crate) fn restart_offload(self) -> Self {
        Self {
            offload: Queue::new(self.offload.into_channel().restart()),
            ..self
        }
    }

    /// As a domain does it: turns until there is no more to do.
    pub(crate) fn run(&mut self) {
        self.server.run(self.now);
        while self.server.is_busy() {
            self.server.run(self.now);
        }
        assert_eq!(self.server.untaken(), 0, "it waits for nothing");
    }

    pub(crate) fn ask(&mut self, badge: Badge, request: &Request) -> Result<Answer, RecordError> {
        let request = postcard::to_allocvec(request).unwrap();
        let mut reply = [0; MAX_MESSAGE];
        let length = self
            .server
            .serve(badge.to_word(), &request, &mut reply, self.now);
        while self.server.is_busy() {
            self.server.run(self.now);
        }
        decode::<<Record as Protocol>::Reply>(&reply[..length]).unwrap()
    }

    pub(crate) fn call(&mut self, badge: Badge, request: &Request) -> Result<(), RecordError> {
        self.ask(badge, request)
            .map(|answer| assert_eq!(answer, Answer::Done))
    }

    /// Moves bytes between client and record layer until nothing moves.
    pub(crate) fn settle(&mut self) -> Result<(), rustls::Error> {
        let mut pending = Vec::new();
        loop {
            while self.client.wants_write() {
                self.client.write_tls(&mut pending).unwrap();
            }
            let written = self.net.write(SLOT, &pending).unwrap();
            pending.drain(..written);
            self.run();
            let mut bytes = vec![0; 65536];
            let count = self.net.read(SLOT, &mut bytes).unwrap();
            let mut rest = &bytes[..count];
            while !rest.is_empty() {
                self.client.read_tls(&mut rest).unwrap();
                self.client.process_new_packets()?;
            }
            self.run();
            if written == 0 && count == 0 {
                return Ok(());
            }
        }
    }

    pub(crate) fn app_read(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 65536];
        let count = self.app.read(SLOT, &mut bytes).unwrap();
        bytes.truncate(count);
        bytes
    }

    pub(crate) fn client_read(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // WouldBlock when nothing more is there.
        let _ = self.client.reader().read_to_end(&mut bytes);
        bytes
    }

    /// Puts raw bytes where the client's would be.
    pub(crate) fn inject(&mut self, bytes: &[u8]) {
        assert_eq!(self.net.write(SLOT, bytes), Ok(bytes.len()));
        self.run();
    }
}

pub(crate) fn tls13() -> SupportedCipherSuite {
    provider::cipher_suite::TLS13_AES_128_GCM_SHA256
}

pub(crate) fn tls12() -> SupportedCipherSuite {
    provider::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
}
