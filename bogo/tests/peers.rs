//! GnuTLS and OpenSSL as clients of the host build: records no longer than they say
//! (RFC 8449), and the same keying material at both ends (RFC 8446 §7.5, RFC 5705).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use bogo::system::{End, Plaintext, System};
use ipc::bounded::{List, Text};
use ipc::control::Parameters;
use ipc::keystore::KeyKind;
use ipc::provision::{Crls, Keyring, Keyrings, PrivateKey};
use ipc::tls::{Mode, PeerAuthentication};
use rcgen::{CertificateParams, KeyPair};
use tls::{Role, Version};

const LABEL: &str = "EXPORTER-handoff-test";
/// Bytes of keying material.
const MATERIAL: u16 = 40;
/// What the server says.
const PAGE: &[u8] = &[b'x'; 5000];
const VERSIONS: [Version; 2] = [Version::Tls13, Version::Tls12];

/// A certificate for localhost that is its own authority, in a file; and a ring with it.
fn identity(name: &str) -> (std::path::PathBuf, Keyring) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
    let path = std::env::temp_dir().join(format!("bogo-{name}-{}.pem", std::process::id()));
    fs::write(&path, authority.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let ring = Keyring {
        label: Text::from_text("web").unwrap(),
        roles: vec![Role::Server],
        decrypts: false,
        schemes: List::new(),
        key: Some(PrivateKey {
            kind: KeyKind::EcdsaP256,
            pkcs8: key.serialize_der(),
        }),
        chain: vec![certificate.der().to_vec()],
        trust: vec![authority.der().to_vec()],
        crls: Crls::default(),
        ocsp: None,
    };
    (path, ring)
}

fn parameters(version: Version) -> Parameters {
    Parameters {
        versions: List::from_items([version]).unwrap(),
        suites: List::new(),
        allow_static_rsa: false,
        groups: List::new(),
        keyrings: List::from_items([Text::from_text("web").unwrap()]).unwrap(),
        peer_authentication: PeerAuthentication::None,
        peer_schemes: List::new(),
        server_name: None,
        alpn: List::new(),
        segment_size: 16384,
        resumption: true,
        expose_keys: false,
    }
}

/// Passes one connection on to `to`; what came back is in the second.
fn relay(to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let back = heard.clone();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(to).unwrap();
        let (mut from, mut into) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let up = thread::spawn(move || {
            std::io::copy(&mut from, &mut into).ok();
            into.shutdown(Shutdown::Write).ok();
        });
        let mut bytes = [0; 16384];
        while let Ok(count @ 1..) = server.read(&mut bytes) {
            back.lock().unwrap().extend_from_slice(&bytes[..count]);
            if client.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        client.shutdown(Shutdown::Write).ok();
        up.join().unwrap();
    });
    (address, heard)
}

/// What a client saw of a session.
struct Seen {
    /// Its own words.
    output: String,
    /// What the server exports.
    material: Vec<u8>,
    /// The bodies of the server's records of application data, and all that look like it.
    records: Vec<usize>,
}

/// A session of `client`, which is told a port.
fn session(
    name: &str,
    (mode, version): (Mode, Version),
    client: impl FnOnce(u16, &std::path::Path) -> Command,
) -> Seen {
    let (authority, ring) = identity(name);
    let mut system = System::new(&Keyrings(vec![ring]), false).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, heard) = relay(listener.local_addr().unwrap());
    let mut child = client(address.port(), &authority)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    system.connect(listener.accept().unwrap().0).unwrap();
    let agreed = system.handshake(Role::Server, mode, parameters(version));
    let agreed = agreed.unwrap().unwrap();
    assert_eq!(agreed.version, version);
    let material = system.export(LABEL.as_bytes(), None, MATERIAL).unwrap();
    system.write(PAGE).unwrap();
    system.close().unwrap();
    let end = loop {
        match system.read().unwrap() {
            Plaintext::Bytes(_) => {}
            Plaintext::End(end) => break end,
        }
    };
    assert!(matches!(end, End::Closed | End::Truncated), "{end:?}");
    system.end().unwrap();
    // It would have hung up at the end of its input.
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    let output = [output.stdout, output.stderr].concat();
    let output = String::from_utf8_lossy(&output).into_owned();
    fs::remove_file(authority).unwrap();
    let heard = heard.lock().unwrap();
    let (mut rest, mut records) = (&heard[..], Vec::new());
    while let [kind, 3, 3, high, low, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if *kind == 23 {
            records.push(length);
        }
        rest = &after[length..];
    }
    assert!(
        output.contains(std::str::from_utf8(PAGE).unwrap()),
        "{output}"
    );
    Seen {
        output,
        material,
        records,
    }
}

