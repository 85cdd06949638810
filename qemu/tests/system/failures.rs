//! A thousand handshakes that fail, spread over every kind, both roles and both
//! modes: what the system holds afterwards is what it held before.
//!
//! Each kind fails a thousand times in `offload-server/tests/handshakes/failures.rs`.

use std::env;
use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ipc::stats::{self, Counter};
use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, ring};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, NamedGroup, ServerConfig, ServerConnection,
    SignatureScheme, SupportedProtocolVersion,
};
use socket2::SockRef;

use crate::harness::client::tcp;
use crate::harness::evidence::Counters;
use crate::harness::site::{Site, port};
use crate::harness::{PATIENCE, own};
use crate::upstream::ask;

type Version = &'static SupportedProtocolVersion;

const VERSIONS: [Version; 2] = [&TLS13, &TLS12];
const TWICE: [fn(u16) -> u16; 2] = [|port| port, port::directed];
/// Of each kind; `HANDOFF_FAILURES` overrides it.
const ROUNDS: usize = 14;
/// More than the sockets that the network stack keeps for further connections.
const CROWD: usize = 48;
/// By how much the sockets that it keeps differ with what they were for: 32, of 16
/// or of 24 KiB, as in `netstack-server`.
const POOL: u64 = 32 * 8 * 1024;
/// What the figures may take to come to rest: several connections' deadlines.
const SETTLING: Duration = Duration::from_secs(120);
/// handshake_failure, fatal (RFC 8446 §6), in the clear.
const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];

#[test]
fn r09_a_thousand_handshakes_that_fail_leave_nothing_behind() {
    let site = own("failures");
    let faults = Faults::new(&site);
    // Tables and caches have their size after the first of each kind.
    for _ in 0..2 {
        faults.round();
    }
    faults.crowd();
    let before = settled(&site);
    let rounds = env::var("HANDOFF_FAILURES").map_or(ROUNDS, |count| count.parse().unwrap());
    let mut count: u64 = (0..rounds).map(|_| faults.round()).sum();
    // Those wait side by side.
    for done in (0..rounds).step_by(ROUNDS) {
        count += faults.wait_in_vain(ROUNDS.min(rounds - done));
    }
    let after = settled(&site);
    assert!(count >= 1000, "{count} failures");
    let more = |counter| after.of(counter) - before.of(counter);
    // The gateway never sees a client that resets its connection before it has said hello.
    let failed = more(stats::gateway::FAILED) + more(stats::netstack::RESET_EARLY);
    assert_eq!(failed, count, "failures that are counted");
    for figure in HELD {
        let (first, last) = (before.of(figure), after.of(figure));
        let what = format!("{} after {count} failures", figure.name);
        if figure.name == stats::netstack::HEAP.name {
            assert!(last <= first + POOL, "{what}: {first}, then {last}");
        } else {
            assert_eq!(first, last, "{what}");
        }
    }
    site.assert_unharmed();
}

/// What is held: connections, slots, memory.
const HELD: [Counter; 12] = [
    stats::netstack::CONNECTIONS,
    stats::offload::IN_PROGRESS,
    stats::shim::IN_PROGRESS,
    stats::shim::SESSIONS,
    stats::record::SESSIONS,
    stats::gateway::SESSIONS,
    stats::netstack::HEAP,
    stats::offload::HEAP,
    stats::keystore::HEAP,
    stats::record::HEAP,
    stats::shim::HEAP,
    stats::gateway::HEAP,
];

/// The counters once nothing moves any more.
fn settled(site: &Site) -> Counters {
    let deadline = Instant::now() + SETTLING;
    let mut last = site.counters().unwrap();
    loop {
        // Longer than a connection is in TIME-WAIT (smoltcp: 10 s): the client that asks
        // has one, and must find no other of its own.
        thread::sleep(Duration::from_secs(12));
        let now = site.counters().unwrap();
        let moving: Vec<_> = HELD
            .iter()
            .map(|figure| (figure.name, last.of(*figure), now.of(*figure)))
            .filter(|(_, before, after)| before != after)
            .collect();
        if moving.is_empty() {
            return now;
        }
        assert!(Instant::now() < deadline, "not settled: {moving:?}");
        last = now;
    }
}

/// Peers that fail, and what they need for it.
struct Faults<'a> {
    site: &'a Site,
    plain: [Arc<ClientConfig>; 2],
    stranger: [Arc<ClientConfig>; 2],
    impostor: [Arc<ClientConfig>; 2],
    other_suite: Arc<ClientConfig>,
    other_group: Arc<ClientConfig>,
    servers: [Arc<ServerConfig>; 2],
}

