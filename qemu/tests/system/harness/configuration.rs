//! The configuration of the image under test.

use std::fmt::Write as _;

use super::port;
use super::site::{HURRY, MATRIX_KEYS, SMALL_SEGMENT, sending_port};
use super::upstream::Upstream;

/// The configuration under test.
pub(super) fn configuration(network: &str, backends: &[u16]) -> String {
    let &[echo, http, bulk, proxied] = backends else {
        panic!("a backend for each kind");
    };
    let mut text = format!("[network]\n{network}\n\n[log]\nhandshakes = true\n\n");
    for label in super::material::SERVERS {
        let _ = write!(
            text,
            "[[keyring]]\nlabel = \"{label}\"\nchain = \"{label}-chain.pem\"\n\
             key = \"{label}-key.pem\"\ntrust = \"clients-ca.pem\"\n\
             crl = [\"clients-ca.crl\"]\n\n"
        );
    }
    text.push_str(
        "[[keyring]]\nlabel = \"named-only\"\nchain = \"p256-chain.pem\"\n\
         key = \"p256-key.pem\"\nrefuse = [\"sign-without-server-name\"]\n\n",
    );
    let plain = "keyring = \"p256\"";
    let one_choice = "keyring = \"p256\", groups = [\"secp384r1\"], versions = [\"1.3\"], \
                      suites = [\"TLS_CHACHA20_POLY1305_SHA256\"]";
    let small = format!("{plain}, segment_size = {SMALL_SEGMENT}");
    let hurried = format!("{plain}, handshake_timeout_ms = {}", HURRY.as_millis());
    let required = format!("{plain}, client_auth = \"require\"");
    let requested = format!("{plain}, client_auth = \"request\"");
    let tls13 = format!("{plain}, versions = [\"1.3\"]");
    let tls12 = format!("{plain}, versions = [\"1.2\"]");
    let alpn = format!("{plain}, alpn = [\"http/1.1\"]");
    let names = "keyring = [\"p256\", \"alpha\", \"beta\"]";
    let exposed = format!("{plain}, expose_keys = true");
    let hybrid = "keyring = \"p256\", groups = [\"SecP384r1MLKEM1024\"], versions = [\"1.3\"]";
    let listeners: [(u16, &str, Option<u16>); 18] = [
        (port::STATUS, &alpn, None),
        (port::ECHO, plain, Some(echo)),
        (port::HTTP, &alpn, Some(http)),
        (port::RSA, "keyring = \"rsa2048\"", Some(http)),
        (port::ED25519, "keyring = \"ed25519\"", Some(http)),
        (port::P384, "keyring = \"p384\"", Some(http)),
        (port::CERTIFICATE_REQUIRED, &required, Some(http)),
        (port::CERTIFICATE_REQUESTED, &requested, Some(http)),
        (port::TLS13_ONLY, &tls13, Some(echo)),
        (port::TLS12_ONLY, &tls12, Some(echo)),
        (port::SMALL_SEGMENTS, &small, Some(echo)),
        (port::NAMES, names, Some(http)),
        (port::HURRIED, &hurried, Some(echo)),
        (port::BULK, plain, Some(bulk)),
        (port::ONE_CHOICE, one_choice, Some(http)),
        // The discard port: it has no listener on this machine.
        (port::NO_BACKEND, plain, Some(9)),
        (port::EXPOSED, &exposed, Some(echo)),
        (port::HYBRID, hybrid, Some(echo)),
    ];
    for (port, tls, backend) in listeners {
        let backend = match backend {
            Some(port) => format!("connect = \"10.0.2.2:{port}\""),
            None => "status = true".to_string(),
        };
        let modes = [(port, "autonomous"), (port::directed(port), "directed")];
        for (listen, mode) in modes {
            if mode == "directed" && !port::TWINS.contains(&port) {
                continue;
            }
            let _ = write!(
                text,
                "[[listener]]\nname = \"at-{listen}\"\nlisten = {listen}\n\
                 tls = {{ role = \"server\", mode = \"{mode}\", {tls} }}\n\
                 backend = {{ {backend} }}\n\n"
            );
        }
    }
    let autonomous = port::MATRIX.map(|port| (port, "autonomous"));
    let directed = port::MATRIX.map(|port| (port::directed(port), "directed"));
    let keys = MATRIX_KEYS.into_iter().cycle();
    for ((port, mode), label) in autonomous.into_iter().chain(directed).zip(keys) {
        let _ = write!(
            text,
            "[[listener]]\nname = \"at-{port}\"\nlisten = {port}\n\
             tls = {{ role = \"server\", mode = \"{mode}\", keyring = \"{label}\", client_auth = \"request\" }}\n\
             backend = {{ connect = \"10.0.2.2:{http}\" }}\n\n"
        );
    }
    let _ = write!(
        text,
        "[[listener]]\nname = \"at-{port}\"\nlisten = {port}\n\
         tls = {{ role = \"server\", mode = \"directed\", keyring = \"named-only\" }}\n\
         backend = {{ connect = \"10.0.2.2:{http}\" }}\n\n",
        port = port::NAMED_ONLY
    );
    let limited = [
        (
            port::PATIENT,
            "request_timeout_ms = 600000\nbackend = { status = true }".to_string(),
        ),
        (
            port::FEW,
            format!(
                "limits = {{ connections = 2 }}\nbackend = {{ connect = \"10.0.2.2:{http}\" }}"
            ),
        ),
    ];
    for (port, words) in limited {
        let _ = write!(
            text,
            "[[listener]]\nname = \"at-{port}\"\nlisten = {port}\n{words}\n\
             tls = {{ role = \"server\", {plain} }}\n\n"
        );
    }
    for port in port::STATIC_RSA {
        let _ = write!(
            text,
            "[[listener]]\nname = \"at-{port}\"\nlisten = {port}\n\
             tls = {{ role = \"server\", mode = \"directed\", keyring = \"rsa2048\", \
             versions = [\"1.2\"], client_auth = \"request\", allow_static_rsa = true }}\n\
             backend = {{ connect = \"10.0.2.2:{http}\" }}\n\n"
        );
    }
    text.push_str(&rules(echo));
    let _ = write!(
        text,
        "[[listener]]\nname = \"introduced\"\nlisten = {}\n\
         tls = {{ role = \"server\", {requested}, alpn = [\"x\"] }}\n\
         backend = {{ connect = \"10.0.2.2:{proxied}\", identity = \"proxy-v2\" }}\n\n",
        port::INTRODUCED
    );
    text
}

