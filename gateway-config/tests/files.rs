//! Whole files, good and bad.

use std::fs;
use std::path::{Path, PathBuf};

use gateway_config::{Config, Problems, demo, load};
use ipc::control::Parameters;
use ipc::keystore::KeyKind;
use ipc::provision::{
    AddressConfig, Backend, Crls, Keyrings, KeystoreData, Limits, LogFormat, LogWords, Rings,
    Timeouts,
};
use ipc::segment::Step;
use ipc::tls::{Mode, PeerAuthentication, Revocation};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use time::{Duration, OffsetDateTime};
use tls::{CipherSuite, Group, Role, Scheme, Version};

/// 2027-01-01: the material was made for that day.
fn test_day() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::seconds(1_798_761_600)
}

fn load_test(file: &str) -> Result<Config, Problems> {
    load(Path::new(file), test_day())
}

/// Cargo starts a test in its package's folder; no place is built in.
#[expect(clippy::unwrap_used, reason = "what fails here is a failed test")]
fn scratch() -> PathBuf {
    let folder = Path::new("../target/tmp");
    fs::create_dir_all(folder).unwrap();
    folder.canonicalize().unwrap()
}

/// Loads a file that must be good.
fn good(file: &str) -> Config {
    match load_test(file) {
        Ok(config) => config,
        Err(problem) => panic!("{problem}"),
    }
}

#[test]
fn key_and_chain_may_stand_in_one_file() {
    let apart = good("tests/good/issue.toml").keyrings;
    let together = good("tests/good/combined.toml").keyrings;
    assert_eq!(together.0[0].chain, apart.0[0].chain);
    let pkcs8 = |rings: &Keyrings| rings.0[0].key.as_ref().map(|key| key.pkcs8.clone());
    assert_eq!(pkcs8(&together), pkcs8(&apart));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let problem = load_test("tests/bad/nowhere").err().unwrap().to_string();
    assert!(problem.starts_with("tests/bad/nowhere:1: can't be read: "));
}

#[test]
fn the_gateway_and_the_root_task_are_told_of_a_log_in_json() {
    let config = good("tests/good/link.toml");
    let LogWords {
        format, failures, ..
    } = config.log;
    assert_eq!((format, failures), (LogFormat::Json, false));
    let blobs = config.provisions().unwrap();
    assert_eq!(blobs["json-log"], [1]);
}

/// The image says nothing of the moment at which it is built but this.
#[test]
fn an_image_is_not_built_before_its_certificates_are_valid() {
    // 2026-01-01, from which on all of them are.
    let provisions = good("tests/good/issue.toml").provisions().unwrap();
    assert_eq!(provisions["built-after"], 1_767_225_600_u64.to_le_bytes());
}

#[test]
fn the_example_of_the_documentation_is_read() {
    let config = good("tests/good/issue.toml");
    let expected = AddressConfig::Static {
        address: [10, 0, 2, 15].into(),
        prefix: 24,
        gateway: Some([10, 0, 2, 2].into()),
    };
    assert_eq!(config.address, expected);
    // Off unless requested.
    assert!(!config.router_advertisements);
    assert_eq!(config.mtu, None);
    let [listener] = config.listeners.as_slice() else {
        panic!("{} listeners", config.listeners.len());
    };
    assert_eq!((listener.name.as_str(), listener.port), ("web", 443));
    let tls = listener.tls.as_ref().unwrap();
    assert_eq!(tls.mode, Mode::Autonomous);
    assert_eq!(tls.handshake_timeout_ms, 10_000);
    let parameters = &tls.parameters;
    assert_eq!(&*parameters.versions, [Version::Tls13, Version::Tls12]);
    assert_eq!(
        parameters.alpn.first().map(|a| &**a),
        Some(&b"http/1.1"[..])
    );
    assert!(matches!(&listener.backend, Backend::Connect(u) if u.address.port() == 8080));
    let ring = &config.keyrings.0[0];
    assert_eq!((ring.chain.len(), ring.trust.len()), (2, 1));
}

