//! Tickets, where they are good and where they are not; and what is refused of an
//! established session (R33).

use std::net::SocketAddr;

use crate::harness::material::Material;
use crate::harness::program::{openssl, openssl_renegotiating};
use crate::harness::site::{Site, port};
use crate::harness::system;

/// Connects with OpenSSL and takes (`-sess_out`) or offers (`-sess_in`) the
/// session in a file; what it says of it: `New` or `Reused`.
pub(crate) fn session(site: &Site, port: u16, options: &[&str]) -> &'static str {
    session_at(site.address(port), &site.material, options)
}

/// The same at any address.
pub(crate) fn session_at(
    address: SocketAddr,
    material: &Material,
    options: &[&str],
) -> &'static str {
    let ended = openssl(address, material, options);
    assert!(ended.success, "{}", ended.said);
    let is_reused = ended.said.contains("Reused, TLSv1.");
    assert_ne!(
        is_reused,
        ended.said.contains("New, TLSv1."),
        "{}",
        ended.said
    );
    if is_reused { "Reused" } else { "New" }
}

#[test]
fn r33_a_ticket_is_good_once() {
    let site = system();
    for version in ["-tls1_3", "-tls1_2"] {
        let file = site.folder.join(format!("once{version}.pem"));
        let file = file.to_str().unwrap();
        let take = [version, "-sess_out", file];
        let offer = [version, "-sess_in", file];
        assert_eq!(session(&site, port::HTTP, &take), "New");
        assert_eq!(session(&site, port::HTTP, &offer), "Reused", "{version}");
        assert_eq!(session(&site, port::HTTP, &offer), "New", "{version}");
    }
}

#[test]
fn r33_a_ticket_is_not_good_where_more_is_asked() {
    let site = system();
    let (chain, key) = (
        site.material.chain_file("client"),
        site.material.key_file("client"),
    );
    let shown = [
        "-cert",
        chain.to_str().unwrap(),
        "-key",
        key.to_str().unwrap(),
    ];
    for version in ["-tls1_3", "-tls1_2"] {
        let file = site.folder.join(format!("elsewhere{version}.pem"));
        let file = file.to_str().unwrap();
        let take = [version, "-sess_out", file];
        assert_eq!(session(&site, port::CERTIFICATE_REQUESTED, &take), "New");
        // The same key ring and the same name, but a certificate is required.
        let offer = [&[version, "-sess_in", file][..], &shown].concat();
        let outcome = session(&site, port::CERTIFICATE_REQUIRED, &offer);
        assert_eq!(outcome, "New", "{version}");
    }
}

#[test]
fn r33_renegotiation_is_refused_with_no_renegotiation() {
    let site = system();
    let ended = openssl_renegotiating(site.address(port::ECHO), &site.material);
    assert!(ended.said.contains("RENEGOTIATING"), "{}", ended.said);
    assert!(ended.said.contains("no renegotiation"), "{}", ended.said);
}