/// The status page and the echo, in each of these modes, and nothing else.
pub(super) fn few_listeners(network: &str, (echo, bulk): (u16, u16), modes: &[&str]) -> String {
    let mut text = format!(
        "[network]\n{network}\n\n[log]\nhandshakes = true\n\n\
         [[keyring]]\nlabel = \"p256\"\n\
         chain = \"p256-chain.pem\"\nkey = \"p256-key.pem\"\n\n"
    );
    let backends = [
        (port::STATUS, "status = true".to_string()),
        (port::ECHO, format!("connect = \"10.0.2.2:{echo}\"")),
        (port::BULK, format!("connect = \"10.0.2.2:{bulk}\"")),
    ];
    for mode in modes {
        for (port, backend) in &backends {
            let listen = match *mode {
                "directed" => port::directed(*port),
                _ => *port,
            };
            let _ = write!(
                text,
                "[[listener]]\nname = \"at-{listen}\"\nlisten = {listen}\n\
                 tls = {{ role = \"server\", mode = \"{mode}\", keyring = \"p256\" }}\n\
                 backend = {{ {backend} }}\n\n"
            );
        }
    }
    text
}

/// The part of it where the gateway is a client.
pub(super) fn client_configuration(upstreams: &[Upstream], echo: u16, held: u16) -> String {
    let mut text = String::from(
        "[[keyring]]\nlabel = \"backends\"\ntrust = \"ca.pem\"\ncrl = [\"ca.crl\"]\n\n\
         [[keyring]]\nlabel = \"others\"\ntrust = \"clients-ca.pem\"\n\n\
         [[keyring]]\nlabel = \"client\"\nchain = \"client-chain.pem\"\n\
         key = \"client-key.pem\"\ntrust = \"ca.pem\"\n\n",
    );
    let mut listener = |port: u16, near: &str, to: u16, far: &str| {
        let _ = write!(
            text,
            "[[listener]]\nname = \"at-{port}\"\nlisten = {port}\n{near}\
             backend = {{ connect = \"10.0.2.2:{to}\", tls = {{ role = \"client\", {far} }} }}\n\n"
        );
    };
    let known = "keyring = \"backends\", server_name = \"localhost\"";
    let (first, expired) = (upstreams[0].port, upstreams[6].port);
    let tls = "tls = { role = \"server\", keyring = \"p256\" }\n";
    listener(port::REENCRYPTED, tls, first, known);
    let other = "keyring = \"backends\", server_name = \"other.test\"";
    listener(port::WRONG_NAME, "", first, other);
    listener(port::EXPIRED, "", expired, known);
    let revoked = upstreams[8].port;
    listener(port::REVOKED, "", revoked, known);
    let untrusted = "keyring = \"others\", server_name = \"localhost\"";
    listener(port::UNKNOWN_AUTHORITY, "", first, untrusted);
    listener(port::SENT, "", first, known);
    listener(port::NOT_TLS, "", echo, known);
    let directed = |rules: &str| format!("{rules}, mode = \"directed\"");
    for (port, place) in [(port::MODERN, 7), (port::GO, 9), (port::GO_RETRYING, 10)] {
        let to = upstreams[place].port;
        // What one of them agrees to is no hint for the others of that name.
        let known = match port {
            port::MODERN => format!("{known}, alpn = [\"http/1.1\"]"),
            port::GO => format!("{known}, versions = [\"1.3\"]"),
            _ => format!("{known}, versions = [\"1.3\"], alpn = [\"http/1.1\"]"),
        };
        listener(port, "", to, &known);
        listener(port::directed(port), "", to, &directed(&known));
    }
    // Its server is rustls, which wants the ticket of a first hello in the second one too; a
    // ticket of another backend of that name may be dropped there (RFC 8446 §4.1.2). With a
    // protocol of its own it gets none, and no hint.
    let own = format!("{known}, alpn = [\"h2\"]");
    listener(port::HELD, "", held, &own);
    listener(port::directed(port::HELD), "", held, &directed(&own));
    let tls = "tls = { role = \"server\", mode = \"directed\", keyring = \"p256\" }\n";
    for (port, near, to, far) in [
        (port::REENCRYPTED, tls, first, known),
        (port::WRONG_NAME, "", first, other),
        (port::EXPIRED, "", expired, known),
        (port::REVOKED, "", revoked, known),
        (port::UNKNOWN_AUTHORITY, "", first, untrusted),
    ] {
        listener(port::directed(port), near, to, &directed(far));
    }
    let static_rsa = "keyring = \"backends\", server_name = \"localhost\", versions = [\"1.2\"], \
                      suites = [\"TLS_RSA_WITH_AES_128_GCM_SHA256\"], allow_static_rsa = true";
    for (port, upstream) in port::STATIC_RSA_SENT.into_iter().zip([1, 4]) {
        listener(port, "", upstreams[upstream].port, &directed(static_rsa));
    }
    for (place, upstream) in upstreams.iter().take(6).enumerate() {
        for is_tls13 in [false, true] {
            for has_certificate in [false, true] {
                let version = if is_tls13 { "1.3" } else { "1.2" };
                let ring = if has_certificate {
                    "client"
                } else {
                    "backends"
                };
                let far = format!(
                    "keyring = \"{ring}\", server_name = \"localhost\", \
                     versions = [\"{version}\"]"
                );
                let port = sending_port(place, is_tls13, has_certificate);
                listener(port, "", upstream.port, &far);
                listener(port::directed(port), "", upstream.port, &directed(&far));
            }
        }
    }
    text
}

