//! What a handshake failed for, beside its alert: the same in both modes.

use std::sync::Arc;

use crate::client::{Client, complete};
use crate::failing::{
    Case, Fault, MODES, SLOT, Shown, VERSIONS, all, answered, connect, flight, second_flight,
};
use crate::revoking::{BOTH, HOUR, Person, client_config, crl, ring};
use crate::world::{World, tenant};
use ipc::bounded::List;
use ipc::control::{Cause, HandshakeError, PeerError};
use ipc::handshake::Completion;
use ipc::keystore::KeyKind;
use ipc::tls::{PeerAuthentication, Revocation};
use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};
use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};
use time::OffsetDateTime;
use tls::{CipherSuite, Group, Role, Version};

/// What an alert was sent for.
fn cause(completion: Completion) -> Option<Cause> {
    let Completion::Failed { error, cause, .. } = completion else {
        panic!("established");
    };
    let is_sent = matches!(error, HandshakeError::Peer(PeerError::AlertSent(_)));
    assert!(is_sent, "{error:?}");
    cause
}

#[track_caller]
fn fails_for(case: &Case, expected: Cause, what: &str, fault: Fault<'_>) {
    let mut world = World::in_mode(case.mode, &[("me", "localhost", KeyKind::EcdsaP256)]);
    world.start_as(SLOT, case.role, case.asked.clone());
    fault(&mut world);
    let completion = world.completion();
    let completion = completion.unwrap_or_else(|| panic!("{what}: it waits"));
    let (mode, role) = (case.mode, case.role);
    assert_eq!(
        cause(completion),
        Some(expected),
        "{what}, {mode:?} {role:?}"
    );
}

/// A ClientHello, or a ServerHello, of TLS 1.1 with a suite of TLS 1.0.
fn old_hello(kind: u8) -> Vec<u8> {
    let mut body = [&[3, 2][..], &[7; 32], &[0]].concat();
    match kind {
        1 => body.extend([0, 2, 0xc0, 0x09, 1, 0]),
        _ => body.extend([0xc0, 0x09, 0]),
    }
    let length = u8::try_from(body.len()).unwrap();
    [&[kind, 0, 0, length], &body[..]].concat()
}

/// In records of so many bytes.
fn records(message: &[u8], most: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[22, 3, 1, 0, part.len() as u8], part].concat();
    message.chunks(most).flat_map(record).collect()
}

#[test]
fn a_peer_that_is_too_old_is_told_from_one_with_another_version() {
    for mode in MODES {
        let case = Case::new(mode, Role::Server);
        for most in [255, 30] {
            let hello = records(&old_hello(1), most);
            fails_for(&case, Cause::OldVersion, "TLS 1.1", &|world| {
                world.exchange(SLOT, &hello);
            });
        }
        for (version, ours) in [(&TLS12, Version::Tls13), (&TLS13, Version::Tls12)] {
            let case = Case::asking(mode, Role::Server, |asked| {
                asked.versions = List::from_items([ours]).unwrap();
            });
            let hello = flight(&mut connect(&Arc::new(case.client(version, all(), None))));
            fails_for(&case, Cause::Version, "a version", &|world| {
                world.exchange(SLOT, &hello);
            });
        }
        let case = Case::new(mode, Role::Client);
        let hello = records(&old_hello(2), 255);
        fails_for(&case, Cause::OldVersion, "a server of TLS 1.1", &|world| {
            world.exchange(SLOT, &[]);
            world.exchange(SLOT, &hello);
        });
    }
}

