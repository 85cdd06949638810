//! Sessions that are remembered of servers of TLS 1.2, in both modes: how long their
//! tickets may be, and that no two handshakes offer the same one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::world::{World, parameters};
use ipc::bounded::{List, Text};
use ipc::control::Established;
use ipc::handshake::Completion;
use ipc::keystore::KeyKind;
use ipc::record::MAX_POST_HANDSHAKE;
use ipc::tls::Mode;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::ProducesTickets;
use rustls::{ServerConfig, ServerConnection};
use tls::{Role, Version};

const RINGS: [(&str, &str, KeyKind); 1] = [("web", "localhost", KeyKind::EcdsaP256)];
const MODES: [Mode; 2] = [Mode::Autonomous, Mode::Directed];
/// RFC 5077 §3.3: lifetime, then the ticket's length.
const AROUND: usize = 4 + 2;

/// Makes tickets of one length, as many as are left.
#[derive(Debug)]
struct Padding {
    length: usize,
    left: AtomicUsize,
}

impl ProducesTickets for Padding {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        3600
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let next = |left: usize| left.checked_sub(1);
        let order = Ordering::Relaxed;
        self.left.fetch_update(order, order, next).ok()?;
        let mut ticket = (plain.len() as u32).to_be_bytes().to_vec();
        ticket.extend_from_slice(plain);
        assert!(ticket.len() <= self.length);
        ticket.resize(self.length, 0);
        Some(ticket)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (length, rest) = cipher.split_first_chunk()?;
        Some(rest[..u32::from_be_bytes(*length) as usize].to_vec())
    }
}

struct Case {
    world: World,
    server: Arc<ServerConfig>,
}

impl Case {
    fn new(mode: Mode, length: usize, left: usize) -> Self {
        let world = World::sized(&RINGS, 4, 8);
        let world = match mode {
            Mode::Autonomous => world,
            Mode::Directed => world.with_director(&RINGS, 4, Vec::new()),
        };
        let key = crate::world::key_of(KeyKind::EcdsaP256);
        let params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        let certificate = params.signed_by(&key, &world.issuer).unwrap();
        let provider = rustls::crypto::ring::default_provider();
        let mut server = ServerConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        server.ticketer = Arc::new(Padding {
            length,
            left: AtomicUsize::new(left),
        });
        Self {
            world,
            server: Arc::new(server),
        }
    }

    /// Begins a handshake with the server: its hello.
    fn begin(&mut self, slot: u16) -> Vec<u8> {
        let mut asked = parameters(&["web"]);
        asked.versions = List::from_items([Version::Tls12]).unwrap();
        asked.resumption = true;
        asked.server_name = Some(Text::from_text("localhost").unwrap());
        self.world.start_as(slot, Role::Client, asked);
        self.world.exchange(slot, &[])
    }

    fn end(&mut self, slot: u16, hello: Vec<u8>) -> Box<Established> {
        let mut server = ServerConnection::new(self.server.clone()).unwrap();
        let mut heard = hello;
        for _ in 0..10 {
            let mut rest = &heard[..];
            while !rest.is_empty() {
                server.read_tls(&mut rest).unwrap();
                server.process_new_packets().unwrap();
            }
            let mut said = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut said).unwrap();
            }
            heard = self.world.exchange(slot, &said);
            match self.world.completion() {
                Some(Completion::Established { established, .. }) => return established,
                Some(Completion::Failed { error, .. }) => panic!("{error:?}"),
                _ => {}
            }
        }
        panic!("no completion");
    }

    fn meet(&mut self, slot: u16) -> Box<Established> {
        let hello = self.begin(slot);
        self.end(slot, hello)
    }
}

#[test]
fn r33_a_server_s_ticket_is_remembered_up_to_a_bound() {
    for mode in MODES {
        for (length, is_remembered) in [
            (300, true),
            (MAX_POST_HANDSHAKE - AROUND, true),
            (MAX_POST_HANDSHAKE - AROUND + 1, false),
            (9000, false),
        ] {
            let mut case = Case::new(mode, length, usize::MAX);
            assert!(!case.meet(0).resumed);
            let resumed = case.meet(0).resumed;
            assert_eq!(resumed, is_remembered, "{mode:?} {length}");
        }
    }
}

#[test]
fn r33_no_two_handshakes_offer_the_same_session_and_one_without_a_new_ticket_stays_good() {
    for mode in MODES {
        let mut case = Case::new(mode, 300, 1);
        assert!(!case.meet(0).resumed);
        for round in 0..3 {
            let first = case.begin(0);
            let second = case.begin(1);
            assert!(!case.end(1, second).resumed, "{mode:?} {round}");
            assert!(case.end(0, first).resumed, "{mode:?} {round}");
        }
    }
}
