//! Real clients finish handshakes and reach the backend (R2).

use qemu::log::Cursor;

use crate::harness::PATIENCE;
use crate::harness::backend::PAGE;
use crate::harness::client::Wish;
use crate::harness::evidence::Handshake;
use crate::harness::program::{chromium, curl, gnutls, go, modern_openssl, openssl};
use crate::harness::site::Site;
use crate::harness::site::port::{self, directed};
use crate::harness::system;
use crate::upstream::ask;

#[test]
fn r02_openssl_finishes_a_tls13_handshake() {
    let site = system();
    let ended = openssl(site.address(port::HTTP), &site.material, &["-tls1_3"]);
    ended.expect(&["Verify return code: 0 (ok)", "New, TLSv1.3", PAGE]);
}

#[test]
fn r02_openssl_finishes_a_tls12_handshake() {
    let site = system();
    let ended = openssl(site.address(port::HTTP), &site.material, &["-tls1_2"]);
    ended.expect(&["Verify return code: 0 (ok)", "New, TLSv1.2", PAGE]);
}

#[test]
fn r02_gnutls_finishes_a_tls13_handshake() {
    let site = system();
    let priority = "NORMAL:-VERS-ALL:+VERS-TLS1.3";
    let ended = gnutls(site.address(port::HTTP), &site.material, priority);
    ended.expect(&["Handshake was completed", "(TLS1.3", PAGE]);
}

#[test]
fn r02_gnutls_finishes_a_tls12_handshake() {
    let site = system();
    let priority = "NORMAL:-VERS-ALL:+VERS-TLS1.2";
    let ended = gnutls(site.address(port::HTTP), &site.material, priority);
    ended.expect(&["Handshake was completed", "(TLS1.2", PAGE]);
}

#[test]
fn r02_curl_gets_the_page_of_the_backend_over_each_version() {
    let site = system();
    for (options, version) in [
        (["--tlsv1.3", "--tls-max", "1.3"], "TLSv1.3"),
        (["--tlsv1.2", "--tls-max", "1.2"], "TLSv1.2"),
    ] {
        let ended = curl(site.address(port::HTTP), &site.material, "/", &options);
        ended.expect(&[
            PAGE,
            &format!("using {version}"),
            "ALPN: server accepted http/1.1",
        ]);
    }
}

#[test]
fn r02_chromium_shows_the_status_page() {
    let site = system();
    let home = site.folder.join("chromium");
    let start = site.mark();
    let ended = chromium(site.address(port::STATUS), &site.material, &home);
    ended.expect(&["</html>", "kernel-shim", "record-server"]);
    let of_browser = |handshake: &Handshake| handshake.value("group") == "X25519MLKEM768";
    let made = site.handshakes_at(start, port::STATUS);
    assert!(made.iter().any(of_browser), "{made:#?}");
}

#[test]
fn r02_openssl_of_today_agrees_on_a_hybrid_in_both_roles_and_modes() {
    let site = system();
    let group = "group X25519MLKEM768";
    for port in [port::HTTP, directed(port::HTTP)] {
        let start = site.mark();
        let ended = modern_openssl(site.address(port), &site.material);
        ended.expect(&["OpenSSL 4.", PAGE, group]);
        expect_hybrids(&site, start, port, "X25519MLKEM768");
    }
    for port in [port::MODERN, directed(port::MODERN)] {
        for resumed in ["false", "true"] {
            let start = site.mark();
            let answer = ask(&site, port);
            assert!(answer.ends_with(&format!("{group}\n")), "{port}: {answer}");
            let made = site.handshake_at(start, port).unwrap();
            assert_eq!(made.value("group"), "X25519MLKEM768");
            assert_eq!(made.value("resumed"), resumed, "{port}");
        }
    }
}

/// A full handshake and one that resumes it agreed on `group`; others have handshakes there
/// meanwhile.
fn expect_hybrids(site: &Site, start: Cursor, port: u16, group: &str) {
    for resumed in ["false", "true"] {
        let listener = format!(" at-{port} ");
        let told = site.guest.log().find(start, PATIENCE, |line| {
            let made = Handshake::parse(line).filter(|made| made.done && line.contains(&listener));
            made.is_some_and(|made| {
                made.value("group") == group && made.value("resumed") == resumed
            })
        });
        assert!(told.is_some(), "{port} {group} resumed={resumed}");
    }
}

#[test]
fn r02_go_agrees_on_hybrids_in_both_roles_and_modes_resumes_and_retries() {
    let site = system();
    // Go sends a share of the first; the listener is for the second alone.
    let retried = ["X25519MLKEM768", "SecP384r1MLKEM1024"];
    for (listener, groups, group, said) in [
        (port::HTTP, &[][..], "X25519MLKEM768", PAGE),
        (port::HYBRID, &retried, "SecP384r1MLKEM1024", "GET / "),
    ] {
        for port in [listener, directed(listener)] {
            let start = site.mark();
            let ended = go(site.address(port), &site.material, groups);
            let is_retried = !groups.is_empty();
            let line = |resumed| format!("group {group} retried {is_retried} resumed {resumed}\n");
            ended.expect(&["go1.", &line(false), &line(true), said]);
            expect_hybrids(&site, start, port, group);
        }
    }
    for (sending, group, is_retried) in [
        (port::GO, "X25519MLKEM768", false),
        (port::GO_RETRYING, "SecP256r1MLKEM768", true),
    ] {
        for port in [sending, directed(sending)] {
            for resumed in [false, true] {
                let start = site.mark();
                let answer = ask(&site, port);
                // Who resumes may know the group by now.
                let line = match resumed {
                    false => format!("group {group} retried {is_retried} resumed false\n"),
                    true => "resumed true\n".to_string(),
                };
                assert!(answer.ends_with(&line), "{port}: {answer}");
                let made = site.handshake_at(start, port).unwrap();
                assert_eq!(made.value("group"), group);
                assert_eq!(made.value("resumed"), resumed.to_string(), "{port}");
            }
        }
    }
}

#[test]
fn r02_rustls_talks_with_the_backend_over_each_version() {
    let site = system();
    for wish in [Wish::tls13(&site.material), Wish::tls12(&site.material)] {
        let mut session = wish.connect(site.address(port::ECHO)).unwrap();
        assert_eq!(session.echo(b"there and back").unwrap(), b"there and back");
    }
}

#[test]
fn r02_openssl_accepts_chains_of_every_kind_of_key() {
    let site = system();
    for (port, kind) in [
        (port::RSA, "RSA-PSS"),
        (port::ED25519, "ed25519"),
        (port::P384, "ECDSA"),
        (port::HTTP, "ECDSA"),
    ] {
        for version in ["-tls1_3", "-tls1_2"] {
            let ended = openssl(site.address(port), &site.material, &[version]);
            ended.expect(&[&format!("Peer signature type: {kind}"), PAGE]);
        }
    }
}
