//! Key rings that come sealed, and that are replaced while the system runs (C6).

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use gateway_config::{Kek, update};
use rcgen::{KeyPair, PKCS_ED25519};
use rustls_pki_types::PrivateKeyDer;
use time::OffsetDateTime;

use crate::harness::breaker::{Breakage, Breaker};
use crate::harness::client::Wish;
use crate::harness::program::openssl;
use crate::harness::site::{Prepared, Seal, Site, port};
use crate::harness::system;
use crate::resumption::session;

const PATIENCE: Duration = Duration::from_secs(60);
const PASSPHRASE: &str = "a passphrase of the tests";

pub(crate) fn signer() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).unwrap()
}

pub(crate) fn seal(signer: &KeyPair) -> Seal {
    Seal {
        kek: Kek::from_passphrase(PASSPHRASE).unwrap(),
        signer: signer.public_key_raw().try_into().unwrap(),
    }
}

/// A part of a private key that is nowhere else: the scalar of a key on P-256
/// after the algorithm's names (RFC 5958, RFC 5915).
fn scalar(key: &PrivateKeyDer<'_>) -> Vec<u8> {
    let der = key.secret_der();
    assert_eq!(der[34..36], [4, 32]);
    der[36..68].to_vec()
}

fn holds(file: &Path, part: &[u8]) -> bool {
    let bytes = fs::read(file).unwrap();
    bytes.windows(part.len()).any(|window| window == part)
}

/// An update that gives the ring `p256` the chain and key of another.
fn update_to(site: &Site, label: &str, version: u64, signer: &KeyPair, kek: &Kek) -> Vec<u8> {
    let file = site.folder.join(format!("material/update-{label}.toml"));
    let text = format!(
        "[[keyring]]\nlabel = \"p256\"\nchain = \"{label}-chain.pem\"\nkey = \"{label}-key.pem\"\n\
         [[listener]]\nname = \"one\"\nlisten = 443\n\
         tls = {{ role = \"server\", keyring = \"p256\" }}\nbackend = {{ status = true }}\n"
    );
    fs::write(&file, text).unwrap();
    let config = gateway_config::load(&file, OffsetDateTime::now_utc()).unwrap();
    let signer = signer.serialize_pem();
    update(&config.keyrings, version, signer.as_bytes(), Some(kek)).unwrap()
}

/// What the key store answers to an update.
pub(crate) fn tell(site: &Site, update: &[u8]) -> String {
    let mut line = UnixStream::connect(site.line()).unwrap();
    line.set_read_timeout(Some(PATIENCE)).unwrap();
    line.write_all(update).unwrap();
    let mut answer = String::new();
    BufReader::new(line).read_line(&mut answer).unwrap();
    answer
}

/// The subject of the certificate that OpenSSL is shown.
fn subject(site: &Site, version: &str) -> String {
    let ended = openssl(site.address(port::HTTP), &site.material, &[version]);
    ended.expect(&["Verification: OK"]);
    let mut lines = ended.said.lines();
    let subject = lines.find_map(|line| line.strip_prefix("subject="));
    subject.unwrap().replace(' ', "")
}

#[test]
fn c06_sealed_key_rings_open_with_their_key_and_are_replaced_by_newer_ones() {
    let signer = signer();
    let prepared = Prepared::build_sealed("sealed", seal(&signer)).unwrap();
    let key = fs::read(prepared.machine.key.as_ref().unwrap()).unwrap();
    let kek = Kek::from_bytes(&key).unwrap();
    let image = prepared.folder.join("image");
    let site = prepared.boot().unwrap();

    // No private key outside the seal; an image without one has it.
    let own = scalar(&site.material.key("p256"));
    for file in ["root.elf", "handoff.iso", "manifest.json"] {
        assert!(!holds(&image.join(file), &own), "{file}");
    }
    let open = system();
    let own = scalar(&open.material.key("p256"));
    assert!(holds(&open.folder.join("image/root.elf"), &own));
    // Where the search below finds nothing.
    assert_ne!(open.memory().places_of(&own), [""; 0]);

    assert_eq!(subject(&site, "-tls1_3"), "CN=p256");
    let mut before = Wish::tls13(&site.material)
        .connect(site.address(port::ECHO))
        .unwrap();
    assert_eq!(before.echo(b"before").unwrap(), b"before");

    // Sessions that could be resumed.
    let ports = [port::HTTP, port::directed(port::HTTP)];
    let files = ports.map(|port| site.folder.join(format!("session-{port}.pem")));
    let files = files.each_ref().map(|file| file.to_str().unwrap());
    for (port, file) in ports.into_iter().zip(files) {
        let resumed = ["take", "use", "take"].map(|step| match step {
            "take" => session(&site, port, &["-tls1_3", "-sess_out", file]),
            _ => session(&site, port, &["-tls1_3", "-sess_in", file]),
        });
        assert_eq!(resumed, ["New", "Reused", "New"]);
    }

    let newer = update_to(&site, "p384", 7, &signer, &kek);
    let mut altered = newer.clone();
    *altered.last_mut().unwrap() ^= 1;
    let answer = tell(&site, &altered);
    assert_eq!(
        answer,
        "refused: not signed by the image's signer, or altered\n"
    );
    assert_eq!(subject(&site, "-tls1_3"), "CN=p256");

    assert_eq!(tell(&site, &newer), "accepted: version 7\n");
    for version in ["-tls1_3", "-tls1_2"] {
        assert_eq!(subject(&site, version), "CN=p384");
    }
    assert_eq!(before.echo(b"after").unwrap(), b"after");
    // Their peers were judged by the rings of before.
    for (port, file) in ports.into_iter().zip(files) {
        let resumed = session(&site, port, &["-tls1_3", "-sess_in", file]);
        assert_eq!(resumed, "New");
    }

    let older = update_to(&site, "ed25519", 6, &signer, &kek);
    let answer = tell(&site, &older);
    assert_eq!(
        answer,
        "refused: not newer than version 7, the last that was taken\n"
    );
    assert_eq!(subject(&site, "-tls1_3"), "CN=p384");
    let log = site.said_since(qemu::log::Cursor::default()).join("\n");
    assert!(log.contains("key rings: accepted: version 7"), "{log}");
    assert!(log.contains("key rings: refused: not newer than version 7"));

    // The key that opens them was used twice, and is nowhere; nor is what it opened
    // there as it was written: `ring` keeps numbers in another form.
    let memory = site.memory();
    assert_eq!(memory.places_of(&key), [""; 0]);
    for label in ["p256", "alpha"] {
        let own = scalar(&site.material.key(label));
        let reversed: Vec<u8> = own.iter().rev().copied().collect();
        for part in [own, reversed] {
            assert_eq!(memory.places_of(&part), [""; 0], "{label}");
        }
    }

    // A new key is where keys may be.
    let newest = update_to(&site, "ed25519", 8, &signer, &kek);
    assert_eq!(tell(&site, &newest), "accepted: version 8\n");
    assert_eq!(subject(&site, "-tls1_3"), "CN=ed25519");
}

