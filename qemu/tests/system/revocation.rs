//! Clients whose certificates are revoked: by the lists of the image, and by an update (R7,
//! R33). Backends are in [`crate::upstream`] and [`crate::directed_client`].

use std::fs;

use gateway_config::{Kek, update};
use qemu::log::Cursor;
use time::OffsetDateTime;

use crate::harness::PATIENCE;
use crate::harness::backend::PAGE;
use crate::harness::program::{Ended, openssl};
use crate::harness::site::port::{self, directed};
use crate::harness::site::{Prepared, Site};
use crate::harness::system;
use crate::keys::{seal, signer, tell};

const MODES: [u16; 2] = [
    port::CERTIFICATE_REQUIRED,
    directed(port::CERTIFICATE_REQUIRED),
];
const VERSIONS: [&str; 2] = ["-tls1_3", "-tls1_2"];

/// OpenSSL with the certificate of `label`.
fn visit(site: &Site, port: u16, label: &str, options: &[&str]) -> Ended {
    let material = &site.material;
    let (chain, key) = (material.chain_file(label), material.key_file(label));
    let shown = [
        "-cert",
        chain.to_str().unwrap(),
        "-key",
        key.to_str().unwrap(),
    ];
    openssl(site.address(port), material, &[&shown, options].concat())
}

fn expect_revoked(site: &Site, port: u16, start: Cursor, ended: &Ended) {
    assert!(
        ended.said.contains("alert certificate revoked"),
        "{}",
        ended.said
    );
    assert!(!ended.said.contains(PAGE), "{}", ended.said);
    // Others have handshakes there meanwhile.
    let listener = format!(" at-{port} ");
    let told = site.guest.log().find(start, PATIENCE, |line| {
        line.contains(&listener) && line.contains("alert sent: certificate_revoked")
    });
    assert!(told.is_some(), "{port}");
}

#[test]
fn r07_a_client_whose_certificate_is_revoked_gets_the_alert_for_it() {
    let site = system();
    for port in MODES {
        for version in VERSIONS {
            visit(&site, port, "client", &[version]).expect(&[PAGE]);
            let start = site.mark();
            let ended = visit(&site, port, "revoked", &[version]);
            expect_revoked(&site, port, start, &ended);
        }
    }
}

#[test]
fn r33_an_update_revokes_a_client_and_what_it_could_resume() {
    let signer = signer();
    let prepared = Prepared::build_sealed("revoking", seal(&signer)).unwrap();
    let kek = fs::read(prepared.machine.key.as_ref().unwrap()).unwrap();
    let kek = Kek::from_bytes(&kek).unwrap();
    let site = prepared.boot().unwrap();
    let cases = MODES.map(|port| VERSIONS.map(|version| (port, version)));
    let cases = cases.as_flattened();
    let file = |port: u16, version: &str| {
        let file = site.folder.join(format!("leaver-{port}{version}.pem"));
        file.to_str().unwrap().to_string()
    };
    for (port, version) in cases {
        let file = file(*port, version);
        // A ticket is good once: the last one is for after the update.
        for (option, word) in [
            ("-sess_out", "New, TLSv1."),
            ("-sess_in", "Reused, TLSv1."),
            ("-sess_out", "New, TLSv1."),
        ] {
            visit(&site, *port, "leaver", &[version, option, &file]).expect(&[word, PAGE]);
        }
    }
    let text = "[[keyring]]\nlabel = \"p256\"\nchain = \"p256-chain.pem\"\nkey = \"p256-key.pem\"\n\
                trust = \"clients-ca.pem\"\ncrl = [\"clients-later.crl\"]\n\
                [[listener]]\nname = \"one\"\nlisten = 443\n\
                tls = { role = \"server\", keyring = \"p256\" }\nbackend = { status = true }\n";
    let later = site.folder.join("material/later.toml");
    fs::write(&later, text).unwrap();
    let config = gateway_config::load(&later, OffsetDateTime::now_utc()).unwrap();
    let signer = signer.serialize_pem();
    let newer = update(&config.keyrings, 1, signer.as_bytes(), Some(&kek)).unwrap();
    assert_eq!(tell(&site, &newer), "accepted: version 1\n");
    for (port, version) in cases {
        let start = site.mark();
        let file = file(*port, version);
        let ended = visit(&site, *port, "leaver", &[version, "-sess_in", &file]);
        expect_revoked(&site, *port, start, &ended);
        visit(&site, *port, "client", &[version]).expect(&[PAGE]);
    }
}
