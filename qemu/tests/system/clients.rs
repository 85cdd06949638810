//! Real clients finish handshakes and reach the backend (R2).

use crate::harness::backend::PAGE;
use crate::harness::client::Wish;
use crate::harness::program::{chromium, curl, gnutls, openssl};
use crate::harness::site::port;
use crate::harness::system;

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
    let ended = chromium(site.address(port::STATUS), &site.material, &home);
    ended.expect(&["</html>", "kernel-shim", "record-server"]);
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