#[test]
fn revocation_lists_come_in_either_form_and_beside_those_who_were_authorised() {
    let config = good("tests/good/revocation.toml");
    let [strict, lax, none] = &config.keyrings.0[..] else {
        panic!("other rings");
    };
    let der = |name: &str| fs::read(format!("tests/material/{name}")).unwrap();
    // One of an authority that the first one authorised, whose certificate is beside it.
    assert_eq!(strict.crls.revocation, Revocation::Require);
    let [first, between] = &strict.crls.lists[..] else {
        panic!("{} lists", strict.crls.lists.len());
    };
    assert_eq!(*first, der("revoker-der.crl"));
    assert!(between.windows(7).any(|name| name == b"between"));
    assert_eq!(strict.trust.len(), 1);
    // Out of date.
    assert_eq!(lax.crls.revocation, Revocation::WhenKnown);
    assert_eq!(lax.crls.lists.len(), 1);
    assert_ne!(lax.crls.lists[0], *first);
    assert_eq!(none.crls, Crls::default());
}

#[test]
fn an_ocsp_response_goes_with_the_certificate_that_it_is_about() {
    let config = good("tests/good/ocsp.toml");
    let responses = config.keyrings.0.iter().map(|ring| ring.ocsp.clone());
    let response = Some(fs::read("tests/material/good.ocsp").unwrap());
    assert_eq!(
        responses.collect::<Vec<_>>(),
        [response.clone(), response, None]
    );
}

/// They, and an update of them, have a region of memory.
#[test]
fn key_rings_that_do_not_fit_are_refused() {
    let folder = scratch().join("too-long");
    fs::create_dir_all(&folder).unwrap();
    let chain = fs::read_to_string("tests/material/p256-chain.pem").unwrap();
    fs::write(folder.join("trust.pem"), chain.repeat(8)).unwrap();
    for (rings, fits) in [(10, true), (30, false)] {
        let ring = |n| format!("[[keyring]]\nlabel = \"{n}\"\ntrust = \"trust.pem\"\n");
        let rings: String = (0..rings).map(ring).collect();
        let file = folder.join("gateway.toml");
        let listener = "[[listener]]\nname = \"a\"\nlisten = 1\nbackend = { connect = \"10.0.2.2:1\", \
                        tls = { role = \"client\", keyring = \"0\", server_name = \"a.test\" } }\n";
        fs::write(&file, rings + listener).unwrap();
        match (load(&file, test_day()), fits) {
            (Ok(_), true) => {}
            (Err(problems), false) => {
                let said = problems.to_string();
                assert!(said.contains("the key rings have "), "{said}");
            }
            (Ok(_), false) => panic!("accepted"),
            (Err(problems), true) => panic!("{problems}"),
        }
    }
}

#[test]
fn the_words_of_the_link_reach_the_network_stack() {
    let network = good("tests/good/link.toml").network();
    assert_eq!(network.mtu, Some(1400));
    assert!(network.router_advertisements);
    assert!(matches!(network.address, AddressConfig::Static { .. }));
}

#[test]
fn every_word_of_limits_and_time_outs_reaches_the_gateway() {
    let config = good("tests/good/everything.toml");
    let [all, plain] = config.listeners.as_slice() else {
        panic!("{} listeners", config.listeners.len());
    };
    let limits = Limits {
        connections: 5,
        handshakes: 3,
        sessions: 4,
        ipv6_prefix: 56,
    };
    assert_eq!(all.limits, limits);
    assert_eq!(plain.limits, Limits::default());
    let timeouts = Timeouts {
        idle_ms: 1000,
        request_ms: 2000,
        linger_ms: 3000,
        ..Timeouts::default()
    };
    assert_eq!(all.timeouts, timeouts);
    let timeouts = Timeouts {
        connect_ms: 4000,
        ..Timeouts::default()
    };
    assert_eq!(plain.timeouts, timeouts);
}