fn gnutls(version: Version, options: &[&str]) -> impl FnOnce(u16, &std::path::Path) -> Command {
    let version = match version {
        Version::Tls13 => "NORMAL:-VERS-ALL:+VERS-TLS1.3",
        Version::Tls12 => "NORMAL:-VERS-ALL:+VERS-TLS1.2",
    };
    move |port, authority| {
        let mut command = Command::new("gnutls-cli");
        command
            .args(["--port", &port.to_string(), "--priority", version])
            .args([
                "--sni-hostname",
                "localhost",
                "--verify-hostname",
                "localhost",
            ])
            .arg("--x509cafile")
            .arg(authority)
            .args(options)
            .arg("127.0.0.1");
        command
    }
}

/// Whether hexadecimal digits of `material` are in the output, in either case.
fn is_told(output: &str, material: &[u8]) -> bool {
    let digits: String = material.iter().map(|byte| format!("{byte:02x}")).collect();
    material.len() == usize::from(MATERIAL) && output.to_lowercase().contains(&digits)
}

#[test]
fn gnutls_gets_records_that_are_no_longer_than_it_says() {
    // In TLS 1.3 the type is a byte of what is limited, and GnuTLS says one more for it
    // (RFC 8449 §4).
    for (version, around) in [(Version::Tls13, 1 + 16), (Version::Tls12, 8 + 16)] {
        let options = ["--recordsize", "512"];
        let case = (Mode::Directed, version);
        let seen = session(
            &format!("limit-{version:?}"),
            case,
            gnutls(version, &options),
        );
        let most = seen.records.iter().max();
        assert_eq!(most, Some(&(512 + around)), "{:?}", seen.records);
        // What it does not say is as before.
        let seen = session(&format!("whole-{version:?}"), case, gnutls(version, &[]));
        assert!(
            seen.records.iter().max() > Some(&4000),
            "{:?}",
            seen.records
        );
    }
}

#[test]
fn gnutls_exports_the_same_keying_material() {
    for mode in [Mode::Directed, Mode::Autonomous] {
        for version in VERSIONS {
            let length = MATERIAL.to_string();
            let options = ["--keymatexport", LABEL, "--keymatexportsize", &length];
            let name = format!("gnutls-{mode:?}-{version:?}");
            let seen = session(&name, (mode, version), gnutls(version, &options));
            assert!(
                is_told(&seen.output, &seen.material),
                "{name}: {}",
                seen.output
            );
        }
    }
}

#[test]
fn openssl_exports_the_same_keying_material() {
    for mode in [Mode::Directed, Mode::Autonomous] {
        for version in VERSIONS {
            let only = match version {
                Version::Tls13 => "-tls1_3",
                Version::Tls12 => "-tls1_2",
            };
            let name = format!("openssl-{mode:?}-{version:?}");
            let seen = session(&name, (mode, version), |port, authority| {
                let mut command = Command::new("openssl");
                command
                    .args(["s_client", only, "-connect", &format!("127.0.0.1:{port}")])
                    .args(["-servername", "localhost", "-CAfile"])
                    .arg(authority)
                    .args(["-keymatexport", LABEL, "-keymatexportlen"])
                    .arg(MATERIAL.to_string());
                command
            });
            assert!(
                is_told(&seen.output, &seen.material),
                "{name}: {}",
                seen.output
            );
        }
    }
}
