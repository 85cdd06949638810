//! Several tenants behind one listener: the key ring that a client's server name chooses
//! decides whose certificates are accepted, and no other ring does.

use std::sync::{Arc, Mutex};

use crate::client::{Client, complete, established, failure};
use crate::world::{World, authority, key_of, keyring, parameters, tenant};
use ipc::bounded::{Blob, List};
use ipc::control::{HandshakeError, Parameters, PeerError};
use ipc::handshake::Completion;
use ipc::keystore::KeyKind;
use ipc::segment::{Fill, Hole, Segment, Template, Verdict};
use ipc::tls::{Mode, PeerAuthentication};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::client::ResolvesClientCert;
use rustls::crypto::ring as provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use tls::{Alert, Role, Version};

const RINGS: [(&str, &str, KeyKind); 2] = [
    ("a", "a.test", KeyKind::EcdsaP256),
    ("b", "b.test", KeyKind::EcdsaP256),
];
const BOTH: [(Mode, Version); 4] = [
    (Mode::Autonomous, Version::Tls13),
    (Mode::Autonomous, Version::Tls12),
    (Mode::Directed, Version::Tls13),
    (Mode::Directed, Version::Tls12),
];
const UNKNOWN_CA: HandshakeError = HandshakeError::Peer(PeerError::AlertSent(Alert(48)));

type Authority = CertifiedIssuer<'static, KeyPair>;

struct Tenants {
    world: World,
    a: Authority,
    b: Authority,
}

fn tenants(mode: Mode) -> Tenants {
    let (issuer, a, b) = (authority(), tenant("tenant A"), tenant("tenant B"));
    let rings = vec![
        keyring(RINGS[0], &issuer, a.der(), None),
        keyring(RINGS[1], &issuer, b.der(), None),
    ];
    let world = World::with_keyrings(rings, issuer, 8, 32);
    let world = match mode {
        Mode::Autonomous => world,
        Mode::Directed => world.with_director(&RINGS, 8, Vec::new()),
    };
    Tenants { world, a, b }
}

fn asked() -> Parameters {
    let mut asked = parameters(&["a", "b"]);
    asked.peer_authentication = PeerAuthentication::Require;
    asked.resumption = true;
    asked
}

/// Shows its certificate, whatever the server names, and notes what that was.
struct Noting {
    own: Arc<CertifiedKey>,
    named: Mutex<Vec<Vec<u8>>>,
}

impl std::fmt::Debug for Noting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Noting")
    }
}

