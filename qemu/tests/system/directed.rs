//! Directed mode on the booted image: real clients, and every handshake driven
//! by the director (R3, R11, R30).

use ipc::stats::director;
use rustls::CipherSuite;

use crate::harness::backend::PAGE;
use crate::harness::client::{Wish, alert_received};
use crate::harness::evidence::sha256_hex;
use crate::harness::program::{curl, gnutls, openssl, openssl_unnamed};
use crate::harness::site::port::{self, directed};
use crate::harness::{alone, system};

#[test]
fn r03_openssl_finishes_handshakes_with_every_kind_of_key() {
    let site = system();
    for (port, kind) in [
        (port::RSA, "RSA-PSS"),
        (port::ED25519, "ed25519"),
        (port::P384, "ECDSA"),
        (port::HTTP, "ECDSA"),
    ] {
        for version in ["-tls1_3", "-tls1_2"] {
            let address = site.address(directed(port));
            let ended = openssl(address, &site.material, &[version]);
            ended.expect(&[
                "Verify return code: 0 (ok)",
                &format!("Peer signature type: {kind}"),
                PAGE,
            ]);
        }
    }
}

#[test]
fn r03_gnutls_finishes_handshakes_of_each_version() {
    let site = system();
    for version in ["TLS1.3", "TLS1.2"] {
        let priority = format!("NORMAL:-VERS-ALL:+VERS-{version}");
        let ended = gnutls(
            site.address(directed(port::HTTP)),
            &site.material,
            &priority,
        );
        ended.expect(&["Handshake was completed", &format!("({version}"), PAGE]);
    }
}

#[test]
fn r03_curl_gets_the_page_over_each_version() {
    let site = system();
    for (options, version) in [
        (["--tlsv1.3", "--tls-max", "1.3"], "TLSv1.3"),
        (["--tlsv1.2", "--tls-max", "1.2"], "TLSv1.2"),
    ] {
        let address = site.address(directed(port::HTTP));
        let ended = curl(address, &site.material, "/", &options);
        ended.expect(&[
            PAGE,
            &format!("using {version}"),
            "ALPN: server accepted http/1.1",
        ]);
    }
}

#[test]
fn r11_the_director_sends_each_segment_and_the_shim_does_nothing_meanwhile() {
    let site = alone();
    for wish in [Wish::tls13(&site.material), Wish::tls12(&site.material)] {
        let before = site.counters().unwrap();
        let address = site.address(directed(port::ECHO));
        let mut session = wish.connect(address).unwrap();
        session.echo(b"x").unwrap();
        let handshake = site.handshake(session.port());
        assert_eq!(handshake.agreed()[2], "directed");
        assert_eq!(handshake.value("shim_wakeups"), "0", "{handshake:?}");
        let after = site.counters().unwrap();
        let counted = |counter| after.of(counter) - before.of(counter);
        let segments = counted(director::SEGMENTS);
        assert!(segments >= 10, "{segments}");
        assert!(counted(director::WAKEUPS) >= segments);
    }
}

#[test]
fn r11_a_client_that_guesses_another_group_is_asked_to_retry() {
    let site = system();
    let groups = [rustls::NamedGroup::X25519, rustls::NamedGroup::secp384r1];
    let wish = Wish::tls13(&site.material).groups(&groups);
    let address = site.address(directed(port::ONE_CHOICE));
    let mut session = wish.connect(address).unwrap();
    assert_eq!(session.group(), rustls::NamedGroup::secp384r1);
    assert!(session.ask("/").unwrap().ends_with(PAGE));
}

#[test]
fn r30_the_completion_tells_what_the_peer_saw() {
    let site = system();
    for suite in [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ] {
        let wish = Wish::any(&site.material).suite(suite);
        let address = site.address(directed(port::EXPOSED));
        let mut session = wish.connect(address).unwrap();
        session.echo(b"there and back").unwrap();
        let handshake = site.handshake(session.port());
        assert_eq!(handshake.value("keyring"), "p256");
        assert_eq!(handshake.value("server_name"), "localhost");
        let (out, inward) = handshake.both::<String>("keys");
        let [sent_with, received_with] = session.keys();
        assert_eq!(out, sha256_hex(&sent_with)[..16], "{suite:?}");
        assert_eq!(inward, sha256_hex(&received_with)[..16], "{suite:?}");
    }
}

