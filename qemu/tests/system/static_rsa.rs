//! Static RSA on the booted image, in both roles (R18 to R21).

use std::fs;
use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};

use crate::harness::backend::PAGE;
use crate::harness::client::tcp;
use crate::harness::evidence::sha256_hex;
use crate::harness::program::{gnutls, gnutls_with, openssl};
use crate::harness::site::Site;
use crate::harness::site::port::{self, directed};
use crate::harness::{PATIENCE, alone, system};
use crate::upstream::ask;

/// Bytes of the modulus.
const LENGTH: usize = 256;

#[test]
fn r20_openssl_and_gnutls_encrypt_for_the_key_store() {
    let site = system();
    for (cipher, suite) in [
        ("AES128-GCM-SHA256", "TLS_RSA_WITH_AES_128_GCM_SHA256"),
        ("AES256-GCM-SHA384", "TLS_RSA_WITH_AES_256_GCM_SHA384"),
    ] {
        let start = site.mark();
        let options = ["-tls1_2", "-cipher", &format!("{cipher}:@SECLEVEL=0")];
        let ended = openssl(site.address(port::STATIC_RSA[0]), &site.material, &options);
        ended.expect(&[
            &format!("Cipher is {cipher}"),
            "Extended master secret: yes",
            "Verify return code: 0 (ok)",
            PAGE,
        ]);
        let made = site.handshake_at(start, port::STATIC_RSA[0]).unwrap();
        assert_eq!(made.agreed()[..3], ["TLSv1.2", suite, "directed"]);
        assert!(!made.rest.contains(" group="), "{made:?}");
    }
    for aead in ["AES-128-GCM", "AES-256-GCM"] {
        let priority = format!("NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA:-CIPHER-ALL:+{aead}");
        let ended = gnutls(site.address(port::STATIC_RSA[0]), &site.material, &priority);
        ended.expect(&[&format!("(RSA)-({aead})"), PAGE]);
    }
}

#[test]
fn r20_r25_a_client_with_a_certificate_signs_after_an_encrypted_secret() {
    let site = system();
    let chain = site.material.chain_file("client");
    let key = site.material.key_file("client");
    let (chain, key) = (chain.to_str().unwrap(), key.to_str().unwrap());
    let fingerprint = sha256_hex(&site.material.chain("client")[0]);
    let start = site.mark();
    let mut options = vec!["-tls1_2", "-cipher", "AES128-GCM-SHA256:@SECLEVEL=0"];
    options.extend(["-cert", chain, "-key", key]);
    let ended = openssl(site.address(port::STATIC_RSA[1]), &site.material, &options);
    ended.expect(&[PAGE]);
    let priority = "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA";
    let options = ["--x509certfile", chain, "--x509keyfile", key];
    let address = site.address(port::STATIC_RSA[1]);
    gnutls_with(address, &site.material, priority, &options).expect(&["(RSA)", PAGE]);
    let made = site.handshakes_at(start, port::STATIC_RSA[1]);
    assert_eq!(made.len(), 2);
    for made in made {
        assert_eq!(made.value("peer"), fingerprint);
    }
}

#[test]
fn r20_it_is_off_where_nobody_allowed_it_and_last_where_somebody_did() {
    let site = system();
    let options = ["-tls1_2", "-cipher", "AES128-GCM-SHA256:@SECLEVEL=0"];
    for port in [port::RSA, directed(port::RSA)] {
        let ended = openssl(site.address(port), &site.material, &options);
        assert!(!ended.success, "{}", ended.said);
        assert!(ended.said.contains("handshake failure"), "{}", ended.said);
    }
    let options = ["-tls1_2", "-cipher", "AES128-GCM-SHA256:ECDHE:@SECLEVEL=0"];
    let ended = openssl(site.address(port::STATIC_RSA[2]), &site.material, &options);
    ended.expect(&["Cipher is ECDHE-RSA-", PAGE]);
}

#[test]
fn r18_r22_the_gateway_encrypts_for_openssl_and_gnutls() {
    let site = system();
    let fingerprint = sha256_hex(&site.material.chain("rsa2048")[0]);
    for port in port::STATIC_RSA_SENT {
        let start = site.mark();
        let answer = ask(&site, port);
        assert!(answer.starts_with("HTTP/1.0 200"), "{port}: {answer}");
        let made = site.handshake_at(start, port).unwrap();
        let suite = "TLS_RSA_WITH_AES_128_GCM_SHA256";
        assert_eq!(made.agreed()[..3], ["TLSv1.2", suite, "directed"]);
        // Proved by the Finished of a peer that could decrypt.
        assert_eq!(made.value("peer"), fingerprint);
    }
}