impl ResolvesClientCert for Noting {
    fn resolve(&self, named: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        *self.named.lock().unwrap() = named.iter().map(|name| name.to_vec()).collect();
        Some(self.own.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A client whose certificate `issuer` signed.
fn client_of(
    world: &World,
    issuer: &Authority,
    version: Version,
) -> (Arc<ClientConfig>, Arc<Noting>) {
    let key = key_of(KeyKind::EcdsaP256);
    let params = CertificateParams::new(vec!["client".into()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let key = provider::sign::any_supported_type(&key).unwrap();
    let noting = Arc::new(Noting {
        own: Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)),
        named: Mutex::default(),
    });
    let mut roots = RootCertStore::empty();
    roots.add(world.authority.clone()).unwrap();
    let version = match version {
        Version::Tls13 => &rustls::version::TLS13,
        Version::Tls12 => &rustls::version::TLS12,
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(noting.clone());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    (Arc::new(config), noting)
}

/// The subject of an authority, as TLS names it.
fn subject(authority: &Authority) -> Vec<u8> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    roots.subjects()[0].as_ref().to_vec()
}

#[test]
fn r07_a_client_of_one_tenant_is_let_in_by_that_tenant_alone() {
    for (mode, version) in BOTH {
        let Tenants { mut world, a, b } = tenants(mode);
        for (own, name, ring, other) in
            [(&a, "a.test", "a", "b.test"), (&b, "b.test", "b", "a.test")]
        {
            let (config, noting) = client_of(&world, own, version);
            world.start(0, asked());
            let mut client = Client::with(config.clone(), name);
            let established = established(complete(&mut world, 0, &mut client));
            assert_eq!(&*established.keyring, ring, "{mode:?} {version:?}");
            assert!(established.peer.is_some());
            assert_eq!(*noting.named.lock().unwrap(), [subject(own)]);

            world.start(0, asked());
            let mut client = Client::with(config, other);
            let error = failure(complete(&mut world, 0, &mut client));
            assert_eq!(error, UNKNOWN_CA, "{mode:?} {version:?} {name}");
            let theirs = if ring == "a" { &b } else { &a };
            assert_eq!(*noting.named.lock().unwrap(), [subject(theirs)]);
        }
    }
}

#[test]
fn r07_clients_of_two_tenants_whose_bytes_are_interleaved_are_not_mixed_up() {
    for (mode, version) in BOTH {
        let Tenants { mut world, a, b } = tenants(mode);
        // Whose client, which name, whether it is accepted.
        let cases = [
            (&a, "a.test", true),
            (&b, "b.test", true),
            (&a, "b.test", false),
            (&b, "a.test", false),
        ];
        let mut clients: Vec<_> = (0_u16..)
            .zip(&cases)
            .map(|(slot, (issuer, name, _))| {
                world.start(slot, asked());
                let (config, noting) = client_of(&world, issuer, version);
                (Client::with(config, name), noting)
            })
            .collect();
        let mut outcomes = [None, None, None, None];
        // A part at a time, so that each is between two of all others.
        for _ in 0..400 {
            for (slot, (client, _)) in (0_u16..).zip(&mut clients) {
                let length = client.outgoing.len().min(50);
                let part: Vec<u8> = client.outgoing.drain(..length).collect();
                client.receive(&world.exchange(slot, &part));
            }
            while let Some(completion) = world.completion() {
                match completion {
                    Completion::Established {
                        slot, established, ..
                    } => outcomes[usize::from(slot)] = Some(Ok(established.keyring)),
                    Completion::Failed { slot, error, .. } => {
                        outcomes[usize::from(slot)] = Some(Err(error));
                    }
                }
            }
        }
        for (outcome, (_, name, is_good)) in outcomes.iter().zip(&cases) {
            match outcome.as_ref().unwrap() {
                Ok(ring) => assert!(
                    *is_good && name.starts_with(&**ring),
                    "{mode:?} {version:?}"
                ),
                Err(error) => assert!(!is_good && *error == UNKNOWN_CA, "{mode:?}: {error:?}"),
            }
        }
        for ((_, noting), (_, name, _)) in clients.iter().zip(&cases) {
            let of = if *name == "a.test" { &a } else { &b };
            assert_eq!(*noting.named.lock().unwrap(), [subject(of)]);
        }
    }
}

#[test]
fn a_directed_handshake_that_began_with_one_ring_does_no_step_with_another() {
    let written = |fill| {
        Segment::Write(Template {
            message: Blob::from_slice(&[11, 0, 0, 0]).unwrap(),
            holes: List::from_items([Hole {
                offset: 4,
                prefix: 3,
                fill,
            }])
            .unwrap(),
        })
    };
    for (second, is_done) in [
        (Fill::Chain(0), true),
        (Fill::Authorities(0), true),
        (Fill::Chain(1), false),
        (Fill::Authorities(1), false),
    ] {
        let Tenants { mut world, .. } = tenants(Mode::Autonomous);
        world.begin(0, Role::Server, asked());
        assert!(matches!(world.verdict(), Some(Verdict::Begun { .. })));
        let mut tell = |fill| {
            world.perform(0, written(fill));
            world.verdict() == Some(Verdict::Done)
        };
        assert!(tell(Fill::Chain(0)));
        assert_eq!(tell(second), is_done, "{second:?}");
    }
}
