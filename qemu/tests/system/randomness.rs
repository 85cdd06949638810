//! Random numbers: no system without a sound source.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection};

use crate::harness::client::tcp;
use crate::harness::site::{Prepared, Site, port};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn c06_without_a_random_number_generator_the_boot_stops() {
    let sound = Prepared::build("randomness", false).unwrap().machine;
    let mut deprived = sound.clone();
    deprived.lacks = vec!["rdrand".into(), "rdseed".into()];

    let mut guest = deprived.start(PATIENCE).unwrap();
    guest
        .wait_line(PATIENCE, |line| {
            line == "init: no random numbers: the processor has no RDRAND"
        })
        .unwrap();
    // Long enough for a boot that goes on to tell so.
    let went_on = guest.wait_line(Duration::from_secs(10), |line| {
        line.contains(" domains, ") || line.starts_with("policy: ")
    });
    let log = fs::read_to_string(guest.log_file()).unwrap();
    assert!(went_on.is_err(), "{log}");
    guest.stop();

    // The same image goes on where the generator is there.
    let mut guest = sound.start(PATIENCE).unwrap();
    let told = guest
        .wait_line(PATIENCE, |line| line.starts_with("init: random numbers: "))
        .unwrap();
    assert!(told.ends_with(", sound"), "{told}");
    guest
        .wait_line(PATIENCE, |line| line.contains(" domains, "))
        .unwrap();
}

#[test]
fn c06_a_state_that_is_resumed_twice_does_not_give_the_same_random_numbers_twice() {
    let prepared = Prepared::build("resumed", false).unwrap();
    let state = prepared.folder.join("state");
    let mut machine = prepared.machine.clone();
    let site = prepared.boot().unwrap();
    // The system has drawn already, and so has this client.
    let hello = client_hello(&site);
    answer(site.address(port::ECHO), &hello);
    site.guest.save(&state).unwrap();
    drop(site);

    machine.resumes = Some(state.clone());
    let answers = [(); 2].map(|()| {
        let guest = machine.resume(PATIENCE).unwrap();
        answer(guest.address(port::ECHO).unwrap(), &hello)
    });
    // Every secret of the machine is in it.
    fs::remove_file(state).unwrap();
    let [first, second] = answers;
    assert_eq!(first[..RANDOM.start], second[..RANDOM.start]);
    assert_ne!(first[RANDOM], second[RANDOM], "random");
    let share = first.len() - SHARE..;
    assert_ne!(first[share.clone()], second[share], "key share");
}

/// Where the random is in a ServerHello's record (RFC 8446 §4.1.3), and bytes of
/// an X25519 key share, which is its last extension here.
const RANDOM: Range<usize> = 11..43;
const SHARE: usize = 32;

fn client_hello(site: &Site) -> Vec<u8> {
    let config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(site.material.roots())
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// The record of the ServerHello that answers `hello`.
fn answer(address: SocketAddr, hello: &[u8]) -> Vec<u8> {
    let mut stream = tcp(address).unwrap();
    stream.write_all(hello).unwrap();
    let mut record = vec![0; 5];
    stream.read_exact(&mut record).unwrap();
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    record.resize(5 + length, 0);
    stream.read_exact(&mut record[5..]).unwrap();
    assert_eq!((record[0], record[5]), (22, 2), "a ServerHello");
    record
}