/// Listeners with rules; every client comes from 10.0.2.2.
fn rules(echo: u16) -> String {
    let backend = format!("backend = {{ connect = \"10.0.2.2:{echo}\" }}\n");
    let tls = |ring: &str, more: &str| {
        format!("tls = {{ role = \"server\", keyring = \"{ring}\"{more} }}\n")
    };
    let hurry = format!(", handshake_timeout_ms = {}", HURRY.as_millis());
    let rules = [
        ("from = \"192.0.2.0/24\"\n", tls("rsa2048", &hurry)),
        (
            "from = \"10.0.2.0/24\"\nserver_name = \"alpha.test\"\n",
            tls("alpha", &format!(", versions = [\"1.3\"]{hurry}")),
        ),
        (
            "server_name = \"*.test\"\nalpn = [\"x\", \"y\"]\n",
            tls(
                "beta",
                &format!(", versions = [\"1.2\"], alpn = [\"y\"]{hurry}"),
            ),
        ),
    ];
    let mut text = format!("[[listener]]\nname = \"at-490\"\nlisten = 490\n{backend}\n");
    for (criteria, tls) in &rules {
        let _ = write!(text, "[[listener.rule]]\n{criteria}{tls}\n");
    }
    let _ = write!(
        text,
        "[[listener]]\nname = \"at-491\"\nlisten = 491\n{backend}\n\
         [[listener.rule]]\n{}{}\n",
        rules[0].0, rules[0].1
    );
    text
}
