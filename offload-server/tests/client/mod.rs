//! rustls as client of the offload component.
#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::Arc;
use std::time::SystemTime;

use ipc::control::{Established, HandshakeError};
use ipc::handshake::Completion;
use ipc::keystore::KeyKind;
use rustls::client::UnbufferedClientConnection;
use rustls::crypto::ring as provider;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{ClientConfig, Error, RootCertStore, SupportedCipherSuite};
use tls::Group;

use super::world::{World, key_of};

/// A client, and what it has to say and has not said.
pub struct Client {
    pub connection: UnbufferedClientConnection,
    pub incoming: Vec<u8>,
    pub outgoing: Vec<u8>,
    pub error: Option<Error>,
}

pub struct ClientOptions {
    pub suites: Vec<SupportedCipherSuite>,
    pub groups: Vec<Group>,
    pub versions: Vec<&'static rustls::SupportedProtocolVersion>,
    pub name: &'static str,
    pub alpn: Vec<Vec<u8>>,
    pub has_certificate: bool,
    /// Names in its certificate beside the first.
    pub more_names: usize,
    /// Of its certificate.
    pub not_after: Option<SystemTime>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            suites: provider::ALL_CIPHER_SUITES.to_vec(),
            groups: Group::ALL.to_vec(),
            versions: vec![&rustls::version::TLS13, &rustls::version::TLS12],
            name: "localhost",
            alpn: vec![b"http/1.1".to_vec()],
            has_certificate: false,
            more_names: 0,
            not_after: None,
        }
    }
}

impl Client {
    pub fn new(world: &World, options: &ClientOptions) -> Self {
        Self::with(Self::config(world, options), options.name)
    }

    /// A client's configuration; those that share one resume each other's
    /// sessions.
    pub fn config(world: &World, options: &ClientOptions) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(world.authority.clone()).unwrap();
        let group = |group: &Group| peer_groups::group(group.number()).unwrap();
        let provider = rustls::crypto::CryptoProvider {
            cipher_suites: options.suites.clone(),
            kx_groups: options.groups.iter().map(group).collect(),
            ..provider::default_provider()
        };
        let builder = ClientConfig::builder_with_details(
            Arc::new(provider),
            Arc::new(rustls::time_provider::DefaultTimeProvider),
        )
        .with_protocol_versions(&options.versions)
        .unwrap()
        .with_root_certificates(roots);
        let mut config = if options.has_certificate {
            let key = key_of(KeyKind::EcdsaP256);
            let more = (0..options.more_names).map(|number| format!("{number:04}.client.test"));
            let names: Vec<_> = ["client".to_string()].into_iter().chain(more).collect();
            let mut params = rcgen::CertificateParams::new(names).unwrap();
            if let Some(not_after) = options.not_after {
                params.not_after = not_after.into();
            }
            let certificate = params.signed_by(&key, &world.issuer).unwrap();
            let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
            builder
                .with_client_auth_cert(vec![certificate.der().clone()], key)
                .unwrap()
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = options.alpn.clone();
        config.enable_secret_extraction = true;
        Arc::new(config)
    }

    pub fn with(config: Arc<ClientConfig>, name: &'static str) -> Self {
        let name = ServerName::try_from(name).unwrap();
        let connection = UnbufferedClientConnection::new(config, name).unwrap();
        let mut client = Self {
            connection,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            error: None,
        };
        client.advance();
        client
    }

    pub fn receive(&mut self, bytes: &[u8]) {
        self.incoming.extend_from_slice(bytes);
        self.advance();
    }

    pub fn advance(&mut self) {
        loop {
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(&mut self.incoming);
            let goes_on = match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let start = self.outgoing.len();
                    let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else {
                        panic!("nothing to encode");
                    };
                    self.outgoing.resize(start + size.required_size, 0);
                    data.encode(&mut self.outgoing[start..]).unwrap();
                    true
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    true
                }
                Err(error) => {
                    let first = self.error.is_none();
                    self.error.get_or_insert(error);
                    first
                }
                Ok(_) => false,
            };
            self.incoming.drain(..discard);
            if !goes_on {
                return;
            }
        }
    }

    pub fn encrypt(&mut self, text: &[u8]) -> Vec<u8> {
        let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut []);
        let Ok(ConnectionState::WriteTraffic(mut traffic)) = state else {
            panic!("not ready for traffic");
        };
        let mut record = vec![0; text.len() + 100];
        let length = traffic.encrypt(text, &mut record).unwrap();
        record.truncate(length);
        record
    }

    pub fn is_done(&self) -> bool {
        !self.connection.is_handshaking()
    }
}

/// Runs a handshake in `slot` to its completion.
pub fn complete(world: &mut World, slot: u16, client: &mut Client) -> Completion {
    for _ in 0..10 {
        let out = std::mem::take(&mut client.outgoing);
        let answer = world.exchange(slot, &out);
        client.receive(&answer);
        if let Some(completion) = world.completion() {
            return completion;
        }
    }
    panic!("no completion; client: {:?}", client.error);
}

pub fn established(completion: Completion) -> Established {
    match completion {
        Completion::Established {
            generation,
            established,
            ..
        } => {
            assert_eq!(generation, 1);
            *established
        }
        Completion::Failed { error, .. } => panic!("failed: {error:?}"),
    }
}

pub fn failure(completion: Completion) -> HandshakeError {
    match completion {
        Completion::Failed { error, .. } => error,
        Completion::Established { .. } => panic!("established"),
    }
}
