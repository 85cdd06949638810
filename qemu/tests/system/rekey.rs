//! New keys before the limit of the AEAD (RFC 8446 §5.5), with OpenSSL at the other
//! end: in an image whose keys seal as few records as a description may say.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::process::{Command, Stdio};

use image::description::LEAST_RECORDS;
use ipc::stats;

use crate::harness::backend::{Pattern, sha256};
use crate::harness::client::tcp;
use crate::harness::program::run;
use crate::harness::site::{Prepared, Site, port, sending_port};
use crate::harness::system;

/// More than a record's plaintext (RFC 8446 §5.1) times the records of four keys.
const BYTES: u64 = (LEAST_RECORDS << 14) * 5;

#[test]
fn r33_keys_are_changed_before_their_limit_and_no_byte_is_lost() {
    let prepared = Prepared::build_rekeying("rekey", LEAST_RECORDS).unwrap();
    let site = prepared.boot().unwrap();
    for port in [port::BULK, port::directed(port::BULK)] {
        to_a_client(&site, port);
    }
    let sent = sending_port(0, true, false);
    for port in [sent, port::directed(sent)] {
        to_a_server(&site, port);
    }
    site.assert_unharmed();
}

/// The gateway sends as server.
fn to_a_client(site: &Site, port: u16) {
    let before = site.counters().unwrap().of(stats::record::REKEYS);
    let (received, messages) = (site.folder.join("received"), site.folder.join("messages"));
    download(site, port, &received, &messages);
    let received = sha256(&mut fs::File::open(received).unwrap()).unwrap();
    assert_eq!(received, sha256(&mut Pattern::new(BYTES)).unwrap());
    let messages = fs::read_to_string(messages).unwrap();
    let told = messages.lines().filter(|line| line.contains("KeyUpdate"));
    let told = told.filter(|line| line.starts_with("<<<")).count() as u64;
    assert!(told >= 4, "{told} KeyUpdates at {port}");
    let after = site.counters().unwrap().of(stats::record::REKEYS);
    assert_eq!(after - before, told, "{port}");
}

/// Has OpenSSL write what it gets to a file, and the TLS messages it gets to another.
fn download(site: &Site, port: u16, received: &Path, messages: &Path) {
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec openssl s_client \"$@\" >\"$RECEIVED\"", "sh"])
        .env("RECEIVED", received)
        .args(["-connect", &site.address(port).to_string(), "-tls1_3"])
        .args(["-servername", "localhost", "-verify_return_error"])
        .args(["-ciphersuites", "TLS_AES_128_GCM_SHA256", "-quiet"])
        .arg("-CAfile")
        .arg(site.material.authority())
        .arg("-msg")
        .arg("-msgfile")
        .arg(messages)
        .stderr(Stdio::null());
    let ended = run(command, &format!("down {BYTES}\n"));
    ended.expect(&[]);
}

/// What a person would type, with the time that OpenSSL takes to read each line.
const TYPED: &str = "\
{ echo first; sleep 1; echo K; sleep 1; echo last; sleep 1; echo Q; } |
exec openssl s_client \"$@\"";

#[test]
fn r33_a_peer_that_asks_for_new_keys_gets_them() {
    let site = system();
    for port in [port::ECHO, port::directed(port::ECHO)] {
        let mut command = Command::new("sh");
        command
            .args(["-c", TYPED, "sh", "-tls1_3", "-msg", "-connect"])
            .arg(site.address(port).to_string())
            .args(["-servername", "localhost", "-CAfile"])
            .arg(site.material.authority());
        let ended = run(command, "");
        ended.expect(&["KEYUPDATE", "\nfirst\n", "\nlast\n"]);
        let updates = |way: &str| {
            let told = ended.said.lines().filter(|line| line.starts_with(way));
            told.filter(|line| line.contains("KeyUpdate")).count()
        };
        assert_eq!((updates(">>>"), updates("<<<")), (1, 1), "{}", ended.said);
    }
}

/// The gateway sends as client.
fn to_a_server(site: &Site, port: u16) {
    let before = site.counters().unwrap().of(stats::record::REKEYS);
    let mut stream = tcp(site.address(port)).unwrap();
    // Lines that `s_server -www` ignores.
    let line = [&[b'x'; 79][..], b"\n"].concat();
    let lines = line.repeat(BYTES as usize / line.len());
    stream.write_all(&lines).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("200 ok"), "{port}: {answer}");
    assert!(answer.contains("TLSv1.3"), "{port}: {answer}");
    let after = site.counters().unwrap().of(stats::record::REKEYS);
    assert!(after - before >= 4, "{} at {port}", after - before);
}