#[test]
fn r11_each_segment_is_a_line_of_the_audit_log() {
    let site = alone();
    let start = site.mark();
    let address = site.address(directed(port::ECHO));
    let mut session = Wish::tls13(&site.material).connect(address).unwrap();
    session.echo(b"x").unwrap();
    site.handshake_since(start, session.port());
    let lines = site.said_since(start);
    let segments: Vec<_> = lines
        .iter()
        .filter_map(|line| qemu::log::audit(line))
        .collect();
    let directive = |line: &&str| line.split(' ').nth(2).map(str::to_string);
    let directives: Vec<_> = segments.iter().filter_map(directive).collect();
    assert_eq!(
        directives[..3],
        ["begin", "receive", "negotiate"],
        "{segments:#?}"
    );
    // After the client's Finished two tickets leave, each of them a segment that
    // is written; what they share is prepared once.
    let finished = directives.iter().rposition(|name| name == "validate-mac");
    let tickets = &directives[finished.expect("Finished is validated") + 1..];
    assert!(directives.len() >= 12 + tickets.len(), "{segments:#?}");
    assert_eq!(
        tickets,
        ["prepare-ticket", "write", "write"],
        "{segments:#?}"
    );
}

#[test]
fn r14_the_server_random_is_made_by_the_offload_component() {
    let site = system();
    // A server that could do TLS 1.3 says so at the end of its random
    // (RFC 8446 §4.1.3): the shim asked for that sentinel, and never saw the rest.
    let mut randoms = std::collections::HashSet::new();
    for _ in 0..3 {
        let address = site.address(directed(port::HTTP));
        let ended = openssl(address, &site.material, &["-tls1_2", "-msg"]);
        let random = server_random(&ended.said);
        assert_eq!(random[24..], *b"DOWNGRD\x01");
        assert!(randoms.insert(random));
    }
    for _ in 0..3 {
        let address = site.address(directed(port::HTTP));
        let ended = openssl(address, &site.material, &["-tls1_3", "-msg"]);
        assert!(randoms.insert(server_random(&ended.said)));
    }
}

/// The random in what `openssl s_client -msg` shows of the ServerHello.
fn server_random(output: &str) -> Vec<u8> {
    let hello = output.split_once("ServerHello\n").unwrap().1;
    let bytes = hello
        .split_whitespace()
        .map_while(|word| u8::from_str_radix(word, 16).ok());
    // Type, length, version.
    bytes.skip(1 + 3 + 2).take(32).collect()
}

#[test]
fn r16_r25_a_client_certificate_is_asked_for_decoded_and_its_signature_checked() {
    let site = system();
    for wish in [Wish::tls13(&site.material), Wish::tls12(&site.material)] {
        let address = site.address(directed(port::CERTIFICATE_REQUESTED));
        let mut session = wish.connect(address).unwrap();
        assert!(session.ask("/").unwrap().ends_with(PAGE));
    }
    for wish in [Wish::tls13(&site.material), Wish::tls12(&site.material)] {
        let address = site.address(directed(port::CERTIFICATE_REQUIRED));
        let wish = wish.certificate("client");
        let mut session = wish.connect(address).unwrap();
        assert!(session.ask("/").unwrap().ends_with(PAGE));
        let handshake = site.handshake(session.port());
        let fingerprint = sha256_hex(&site.material.chain("client")[0]);
        assert_eq!(handshake.value("peer"), fingerprint);
    }
    for version in [Wish::tls13, Wish::tls12] {
        let address = site.address(directed(port::CERTIFICATE_REQUIRED));
        let stranger = version(&site.material).certificate("stranger");
        let outcome = stranger.connect(address).and_then(|mut s| s.ask("/"));
        let alert = alert_received(outcome);
        assert_eq!(alert, rustls::AlertDescription::UnknownCA);
        let nobody = version(&site.material);
        let outcome = nobody.connect(address).and_then(|mut s| s.ask("/"));
        let alert = alert_received(outcome);
        assert!(
            [
                rustls::AlertDescription::CertificateRequired,
                rustls::AlertDescription::HandshakeFailure
            ]
            .contains(&alert),
            "{alert:?}"
        );
    }
}

#[test]
fn r24_the_shim_refuses_a_signature_and_the_next_client_gets_one() {
    let site = system();
    let address = site.address(port::NAMED_ONLY);
    for version in ["-tls1_3", "-tls1_2"] {
        let start = site.mark();
        let ended = openssl_unnamed(address, &site.material, version);
        assert!(!ended.success, "{}", ended.said);
        let alert = "alert handshake failure";
        assert!(ended.said.contains(alert), "{}", ended.said);
        let handshake = site.handshake_at(start, port::NAMED_ONLY).unwrap();
        assert!(!handshake.done);
        assert_eq!(handshake.rest, "policy: Step reason=step");
        let refused = "write ";
        let told = site.said_since(start);
        let told = told.iter().any(|line| {
            line.contains(refused) && line.ends_with("refused policy sign-without-server-name")
        });
        assert!(told, "no line of the audit log");
        openssl(address, &site.material, &[version]).expect(&[PAGE]);
    }
}
