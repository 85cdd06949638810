//! Where the secrets of resumption are while sessions that the shim directs begin
//! and resume: pre-shared keys, resumption secrets, master secrets of TLS 1.2.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};

use crate::harness::client::tcp;
use crate::harness::schedule::{Heard, provider};
use crate::harness::site::{Site, port};
use crate::harness::{PATIENCE, alone};
use crate::secrets::holders;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

/// Of the key schedule of TLS 1.3: the resumption master secret, and the pre-shared
/// key of each ticket. Of the key log: the master secret of TLS 1.2.
const RESUMPTION: [&str; 3] = ["res master", "resumption", "CLIENT_RANDOM"];

/// The one component that may have any of them.
fn offload() -> BTreeSet<&'static str> {
    BTreeSet::from(["offload-server"])
}

/// Of TLS 1.2 the record layer has the master secret, too, as long as the session is open:
/// keying material is exported from it (ADR 0189).
fn while_open(version: ProtocolVersion) -> BTreeSet<&'static str> {
    let mut all = offload();
    if version == ProtocolVersion::TLSv1_2 {
        all.insert("record-server");
    }
    all
}

/// Fails the test when a secret of resumption is where none belongs.
#[track_caller]
fn look(site: &Site, heard: &Heard, moment: &str) -> BTreeSet<&'static str> {
    look_in(site, heard, moment, &offload())
}

/// The same, for those that belong in `homes`.
#[track_caller]
fn look_in(
    site: &Site,
    heard: &Heard,
    moment: &str,
    homes: &BTreeSet<&'static str>,
) -> BTreeSet<&'static str> {
    let secrets = heard.under(&RESUMPTION);
    let found = holders(site, &secrets);
    assert!(found.is_subset(homes), "{moment}: {found:?}");
    found
}

#[test]
fn r33_the_shim_holds_no_secret_of_the_tickets_that_it_gives_and_takes() {
    let site = alone();
    for version in VERSIONS {
        let (provider, heard) = provider();
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(site.material.roots())
            .with_no_client_auth();
        config.key_log = heard.clone();
        let config = Arc::new(config);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let moment = format!("{:?} {kind:?}", version.version);
            let name = "localhost".try_into().unwrap();
            let mut client = ClientConnection::new(config.clone(), name).unwrap();
            let address = site.address(port::directed(port::ECHO));
            let mut socket = tcp(address).unwrap();
            client.write_tls(&mut socket).unwrap();
            // Until this side has to say Finished: the gateway waits for it.
            while !client.wants_write() {
                client.read_tls(&mut socket).unwrap();
                client.process_new_packets().unwrap();
            }
            let found = look(&site, &heard, &format!("{moment}, before Finished"));
            if version.version == ProtocolVersion::TLSv1_3 {
                // What it keeps for KeyUpdates: the search finds something.
                let traffic = heard.under(&["c ap traffic", "s ap traffic"]);
                assert_eq!(holders(&site, &traffic), offload(), "{moment}");
            } else if kind == HandshakeKind::Resumed {
                assert_eq!(found, offload(), "{moment}: the search finds nothing");
            }
            let mut stream = rustls::Stream::new(&mut client, &mut socket);
            // With the answer the tickets come.
            stream.write_all(b"over").unwrap();
            stream.read_exact(&mut [0; 4]).unwrap();
            assert!(
                !heard.under(&RESUMPTION).is_empty(),
                "{moment}: nothing to look for"
            );
            let homes = while_open(version.version);
            look_in(&site, &heard, &format!("{moment}, open"), &homes);
            client.send_close_notify();
            client.write_tls(&mut socket).unwrap();
            socket.shutdown(Shutdown::Write).unwrap();
            io::copy(&mut socket, &mut io::sink()).unwrap();
            look(&site, &heard, &format!("{moment}, closed"));
            assert_eq!(client.handshake_kind(), Some(kind), "{moment}");
        }
    }
}

#[test]
fn r33_the_shim_holds_no_secret_of_the_tickets_that_it_gets_and_offers() {
    let site = alone();
    for version in VERSIONS {
        let (provider, heard) = provider();
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(site.material.chain("p256"), site.material.key("p256"))
            .unwrap();
        config.key_log = heard.clone();
        config.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
        let config = Arc::new(config);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let moment = format!("{:?} {kind:?}", version.version);
            let mut asking = tcp(site.address(port::directed(port::HELD))).unwrap();
            let mut socket = site.held.accept().unwrap().0;
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut server = ServerConnection::new(config.clone()).unwrap();
            while !server.wants_write() {
                server.read_tls(&mut socket).unwrap();
                server.process_new_packets().unwrap();
            }
            let flight = pending(&mut server);
            // The last record is not whole yet: the gateway waits for its rest.
            let (most, rest) = flight.split_at(flight.len() - 1);
            socket.write_all(most).unwrap();
            look(
                &site,
                &heard,
                &format!("{moment}, before the end of the flight"),
            );
            socket.write_all(rest).unwrap();
            let mut stream = rustls::Stream::new(&mut server, &mut socket);
            asking.write_all(b"over").unwrap();
            stream.read_exact(&mut [0; 4]).unwrap();
            stream.write_all(b"done").unwrap();
            asking.read_exact(&mut [0; 4]).unwrap();
            let homes = while_open(version.version);
            let found = look_in(&site, &heard, &format!("{moment}, open"), &homes);
            // It keeps what it got for the next time.
            assert_eq!(found, homes, "{moment}: the search finds nothing");
            asking.shutdown(Shutdown::Write).unwrap();
            end(&mut server, &mut socket);
            io::copy(&mut asking, &mut io::sink()).unwrap();
            look(&site, &heard, &format!("{moment}, closed"));
            assert_eq!(server.handshake_kind(), Some(kind), "{moment}");
        }
    }
}

/// All that a server has to send.
fn pending(server: &mut ServerConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Waits for the gateway's close_notify, and answers it.
fn end(server: &mut ServerConnection, socket: &mut TcpStream) {
    let mut stream = rustls::Stream::new(server, socket);
    io::copy(&mut stream, &mut io::sink()).unwrap();
    server.send_close_notify();
    socket.write_all(&pending(server)).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
}