#[test]
fn c06_sealed_key_rings_without_their_key_stop_the_start() {
    let prepared = Prepared::build_sealed("sealed-shut", seal(&signer())).unwrap();
    let other = prepared.folder.join("other-key");
    fs::write(&other, [7; 32]).unwrap();
    for (key, reason) in [
        (
            None,
            "no key was given; start QEMU with -fw_cfg name=opt/handoff/kek,file=FILE",
        ),
        (Some(other), "sealed under another key"),
    ] {
        let mut machine = prepared.machine.clone();
        machine.key = key;
        let mut guest = machine.start(PATIENCE).unwrap();
        let said = guest.wait_line(PATIENCE, |line| line.contains("key rings: "));
        let said = said.unwrap();
        let expected = format!("key rings: they are sealed: {reason}; the system does not start");
        assert!(said.ends_with(&expected), "{said}");
        let told = guest.wait_line(PATIENCE, |line| line == "offload-server: no key rings");
        assert!(told.is_ok(), "{}", guest.log().tail(30));
        // Long enough for a start that goes on, and for a watchdog that finds a call
        // without an answer.
        let went_on = guest.wait_line(Duration::from_secs(5), |line| {
            line.contains("listening") || line.contains("fault: ")
        });
        assert!(went_on.is_err(), "{went_on:?}");
        guest.stop();
    }
}

#[test]
fn c05_a_key_store_that_restarts_unseals_again_and_takes_no_older_update() {
    let signer = signer();
    let prepared = Prepared::build_sealed("sealed-again", seal(&signer)).unwrap();
    let key = fs::read(prepared.machine.key.as_ref().unwrap()).unwrap();
    let kek = Kek::from_bytes(&key).unwrap();
    let site = prepared.boot().unwrap();
    let newer = update_to(&site, "p384", 7, &signer, &kek);
    assert_eq!(tell(&site, &newer), "accepted: version 7\n");
    assert_eq!(subject(&site, "-tls1_3"), "CN=p384");
    let mut session = Wish::tls13(&site.material)
        .connect(site.address(port::ECHO))
        .unwrap();
    session.echo(b"before").unwrap();

    let breaker = Breaker::of(&site, "keystore-server").unwrap();
    let (over, address) = (AtomicBool::new(false), site.address(port::HTTP));
    thread::scope(|scope| {
        // It faults at its next system call, so it has to be called.
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let _ = Wish::any(&site.material).connect(address);
                thread::sleep(Duration::from_millis(40));
            }
        });
        let ended = breaker.end(Breakage::Fault);
        over.store(true, Ordering::Relaxed);
        ended.unwrap();
    });
    // The image's rings, opened with the key from a second read.
    assert_eq!(subject(&site, "-tls1_3"), "CN=p256");
    assert_eq!(session.echo(b"after").unwrap(), b"after");
    assert_eq!(site.memory().places_of(&key), [""; 0]);
    let older = update_to(&site, "ed25519", 6, &signer, &kek);
    let answer = tell(&site, &older);
    assert_eq!(
        answer,
        "refused: not newer than version 7, the last that was taken\n"
    );
    assert_eq!(tell(&site, &newer), "accepted: version 7\n");
    assert_eq!(subject(&site, "-tls1_3"), "CN=p384");
}