#[test]
fn every_word_reaches_the_handshake_request() {
    let config = good("tests/good/everything.toml");
    assert_eq!(config.address, AddressConfig::Dhcp);
    // With addresses from the network, routers may assign them, too.
    assert!(config.router_advertisements);
    let tls = config.listeners[0].tls.as_ref().unwrap();
    let Parameters {
        versions,
        suites,
        groups,
        keyrings,
        peer_authentication,
        server_name,
        alpn,
        segment_size,
        resumption,
        expose_keys,
        allow_static_rsa,
        peer_schemes,
    } = &tls.parameters;
    assert!(!allow_static_rsa);
    assert_eq!(&**versions, [Version::Tls12]);
    let wanted = [
        CipherSuite::EcdheRsaAes256GcmSha384,
        CipherSuite::EcdheEcdsaChaCha20Poly1305Sha256,
    ];
    assert_eq!(&**suites, wanted);
    assert_eq!(&**groups, [Group::Secp384r1, Group::X25519]);
    let wanted = [Scheme::Ed25519, Scheme::RsaPssRsaeSha384];
    assert_eq!(&**peer_schemes, wanted);
    let rsa = config.keyrings.0.iter().find(|ring| &*ring.label == "rsa");
    assert_eq!(
        &*rsa.unwrap().schemes,
        [Scheme::RsaPssRsaeSha256, Scheme::RsaPkcs1Sha256]
    );
    assert_eq!(
        keyrings.iter().map(|l| &**l).collect::<Vec<_>>(),
        ["rsa", "ecdsa"]
    );
    assert_eq!(*peer_authentication, PeerAuthentication::Request);
    assert_eq!(*server_name, None);
    assert_eq!(alpn.len(), 2);
    assert_eq!((*segment_size, *expose_keys), (64, true));
    assert!(!*resumption);
    assert_eq!(tls.handshake_timeout_ms, 500);
}

#[test]
fn the_gateway_gets_no_more_rights_than_its_listeners_need() {
    let config = good("tests/good/everything.toml");
    let [network] = config.network().rights.try_into().unwrap();
    assert_eq!(network.listen, [443, 444]);
    assert_eq!(network.connect.len(), 1);
    let [shim] = config.shim_rights().0.try_into().unwrap();
    let labels: Vec<&str> = shim.keyrings.iter().map(|l| &**l).collect();
    assert_eq!(labels, ["rsa", "ecdsa"]);
    assert_eq!(shim.modes, [Mode::Autonomous]);
    assert!(shim.expose_keys);
    assert!(!good("tests/good/issue.toml").shim_rights().0[0].expose_keys);
}

#[test]
fn an_application_has_the_rights_of_its_table_and_no_other() {
    let config = good("tests/good/applications.toml");
    let network = config.network();
    let [gateway, second, third] = &network.rights[..] else {
        panic!("other clients");
    };
    assert_eq!((gateway.client, &gateway.listen[..]), (1, &[443][..]));
    assert_eq!((second.client, &second.listen[..]), (2, &[8443, 8444][..]));
    assert_eq!((third.client, &third.listen[..]), (4095, &[9443][..]));
    assert!(second.connect.is_empty());
    let rights = config.shim_rights().0;
    let clients: Vec<_> = rights.iter().map(|rights| rights.client).collect();
    assert_eq!(clients, [1, 2, 4095]);
    assert_eq!(rights[0].modes, [Mode::Autonomous]);
    assert_eq!(rights[1].modes, [Mode::Autonomous, Mode::Directed]);
    assert_eq!(rights[1].roles, [Role::Server]);
    let labels: Vec<&str> = rights[1].keyrings.iter().map(|label| &**label).collect();
    assert_eq!(labels, ["web"]);
    assert!(!rights[1].expose_keys && !rights[1].static_rsa);
    assert_eq!(config.keyrings.0[0].roles, [Role::Server]);
}

#[test]
fn r11_refused_steps_reach_the_shim_with_their_ring() {
    let config = good("tests/good/refused-steps.toml");
    let [rules] = &config.shim_rights().0[0].refused_steps[..] else {
        panic!("other rules");
    };
    assert_eq!(&*rules.keyring, "web");
    let wanted = [Step::SignWithoutServerName, Step::AcceptCertificate];
    assert_eq!(rules.steps, wanted);
    let without = good("tests/good/issue.toml");
    assert!(without.shim_rights().0[0].refused_steps.is_empty());
}

