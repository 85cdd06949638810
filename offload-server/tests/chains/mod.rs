//! Clients with certificates as long as a test wants.

use std::sync::Arc;

use ipc::keystore::KeyKind;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tls::Version;

use crate::client::Client;
use crate::world::World;

/// All that a client says after the server's first flight.
pub(crate) fn flight(world: &mut World, slot: u16, config: &Arc<ClientConfig>) -> Box<[u8]> {
    let mut client = Client::with(config.clone(), "localhost");
    let answer = world.exchange(slot, &client.outgoing);
    client.outgoing.clear();
    client.receive(&answer);
    assert!(client.error.is_none(), "{:?}", client.error);
    client.outgoing.into_boxed_slice()
}

/// Where the records of `flight` begin.
pub(crate) fn records(flight: &[u8]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = 0;
    while let Some([_, _, _, high, low]) = flight.get(at..at + 5) {
        starts.push(at);
        at += 5 + usize::from(u16::from_be_bytes([*high, *low]));
    }
    starts
}

/// A client with a certificate that the world trusts, and `more` after it.
pub(crate) fn with_certificates(
    world: &World,
    version: Version,
    more: &[CertificateDer<'static>],
) -> Arc<ClientConfig> {
    let key = crate::world::key_of(KeyKind::EcdsaP256);
    let params = rcgen::CertificateParams::new(vec!["client".into()]).unwrap();
    let certificate = params.signed_by(&key, &world.issuer).unwrap();
    let mut chain = vec![certificate.der().clone()];
    chain.extend_from_slice(more);
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(world.authority.clone()).unwrap();
    let version = match version {
        Version::Tls13 => &rustls::version::TLS13,
        Version::Tls12 => &rustls::version::TLS12,
    };
    let mut config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}
