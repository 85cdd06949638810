//! Real clients finish handshakes and reach the backend (R2).

use crate::harness::backend::PAGE;
use crate::harness::client::Wish;
use crate::harness::evidence::Handshake;
use crate::harness::program::{chromium, curl, gnutls, modern_openssl, openssl};
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
    let start = site.guest.log().end();
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
        let start = site.guest.log().end();
        let ended = modern_openssl(site.address(port), &site.material);
        ended.expect(&["OpenSSL 4.", PAGE, group]);
        // Others have handshakes there meanwhile.
        let made = site.handshakes_at(start, port);
        let is_hybrid = |handshake: &Handshake| handshake.value("group") == "X25519MLKEM768";
        assert!(made.iter().any(is_hybrid), "{made:#?}");
    }
    for port in [port::MODERN, directed(port::MODERN)] {
        for resumed in ["false", "true"] {
            let start = site.guest.log().end();
            let answer = ask(&site, port);
            assert!(answer.ends_with(&format!("{group}\n")), "{port}: {answer}");
            let made = site.handshake_at(start, port).unwrap();
            assert_eq!(made.value("group"), "X25519MLKEM768");
            assert_eq!(made.value("resumed"), resumed, "{port}");
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