#[test]
fn static_rsa_is_for_the_rings_of_listeners_that_allow_it() {
    let config = good("tests/good/static-rsa.toml");
    let [old, web] = config.keyrings.0.as_slice() else {
        panic!("other rings");
    };
    assert!(old.decrypts && !web.decrypts);
    let allowed = config.listeners.iter().map(|listener| {
        let tls = listener.tls.as_ref().unwrap();
        tls.parameters.allow_static_rsa
    });
    assert_eq!(allowed.collect::<Vec<_>>(), [true, false]);
    assert!(config.shim_rights().0[0].static_rsa);
    let other = good("tests/good/issue.toml");
    assert!(!other.shim_rights().0[0].static_rsa);
    assert!(!other.keyrings.0[0].decrypts);
}

#[test]
fn a_key_that_no_listener_uses_may_sign_in_no_role() {
    let config = good("tests/good/everything.toml");
    let roles: Vec<_> = config.keyrings.0.iter().map(|r| r.roles.clone()).collect();
    assert_eq!(roles, [vec![Role::Server], vec![Role::Server], vec![]]);
}

#[test]
fn every_kind_and_wrapping_of_key_becomes_pkcs8_that_ring_reads() {
    let random = SystemRandom::new();
    for (chain, key, kind) in [
        ("p256", "p256-key", KeyKind::EcdsaP256),
        ("p256", "p256-sec1", KeyKind::EcdsaP256),
        ("p384", "p384-key", KeyKind::EcdsaP384),
        ("p384", "p384-sec1", KeyKind::EcdsaP384),
        ("ed25519", "ed25519-key", KeyKind::Ed25519),
        ("rsa2048", "rsa2048-key", KeyKind::Rsa),
        ("rsa2048", "rsa2048-pkcs1", KeyKind::Rsa),
    ] {
        let material = Path::new("tests/material").canonicalize().unwrap();
        let text = format!(
            "[[keyring]]\nlabel = \"x\"\nchain = \"{0}/{chain}.pem\"\nkey = \"{0}/{key}.pem\"\n\
             [[listener]]\nname = \"x\"\nlisten = 1\n\
             tls = {{ role = \"server\", keyring = \"x\" }}\nbackend = {{ status = true }}\n",
            material.display()
        );
        let file = scratch().join(format!("{key}.toml"));
        fs::write(&file, text).unwrap();
        let config = load(&file, test_day()).map_err(|p| p.to_string());
        let config = config.unwrap_or_else(|problem| panic!("{problem}"));
        let found = config.keyrings.0[0].key.as_ref().unwrap();
        assert_eq!(found.kind, kind);
        let der = &found.pkcs8;
        let p256 = &signature::ECDSA_P256_SHA256_ASN1_SIGNING;
        let p384 = &signature::ECDSA_P384_SHA384_ASN1_SIGNING;
        let usable = match kind {
            KeyKind::EcdsaP256 => EcdsaKeyPair::from_pkcs8(p256, der, &random).is_ok(),
            KeyKind::EcdsaP384 => EcdsaKeyPair::from_pkcs8(p384, der, &random).is_ok(),
            KeyKind::Ed25519 => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).is_ok(),
            KeyKind::Rsa => RsaKeyPair::from_pkcs8(der).is_ok(),
        };
        assert!(usable, "{key}");
    }
}

