//! Random numbers: no system without a sound source.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use qemu::log::Cursor;
use qemu::{Entropy, Guest};
use rustls::{ClientConfig, ClientConnection};

use crate::harness::client::tcp;
use crate::harness::shipped;
use crate::harness::site::{Prepared, Site, port};
use crate::resumption::{session, session_at};

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
    let log = qemu::log::read(guest.log_file()).unwrap();
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
fn c06_a_source_of_entropy_that_fails_stops_the_boot() {
    let sound = Prepared::build("entropy", false).unwrap().machine;
    for (entropy, told) in [
        (
            Entropy::File("/dev/zero".into()),
            "init: no random numbers: virtio-rng fails its health tests",
        ),
        (
            Entropy::Nobody,
            "init: no random numbers: virtio-rng does not answer",
        ),
    ] {
        let mut machine = sound.clone();
        machine.entropy = entropy;
        let mut guest = machine.start(PATIENCE).unwrap();
        guest.wait_line(PATIENCE, |line| line == told).unwrap();
        let went_on = guest.wait_line(Duration::from_secs(5), |line| line.contains(" domains, "));
        assert!(went_on.is_err(), "{told}");
        guest.stop();
    }

    // A machine without one has the processor.
    let mut machine = sound;
    machine.entropy = Entropy::Absent;
    let guest = machine.boot(PATIENCE).unwrap();
    let said = guest.log().since(Cursor::default());
    let absent = "init: random numbers: no virtio-rng";
    assert!(said.iter().any(|line| line == absent), "{said:#?}");
}

#[test]
fn c06_the_source_of_entropy_counts_and_leaves_nothing_behind() {
    // The processor's random numbers are the same in each of these boots.
    let samples = [1, 2].map(noise);
    let randoms = [0, 0, 1].map(|which: usize| {
        let mut prepared = Prepared::build("mixed", false).unwrap();
        let file = prepared.folder.join("noise");
        fs::write(&file, &samples[which]).unwrap();
        prepared.machine.entropy = Entropy::File(file);
        prepared.machine.counted = true;
        let site = prepared.boot().unwrap();
        let said = site.guest.log().since(Cursor::default());
        let told = "init: random numbers: 1024 bytes of virtio-rng, sound";
        assert!(said.iter().any(|line| line == told), "{said:#?}");
        let random = answer(site.address(port::ECHO), &client_hello(&site))[RANDOM].to_vec();
        let memory = site.memory();
        for sample in samples[which].chunks_exact(16).take(64).step_by(8) {
            assert_eq!(memory.places_of(sample), Vec::<String>::new());
        }
        random
    });
    assert_eq!(randoms[0], randoms[1], "the same bytes");
    assert_ne!(randoms[0], randoms[2], "other bytes");
}

/// Bytes that look like noise, the same for the same seed (SplitMix64).
fn noise(seed: u64) -> Vec<u8> {
    let words = (1..=1024_u64).map(|index| {
        let mut word = seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    });
    words.flat_map(u64::to_le_bytes).collect()
}

/// Generations of a machine.
const ONE: &str = "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87";
const OTHER: &str = "d8b2fb3c-2a4e-4a44-9c6f-1f7d8b0c5a11";

#[test]
fn c06_a_state_that_is_resumed_twice_does_not_give_the_same_random_numbers_twice() {
    let mut prepared = Prepared::build("resumed", false).unwrap();
    prepared.machine.generation = Some(ONE.into());
    let state = prepared.folder.join("state");
    let mut machine = prepared.machine.clone();
    let site = prepared.boot().unwrap();
    // The system has drawn already, and so has this client.
    let hello = client_hello(&site);
    answer(site.address(port::ECHO), &hello);
    let [ticket, other] = ["ticket", "other"].map(|name| take_ticket(&site, name));
    let Site {
        guest, material, ..
    } = site;
    guest.save(&state).unwrap();
    guest.stop();
    let offer = |guest: &Guest, ticket: &Path| {
        let address = guest.address(port::HTTP).unwrap();
        let offer = ["-tls1_3", "-sess_in", ticket.to_str().unwrap()];
        session_at(address, &material, &offer)
    };

    machine.resumes = Some(state.clone());
    let answers = [(); 2].map(|()| {
        let guest = machine.resume(PATIENCE).unwrap();
        answer(guest.address(port::ECHO).unwrap(), &hello)
    });
    let [first, second] = answers;
    assert_eq!(first[..RANDOM.start], second[..RANDOM.start]);
    assert_ne!(first[RANDOM], second[RANDOM], "random");
    let share = first.len() - VERSION - SHARE..first.len() - VERSION;
    assert_ne!(first[share.clone()], second[share], "key share");

    // Values drawn before are repeated, and stay in use, if the machine's generation is
    // unchanged.
    let guest = machine.resume(PATIENCE).unwrap();
    assert_eq!(offer(&guest, &ticket), "Reused");
    let is_told = |line: &str| line.ends_with(OTHER_MACHINE);
    assert!(
        !guest
            .log()
            .since(Cursor::default())
            .iter()
            .any(|l| is_told(l))
    );
    guest.stop();

    // If the generation changed, everything is redrawn.
    machine.generation = Some(OTHER.into());
    let mut guest = machine.resume(PATIENCE).unwrap();
    // Every secret of the machine is in it.
    fs::remove_file(state).unwrap();
    guest.wait_line(PATIENCE, is_told).unwrap();
    for name in shipped::domains() {
        let starts = format!("init: {name} is restarted");
        guest.wait_line(PATIENCE, |line| line == starts).unwrap();
    }
    guest.wait_ready(PATIENCE).unwrap();
    assert_eq!(offer(&guest, &other), "New");
    // Once, and no end of a domain.
    let said = guest.log().since(Cursor::default());
    assert_eq!(said.iter().filter(|line| is_told(line)).count(), 1);
    assert!(
        !said.iter().any(|line| qemu::log::is_fault(line)),
        "{said:#?}"
    );
}

/// The end of what the monitor says of a machine that is another one.
const OTHER_MACHINE: &str = "goes on from a snapshot: every domain is restarted";

/// A ticket of this system, in a file.
fn take_ticket(site: &Site, name: &str) -> PathBuf {
    let file = site.folder.join(name);
    let take = ["-tls1_3", "-sess_out", file.to_str().unwrap()];
    assert_eq!(session(site, port::HTTP, &take), "New");
    file
}

/// Where the random is in a ServerHello's record (RFC 8446 §4.1.3), and bytes of
/// an X25519 key share, which is before supported_versions.
const RANDOM: Range<usize> = 11..43;
const SHARE: usize = 32;
const VERSION: usize = 6;

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