#[test]
fn r20_r23_secrets_are_nowhere_when_the_session_is_over() {
    let site = alone();
    let file = site.folder.join("keylog");
    let _ = fs::remove_file(&file);
    let mut options = vec!["-tls1_2", "-cipher", "AES128-GCM-SHA256:@SECLEVEL=0"];
    options.extend(["-keylogfile", file.to_str().unwrap()]);
    let ended = openssl(site.address(port::STATIC_RSA[0]), &site.material, &options);
    ended.expect(&[PAGE]);
    // The gateway as client, too; what it encrypted is never reported.
    ask(&site, port::STATIC_RSA_SENT[0]);
    let secrets = fs::read_to_string(&file).unwrap();
    let secret = |word: &str| {
        let mut lines = secrets.lines().filter(|line| line.starts_with(word));
        unhex(lines.next().unwrap().rsplit(' ').next().unwrap())
    };
    // The pre-master secret, which OpenSSL tells of RSA alone; the master secret.
    let secrets = [secret("RSA "), secret("CLIENT_RANDOM ")];
    let deadline = Instant::now() + PATIENCE;
    loop {
        let memory = site.memory();
        let mut found = Vec::new();
        for secret in &secrets {
            assert_eq!(secret.len(), 48);
            for sample in secret.chunks(16) {
                found.extend(memory.places_of(sample));
            }
        }
        if found.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{found:?}");
        thread::sleep(Duration::from_secs(1));
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

// ---- an attacker who asks what a ciphertext is worth ----

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3], &length[..], body].concat()
}

/// Textbook RSA with the key of the site's certificate.
fn encrypt(site: &Site, padded: &[u8]) -> Vec<u8> {
    let chain = site.material.chain("rsa2048");
    // RFC 8017 §A.1.1: the modulus of 2048 bits, with a zero in front.
    let mark = [0x02, 0x82, 1, 1, 0];
    let at = chain[0].windows(5).position(|w| w == mark).unwrap() + 5;
    let number = |bytes| BoxedUint::from_be_slice(bytes, 2048).unwrap();
    let modulus = Odd::new(number(&chain[0][at..][..LENGTH])).unwrap();
    let form = BoxedMontyForm::new(number(padded), &BoxedMontyParams::new(modulus));
    let power = form.pow(&BoxedUint::from(65537u64));
    power.retrieve().to_be_bytes().to_vec()
}

/// What the server says to a ciphertext and an undecipherable Finished,
/// after its own flight.
fn answer(site: &Site, encrypted: &[u8]) -> Vec<u8> {
    let mut stream = tcp(site.address(port::STATIC_RSA[2])).unwrap();
    let mut hello = [&[3, 3][..], &[9; 32], &[0, 0, 2, 0, 0x9c, 1, 0]].concat();
    hello.extend([0, 4, 0, 23, 0, 0]);
    stream.write_all(&record(22, &message(1, &hello))).unwrap();
    // To ServerHelloDone.
    let mut flight = Vec::new();
    while !flight.ends_with(&[14, 0, 0, 0]) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        flight.push(byte[0]);
    }
    let length = u16::try_from(encrypted.len()).unwrap().to_be_bytes();
    // No certificate, the secret, ChangeCipherSpec, Finished.
    let mut said = record(22, &message(11, &[0, 0, 0]));
    said.extend(record(22, &message(16, &[&length, encrypted].concat())));
    said.extend(record(20, &[1]));
    said.extend(record(22, &[5; 40]));
    stream.write_all(&said).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn r21_every_ciphertext_gets_the_same_bytes_back() {
    let site = system();
    let mut good = vec![0x77; LENGTH];
    good[..2].copy_from_slice(&[0, 2]);
    good[LENGTH - 49..][..3].copy_from_slice(&[0, 3, 3]);
    let changed = |place: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[place] = to;
        bytes
    };
    for (what, padded) in [
        ("good", good.clone()),
        ("another version", changed(LENGTH - 47, 1)),
        ("first byte", changed(0, 1)),
        ("block type", changed(1, 1)),
        ("zero at once", changed(2, 0)),
        ("zero early", changed(100, 0)),
        ("no zero", changed(LENGTH - 49, 1)),
        ("nothing", vec![0; LENGTH]),
    ] {
        // Fatal, bad_record_mac.
        let expected = [21, 3, 3, 0, 2, 2, 20];
        assert_eq!(answer(&site, &encrypt(&site, &padded)), expected, "{what}");
    }
    for bytes in [&[1][..], &[0xff; LENGTH], &[7; LENGTH - 1], &[7; 512]] {
        assert_eq!(
            answer(&site, bytes),
            [21, 3, 3, 0, 2, 2, 20],
            "{}",
            bytes.len()
        );
    }
}