impl<'a> Faults<'a> {
    fn new(site: &'a Site) -> Self {
        let all = || ring::default_provider();
        let shown = |chain, key| move |version| shows(site, version, chain, key);
        let suites = |suite| CryptoProvider {
            cipher_suites: all()
                .cipher_suites
                .into_iter()
                .filter(|known| known.suite() == suite)
                .collect(),
            ..all()
        };
        let groups = |group| CryptoProvider {
            kx_groups: all()
                .kx_groups
                .into_iter()
                .filter(|known| known.name() == group)
                .collect(),
            ..all()
        };
        let server = |version| {
            let config = ServerConfig::builder_with_protocol_versions(&[version])
                .with_no_client_auth()
                .with_single_cert(site.material.chain("p256"), site.material.key("p256"));
            Arc::new(config.unwrap())
        };
        Self {
            site,
            plain: VERSIONS.map(|version| anonymous(site, version, all())),
            stranger: VERSIONS.map(shown("stranger", "stranger")),
            impostor: VERSIONS.map(shown("client", "stranger")),
            other_suite: anonymous(site, &TLS13, suites(CipherSuite::TLS13_AES_128_GCM_SHA256)),
            other_group: anonymous(site, &TLS13, groups(NamedGroup::X25519)),
            servers: VERSIONS.map(server),
        }
    }

    /// One failure of each kind that needs no waiting; how many they are.
    fn round(&self) -> u64 {
        let mut count = 0;
        for twin in TWICE {
            count += self.clients(|port| self.site.address(twin(port)));
            count += self.servers(twin);
        }
        count
    }

    /// The gateway is the server.
    fn clients(&self, at: impl Fn(u16) -> SocketAddr) -> u64 {
        let mut count = 0;
        let mut failed = |socket: TcpStream| {
            until_closed(socket);
            count += 1;
        };
        let connect = |port| tcp(at(port)).unwrap();
        let required = port::CERTIFICATE_REQUIRED;
        failed(says(connect(port::ECHO), b""));
        failed(says(connect(port::ECHO), b"GET / HTTP/1.1\r\n\r\n"));
        for [plain, stranger, impostor] in [0, 1].map(|version| {
            [&self.plain, &self.stranger, &self.impostor].map(|configs| &configs[version])
        }) {
            let hello = flight(&mut client(plain));
            let mut socket = connect(port::ECHO);
            socket.write_all(&hello[..hello.len() / 2]).unwrap();
            // QEMU's user network tells the guest nothing of a connection that is reset
            // before it came there. This one did, when one that comes after it is served.
            self.site.counters().unwrap();
            reset(&socket);
            failed(socket);
            let mut socket = connect(port::ECHO);
            socket.write_all(&hello).unwrap();
            socket.read_exact(&mut [0; 100]).unwrap();
            failed(socket);
            failed(says(connect(port::ECHO), &[&hello[..], &ALERT].concat()));
            let mut socket = connect(port::ECHO);
            let mut finished = second_flight(plain, &mut socket);
            change_last(&mut finished);
            failed(says(socket, &finished));
            for config in [plain, stranger, impostor] {
                let mut socket = connect(required);
                let flight = second_flight(config, &mut socket);
                failed(says(socket, &flight));
            }
        }
        for (config, port) in [
            (&self.plain[1], port::TLS13_ONLY),
            (&self.plain[0], port::TLS12_ONLY),
            (&self.other_suite, port::ONE_CHOICE),
            (&self.other_group, port::ONE_CHOICE),
        ] {
            failed(says(connect(port), &flight(&mut client(config))));
        }
        let mut hello = self.resuming(at(port::ECHO));
        // The last of its binders (RFC 8446 §4.2.11).
        change_last(&mut hello);
        failed(says(connect(port::ECHO), &hello));
        count
    }

    /// A ClientHello with a ticket.
    fn resuming(&self, address: SocketAddr) -> Vec<u8> {
        let config = anonymous(self.site, &TLS13, ring::default_provider());
        let mut socket = tcp(address).unwrap();
        let mut connection = client(&config);
        let mut stream = rustls::Stream::new(&mut connection, &mut socket);
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        connection.send_close_notify();
        socket.write_all(&flight(&mut connection)).unwrap();
        until_closed(socket);
        flight(&mut client(&config))
    }

