//! The harness against a server that is known to be good, on this machine:
//! what fails in front of the image is then the image's fault.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use image::workspace;
use rustls::crypto::ring;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::bad_input::{beginnings, client_hello};
use crate::harness::backend::{Backend, Kind, PAGE, Pattern, UP, sha256};
use crate::harness::client::{Ending, Wish, ending, tcp};
use crate::harness::material::{Material, SERVERS};
use crate::harness::program::{curl, gnutls, openssl};
use crate::harness::upstream::{Program, Upstream};

/// A TLS server on this machine in front of a backend, one thread a session.
fn reference(material: &Material, label: &str, kind: Kind) -> SocketAddr {
    let backend = Backend::start(kind).unwrap().port();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(material.chain(label), material.key(label))
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = config.clone();
            thread::spawn(move || relay(config, stream, backend));
        }
    });
    address
}

/// One request up to a pause, one answer to its end.
fn relay(config: Arc<ServerConfig>, mut stream: TcpStream, backend: u16) -> io::Result<()> {
    let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    let mut client = StreamOwned::new(connection, stream);
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, backend))?;
    let mut buffer = vec![0; 16384];
    let count = client.read(&mut buffer)?;
    server.write_all(&buffer[..count])?;
    server.shutdown(std::net::Shutdown::Write)?;
    io::copy(&mut server, &mut client)?;
    client.conn.send_close_notify();
    client.flush()
}

fn material(name: &str) -> Material {
    let folder = workspace::scratch(name).unwrap();
    Material::make(&folder).unwrap()
}

#[test]
fn every_client_reaches_a_good_server() {
    let material = material("selftest-clients");
    let address = reference(&material, "p256", Kind::Http);
    for version in ["-tls1_3", "-tls1_2"] {
        openssl(address, &material, &[version]).expect(&["Verify return code: 0 (ok)", PAGE]);
    }
    for version in ["1.3", "1.2"] {
        let priority = format!("NORMAL:-VERS-ALL:+VERS-TLS{version}");
        let words = ["Handshake was completed", &format!("(TLS{version}"), PAGE];
        gnutls(address, &material, &priority).expect(&words);
        let options = [
            format!("--tlsv{version}"),
            "--tls-max".into(),
            version.into(),
        ];
        let words = [
            &format!("using TLSv{version}"),
            PAGE,
            "ALPN: server accepted http/1.1",
        ];
        curl(address, &material, "/", &options).expect(&words);
    }
}

#[test]
fn every_key_ring_is_accepted() {
    let material = material("selftest-rings");
    for label in SERVERS {
        let address = reference(&material, label, Kind::Http);
        let name = match label {
            "alpha" => "alpha.test",
            "beta" => "beta.test",
            _ => "localhost",
        };
        let mut session = Wish::any(&material).name(name).connect(address).unwrap();
        assert!(session.ask("/").unwrap().ends_with(PAGE));
    }
}

#[test]
fn a_client_that_trusts_somebody_else_fails() {
    let (ours, theirs) = (material("selftest-ours"), material("selftest-theirs"));
    let address = reference(&theirs, "p256", Kind::Http);
    assert!(!openssl(address, &ours, &[]).success);
    assert!(!gnutls(address, &ours, "NORMAL").success);
    assert!(!curl(address, &ours, "/", &[""; 0]).success);
    assert!(Wish::any(&ours).connect(address).is_err());
}

#[test]
fn an_alert_is_told_from_a_close() {
    let material = material("selftest-alerts");
    let address = reference(&material, "p256", Kind::Http);
    let mut stream = tcp(address).unwrap();
    // A ClientHello's record header, and a handshake message that is none.
    stream.write_all(&[22, 3, 1, 0, 5, 99, 0, 0, 1, 0]).unwrap();
    assert!(matches!(ending(&mut stream).unwrap(), Ending::Alert(_)));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut stream = tcp(listener.local_addr().unwrap()).unwrap();
    drop(listener.accept().unwrap());
    assert_eq!(ending(&mut stream).unwrap(), Ending::Closed);
}

#[test]
fn another_server_gives_the_alerts_that_the_gateway_is_asked_for() {
    let material = material("selftest-beginnings");
    let address = reference(&material, "p256", Kind::Http);
    for beginning in beginnings(&client_hello(&material)) {
        let mut stream = tcp(address).unwrap();
        let _ = stream.write_all(&beginning.bytes);
        beginning.judge(&ending(&mut stream).unwrap());
    }
}

#[test]
fn both_ends_have_the_same_keys() {
    let material = material("selftest-keys");
    let address = reference(&material, "p256", Kind::Http);
    let session = Wish::tls13(&material).connect(address).unwrap();
    let [from_server, to_server] = session.keys();
    assert_ne!(from_server, to_server);
    assert_eq!(from_server.len(), 32 + 12);
}

#[test]
fn bulk_data_is_the_same_however_it_is_read() {
    let port = Backend::start(Kind::Bulk).unwrap().port();
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let mut stream = connect();
    writeln!(stream, "down 100003").unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    let mut expected = Vec::new();
    Pattern::new(100_003).read_to_end(&mut expected).unwrap();
    assert_eq!(received.len(), 100_003);
    assert!(received == expected);
    let mut stream = connect();
    stream.write_all(UP.as_bytes()).unwrap();
    stream.write_all(&received).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer.trim(), sha256(&mut expected.as_slice()).unwrap());
}

#[test]
fn a_server_that_listens_everywhere_has_a_network_of_loopback_alone() {
    let material = material("selftest-enclosed");
    let folder = workspace::scratch("selftest-enclosed").unwrap();
    let server = Upstream::start(Program::GnuTls, "p256", &material, &folder).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port));
    openssl(address, &material, &["-tls1_3"]).expect(&["Verify return code: 0 (ok)"]);
    let devices = fs::read_to_string(format!("/proc/{}/net/dev", server.process)).unwrap();
    // Two lines of headings.
    let names: Vec<_> = devices.lines().skip(2).map(str::trim).collect();
    assert!(names.len() == 1 && names[0].starts_with("lo:"), "{devices}");
}