#[test]
fn what_the_domains_read_is_what_was_configured() {
    let config = good("tests/good/everything.toml");
    let blobs = config.provisions().unwrap();
    let names: Vec<&str> = blobs.keys().map(String::as_str).collect();
    // The root task reads the first, and the one of the log.
    assert_eq!(
        names,
        [
            "built-after",
            "gateway-config",
            "json-log",
            "keyrings",
            "network",
            "rights"
        ]
    );
    let gateway: ipc::provision::Gateway = postcard::from_bytes(&blobs["gateway-config"]).unwrap();
    assert_eq!(gateway.listeners, config.listeners);
    assert_eq!(gateway.log.format, LogFormat::Text);
    assert_eq!(blobs["json-log"], [0]);
    let data: KeystoreData = postcard::from_bytes(&blobs["keyrings"]).unwrap();
    assert_eq!(data.signer, config.signer);
    let Rings::Open(rings) = data.rings else {
        panic!("sealed");
    };
    assert_eq!(rings.0.len(), 3);
    // A key is in its own blob and nowhere else.
    let key = &rings.0[1].key.as_ref().unwrap().pkcs8;
    let part = &key[key.len() - 32..];
    for (name, blob) in &blobs {
        let holds = blob.windows(part.len()).any(|window| window == part);
        assert_eq!(holds, name == "keyrings", "{name}");
    }
}

#[test]
fn the_demo_is_kept_while_it_is_valid_and_made_again_after() {
    let folder = scratch().join("demo");
    let _ = fs::remove_dir_all(&folder);
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let made = demo::make(&folder, test_day()).unwrap();
    let config = load(&made.config, test_day()).map_err(|p| p.to_string());
    let config = config.unwrap_or_else(|problem| panic!("{problem}"));
    let ports: Vec<u16> = config.listeners.iter().map(|l| l.port).collect();
    assert_eq!(ports, [demo::STATUS_PORT, demo::FORWARD_PORT]);
    let first = read("localhost-key.pem");
    demo::make(&folder, test_day() + Duration::days(300)).unwrap();
    assert_eq!(read("localhost-key.pem"), first);
    demo::make(&folder, test_day() + Duration::days(365)).unwrap();
    assert_ne!(read("localhost-key.pem"), first);
}

#[cfg(unix)]
#[test]
fn the_demo_key_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = scratch().join("demo-mode");
    demo::make(&folder, test_day()).unwrap();
    let metadata = fs::metadata(folder.join("localhost-key.pem")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_backend_s_tls_gives_the_right_to_be_a_client_and_no_other() {
    let config = good("tests/good/client.toml");
    let [reencrypting, sending] = config.listeners.as_slice() else {
        panic!("{} listeners", config.listeners.len());
    };
    assert!(reencrypting.tls.is_some() && sending.tls.is_none());
    for listener in [reencrypting, sending] {
        let tls = match &listener.backend {
            Backend::Connect(upstream) => upstream.tls.as_ref().unwrap(),
            Backend::Status => panic!("no backend"),
        };
        assert_eq!(tls.role, Role::Client);
        let name = tls.parameters.server_name.as_deref();
        assert_eq!(name, Some("backend.test"));
    }
    let rights = &config.shim_rights().0[0];
    assert_eq!(rights.roles, [Role::Server, Role::Client]);
    let roles: Vec<_> = config.keyrings.0.iter().map(|r| r.roles.clone()).collect();
    assert_eq!(roles, [vec![Role::Server], vec![Role::Client]]);
    assert!(config.keyrings.0[1].key.is_none());
}

#[test]
fn rules_are_kept_in_their_order_and_give_their_rights() {
    let config = good("tests/good/rules.toml");
    let listener = &config.listeners[0];
    assert!(listener.tls.is_none());
    let [first, second, last] = listener.rules.as_slice() else {
        panic!("{} rules", listener.rules.len());
    };
    let ranges: Vec<_> = first
        .from
        .iter()
        .map(|p| (p.address.to_string(), p.bits))
        .collect();
    assert_eq!(ranges, [("10.0.0.0".into(), 8), ("fd00::1".into(), 128)]);
    assert_eq!(first.server_names, ["a.test"]);
    assert_eq!(second.server_names, ["*.test", "b.example"]);
    assert_eq!((second.alpn.len(), second.tls.mode), (1, Mode::Directed));
    assert!(last.from.is_empty() && last.server_names.is_empty() && last.alpn.is_empty());
    let rights = &config.shim_rights().0[0];
    assert_eq!(rights.modes, [Mode::Autonomous, Mode::Directed]);
}