#[test]
fn a_client_with_nothing_in_common_is_told_by_what_is_lacking() {
    for mode in MODES {
        for version in VERSIONS {
            let lacks = |cause, what, peer: &dyn Fn(&mut CryptoProvider), case: Case| {
                let mut provider = all();
                peer(&mut provider);
                let config = Arc::new(case.client(version, provider, None));
                let hello = flight(&mut connect(&config));
                fails_for(&case, cause, what, &|world| {
                    world.exchange(SLOT, &hello);
                });
            };
            let any = || Case::new(mode, Role::Server);
            let chacha = Case::asking(mode, Role::Server, |asked| {
                asked.suites = List::from_items([
                    CipherSuite::ChaCha20Poly1305Sha256,
                    CipherSuite::EcdheEcdsaChaCha20Poly1305Sha256,
                ])
                .unwrap();
            });
            let aes = |provider: &mut CryptoProvider| {
                let is_aes = |suite: &rustls::SupportedCipherSuite| {
                    format!("{:?}", suite.suite()).contains("AES_128")
                };
                provider.cipher_suites.retain(is_aes);
            };
            lacks(Cause::Suite, "a suite", &aes, chacha);
            let p384 = Case::asking(mode, Role::Server, |asked| {
                asked.groups = List::from_items([Group::Secp384r1]).unwrap();
            });
            let without_p384 = |provider: &mut CryptoProvider| {
                let is_left = |group: &&dyn rustls::crypto::SupportedKxGroup| {
                    group.name() != rustls::NamedGroup::secp384r1
                };
                provider.kx_groups.retain(is_left);
            };
            lacks(Cause::Group, "a group", &without_p384, p384);
            let rsa = |provider: &mut CryptoProvider| {
                let known = &mut provider.signature_verification_algorithms;
                let is_rsa = |(scheme, _): &&(rustls::SignatureScheme, _)| {
                    format!("{scheme:?}").starts_with("RSA")
                };
                let left: Vec<_> = known.mapping.iter().filter(is_rsa).copied().collect();
                known.mapping = Box::leak(left.into_boxed_slice());
            };
            lacks(Cause::Scheme, "a scheme", &rsa, any());
        }
        // RFC 8422 §5.3: the key is on a curve that the client does not know.
        let case = Case::new(mode, Role::Server);
        let mut x25519 = all();
        let is_x25519 = |group: &&dyn rustls::crypto::SupportedKxGroup| {
            group.name() == rustls::NamedGroup::X25519
        };
        x25519.kx_groups.retain(is_x25519);
        let hello = flight(&mut connect(&Arc::new(case.client(&TLS12, x25519, None))));
        fails_for(&case, Cause::Group, "the key's curve", &|world| {
            world.exchange(SLOT, &hello);
        });
        let mut hello = flight(&mut connect(&Arc::new(case.client(&TLS12, all(), None))));
        let place = hello.windows(4).position(|part| part == [0, 23, 0, 0]);
        hello[place.unwrap()] = 0x77;
        let missing = Cause::ExtendedMasterSecret;
        fails_for(&case, missing, "the extended master secret", &|world| {
            world.exchange(SLOT, &hello);
        });
    }
}

/// Certificates that are refused, by how; and whether its key is another.
fn wrong_certificates(
    case: &Case,
    name: &str,
    other: ExtendedKeyUsagePurpose,
) -> Vec<(Cause, Shown)> {
    let now = OffsetDateTime::now_utc();
    let shown = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        Shown::with(&case.issuer, name, true, change)
    };
    vec![
        (Cause::CertificateIssuer, Shown::of_stranger(name)),
        (Cause::Signature, Shown::new(&case.issuer, name, false)),
        (
            Cause::CertificateExpired,
            shown(&|params| params.not_after = now - HOUR),
        ),
        (
            Cause::CertificateNotYetValid,
            shown(&|params| params.not_before = now + HOUR),
        ),
        (
            Cause::CertificatePurpose,
            shown(&|params| params.extended_key_usages = vec![other.clone()]),
        ),
        (
            Cause::CertificatePurpose,
            shown(&|params| params.key_usages = vec![KeyUsagePurpose::KeyAgreement]),
        ),
    ]
}

#[test]
fn a_client_s_certificate_is_told_by_what_is_wrong_with_it() {
    for mode in MODES {
        let case = Case::asking(mode, Role::Server, |asked| {
            asked.peer_authentication = PeerAuthentication::Require;
        });
        for version in VERSIONS {
            let others = ExtendedKeyUsagePurpose::ServerAuth;
            let wrong = wrong_certificates(&case, "client", others);
            let wrong = wrong.into_iter().map(|(cause, shown)| (cause, Some(shown)));
            for (cause, shown) in wrong.chain([(Cause::CertificateMissing, None)]) {
                let config = Arc::new(case.client(version, all(), shown));
                fails_for(&case, cause, "a certificate", &|world| {
                    let second = second_flight(&config, world);
                    world.exchange(SLOT, &second);
                });
            }
        }
    }
}

#[test]
fn a_server_s_certificate_is_told_by_what_is_wrong_with_it() {
    for mode in MODES {
        let case = Case::new(mode, Role::Client);
        for version in VERSIONS {
            let others = ExtendedKeyUsagePurpose::ClientAuth;
            let mut wrong = wrong_certificates(&case, "server.test", others);
            let named = Shown::new(&case.issuer, "other.test", true);
            wrong.push((Cause::CertificateName, named));
            for (cause, shown) in wrong {
                let config = Case::server(version, all(), shown);
                fails_for(&case, cause, "a certificate", &|world| {
                    let (_, answer) = answered(&config, world);
                    world.exchange(SLOT, &answer);
                });
            }
        }
    }
}

#[test]
fn a_certificate_that_is_revoked_is_told_from_one_that_no_list_knows() {
    for (mode, version) in BOTH {
        let (clients, others) = (tenant("clients"), tenant("others"));
        let lists = vec![crl(&clients, &[7], 1)];
        let trust = [&clients, &others];
        let mut world = crate::revoking::world(mode, |issuer| {
            ring(issuer, &trust, Revocation::Require, lists)
        });
        for (issuer, expected) in [
            (&clients, Cause::CertificateRevoked),
            (&others, Cause::CertificateStatus),
        ] {
            let config = client_config(&world, &Person::of(issuer, 7), version);
            world.start(0, crate::revoking::asked(version));
            let mut client = Client::with(config, "localhost");
            let completion = complete(&mut world, 0, &mut client);
            assert_eq!(cause(completion), Some(expected), "{mode:?} {version:?}");
        }
    }
}