    /// The gateway is the client.
    fn servers(&self, twin: impl Fn(u16) -> u16) -> u64 {
        for port in [port::WRONG_NAME, port::EXPIRED, port::UNKNOWN_AUTHORITY] {
            assert_eq!(ask(self.site, twin(port)), "", "{port}");
        }
        let mut count = 3;
        let mut failed = |end: &dyn Fn(&mut TcpStream)| {
            let asking = tcp(self.site.address(twin(port::HELD))).unwrap();
            let mut socket = self.site.held.accept().unwrap().0;
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            end(&mut socket);
            until_closed(socket);
            until_closed(asking);
            count += 1;
        };
        failed(&|_| {});
        failed(&|socket| {
            socket.read_exact(&mut [0; 100]).unwrap();
            reset(socket);
        });
        failed(&|socket| socket.write_all(&ALERT).unwrap());
        failed(&|socket| {
            socket
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .unwrap()
        });
        for config in &self.servers {
            failed(&|socket| {
                let flight = answer(config, socket);
                socket.write_all(&flight[..flight.len() / 2]).unwrap();
            });
            failed(&|socket| {
                let mut flight = answer(config, socket);
                change_last(&mut flight);
                socket.write_all(&flight).unwrap();
            });
            failed(&|socket| {
                let flight = answer(config, socket);
                // In place of as many bytes: one alone may be the right one.
                let cut = flight.len() - ALERT.len();
                socket.write_all(&flight[..cut]).unwrap();
                socket.write_all(&ALERT).unwrap();
            });
        }
        count
    }

    /// Clients that leave together without a word: more than the network stack keeps
    /// sockets for, so that it keeps as many as it does at most.
    fn crowd(&self) {
        let connect = |_| {
            // QEMU's user network keeps one connection waiting.
            thread::sleep(Duration::from_millis(30));
            tcp(self.site.address(port::ECHO)).unwrap()
        };
        let all: Vec<_> = (0..CROWD).map(connect).collect();
        all.into_iter().for_each(until_closed);
    }

    /// `count` times in each role and mode nothing comes until the deadline.
    fn wait_in_vain(&self, count: usize) -> u64 {
        let mut waiting = Vec::new();
        let mut held = Vec::new();
        for twin in TWICE {
            for _ in 0..count {
                // QEMU's user network keeps one connection waiting.
                thread::sleep(Duration::from_millis(30));
                waiting.push(tcp(self.site.address(twin(port::HURRIED))).unwrap());
                thread::sleep(Duration::from_millis(30));
                waiting.push(tcp(self.site.address(twin(port::HELD))).unwrap());
                held.push(self.site.held.accept().unwrap().0);
            }
        }
        let number = waiting.len() as u64;
        waiting.into_iter().for_each(until_closed_by_peer);
        drop(held);
        number
    }
}

fn anonymous(site: &Site, version: Version, provider: CryptoProvider) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(site.material.roots())
        .with_no_client_auth();
    Arc::new(config)
}

/// A client that shows one's chain and signs with another's key.
fn shows(site: &Site, version: Version, chain: &str, key: &str) -> Arc<ClientConfig> {
    let key = ring::sign::any_supported_type(&site.material.key(key)).unwrap();
    let shown = CertifiedKey::new(site.material.chain(chain), key);
    let config = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(site.material.roots())
        .with_client_cert_resolver(Arc::new(Shown(Arc::new(shown))));
    Arc::new(config)
}

#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn client(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = "localhost".try_into().unwrap();
    ClientConnection::new(config.clone(), name).unwrap()
}

/// All that one side has to send.
fn flight<C, D>(connection: &mut C) -> Vec<u8>
where
    C: std::ops::DerefMut<Target = rustls::ConnectionCommon<D>>,
{
    let mut bytes = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// What a client says after the server's flight.
fn second_flight(config: &Arc<ClientConfig>, socket: &mut TcpStream) -> Vec<u8> {
    let mut connection = client(config);
    socket.write_all(&flight(&mut connection)).unwrap();
    while !connection.wants_write() {
        connection.read_tls(socket).unwrap();
        connection.process_new_packets().unwrap();
    }
    flight(&mut connection)
}

/// What a server says to the hello that comes.
fn answer(config: &Arc<ServerConfig>, socket: &mut TcpStream) -> Vec<u8> {
    let mut connection = ServerConnection::new(config.clone()).unwrap();
    while !connection.wants_write() {
        connection.read_tls(socket).unwrap();
        connection.process_new_packets().unwrap();
    }
    flight(&mut connection)
}

fn says(mut socket: TcpStream, bytes: &[u8]) -> TcpStream {
    // The gateway may have closed before all is written.
    let _ = socket.write_all(bytes);
    socket
}

fn change_last(bytes: &mut [u8]) {
    *bytes.last_mut().unwrap() ^= 1;
}

/// The end of this connection will be a reset.
fn reset(socket: &TcpStream) {
    SockRef::from(socket)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}

/// Ends a connection; waits for the gateway's end of it unless that is a reset.
fn until_closed(socket: TcpStream) {
    if SockRef::from(&socket).linger().unwrap().is_some() {
        return;
    }
    let _ = socket.shutdown(std::net::Shutdown::Write);
    until_closed_by_peer(socket);
}

fn until_closed_by_peer(mut socket: TcpStream) {
    // How it ends is not what this is about.
    if let Err(error) = io::copy(&mut socket, &mut io::sink()) {
        assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "not closed");
    }
}
