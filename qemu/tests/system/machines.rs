//! Machines that the system can't run on: each is told with one sentence, at once, and
//! nothing is started.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use image::workspace;
use qemu::log::without_time;
use qemu::{Boot, Machine, Nic};

use crate::harness::bulk::arrives_unchanged_each_way;
use crate::harness::site::Prepared;

const PATIENCE: Duration = Duration::from_secs(90);

/// Boots a machine that lacks something; the guest's log.
fn refused(machine: &Machine, sentence: &str) {
    let started = Instant::now();
    let error = machine.boot(PATIENCE).unwrap_err().to_string();
    let first = error.lines().next().unwrap_or_default();
    let expected = format!("the guest stopped: {sentence}");
    assert!(first.starts_with(&expected), "{error}");
    assert!(started.elapsed() < PATIENCE, "{error}");
    for noise in ["fault: ", "restart", "domains, "] {
        assert!(!error.contains(noise), "{error}");
    }
}

#[test]
fn what_a_machine_lacks_is_told_in_one_sentence() {
    let prepared = Prepared::build("machines", false).unwrap();
    let needed = prepared.memory_mib;
    let fit = prepared.machine;

    let mut without_timer = fit.clone();
    without_timer.timer = false;
    refused(&without_timer, "there is no HPET at 0xfed00000");

    let mut other = fit.clone();
    // QEMU has no legacy device behind an IOMMU.
    other.iommu = false;
    for (nic, sentence) in [
        (Nic::Absent, "there is no NIC on any PCI bus"),
        (Nic::E1000, "no driver for the NIC at 00:"),
        (Nic::Transitional, "the NIC at 00:"),
    ] {
        other.nic = nic;
        refused(&other, sentence);
    }

    let mut small = fit.clone();
    small.memory_mib = needed * 3 / 4;
    refused(&small, "too little memory: domains need ");

    // What is told before the boot is enough, and not much more than that.
    let mut enough = fit;
    enough.memory_mib = needed;
    let guest = enough.boot(PATIENCE).unwrap();
    let left = guest
        .log()
        .find(qemu::log::Cursor::default(), PATIENCE, |line| {
            line.starts_with("init: memory ")
        });
    let left = left.unwrap();
    let left = left
        .rsplit_once("left ")
        .unwrap()
        .1
        .trim_end_matches(" KiB");
    let left: u32 = left.parse().unwrap();
    assert!(left < 6 * 1024, "{left} KiB are left of {needed} MiB");
}

#[test]
fn a_nic_behind_bridges_is_found_confined_and_interrupts() {
    let mut prepared = Prepared::build("bridged", false).unwrap();
    prepared.machine.nic = Nic::Bridged;
    let site = prepared.boot().unwrap();
    arrives_unchanged_each_way(&site, 1 << 20);
    let start = qemu::log::Cursor::default();
    let confined = |line: &str| line.contains("the NIC reaches ");
    let line = site.guest.log().find(start, PATIENCE, confined).unwrap();
    assert!(
        line.contains("pages as declared, other devices none"),
        "{line}"
    );
    site.assert_unharmed();
}

/// Whether the gateway says so, at a moment.
fn is_ready(line: &str) -> bool {
    let said = without_time(line);
    said.len() < line.len() && qemu::log::is_ready(said)
}

/// The command of docs/machines.md, and that of the service, in words that a shell takes.
fn documented_commands() -> [String; 2] {
    let read = |file| fs::read_to_string(workspace::root().unwrap().join(file)).unwrap();
    let page = read("docs/machines.md");
    let (_, rest) = page.split_once("```sh\n").unwrap();
    let (command, _) = rest.split_once("```").unwrap();
    let unit = read("deploy/systemd/handoff.service");
    let (_, rest) = unit.split_once("\nExecStart=/usr/bin/").unwrap();
    let end = rest.find("\n#").unwrap();
    let place = "/var/lib/handoff/handoff.iso";
    assert!(rest.contains(place));
    // Its first choice may be there and fail, as where this runs in a machine itself.
    let first = "-accel kvm ";
    assert!(rest.contains(first));
    let service = rest[..end].replace(place, SHOWN).replace(first, "");
    [command.to_string(), service]
}

/// Where both have the disc.
const SHOWN: &str = "target/image/handoff.iso";

#[test]
fn the_documented_commands_boot_the_disc() {
    let prepared = Prepared::build("machines-disc", true).unwrap();
    let Boot::Disc(disc) = &prepared.machine.boot else {
        panic!("no disc");
    };
    for command in documented_commands() {
        assert!(command.contains(SHOWN) && command.contains("8443"));
        let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = free.local_addr().unwrap().port().to_string();
        drop(free);
        let command = command.replace(SHOWN, &disc.display().to_string());
        boots(&command.replace("8443", &port));
    }
}

/// Runs QEMU until the gateway says that it serves.
fn boots(command: &str) {
    let command = format!("exec {command}");
    // The page's reader has QEMU installed; here it may be unpacked in the checkout.
    let unpacked = workspace::root().unwrap().join(workspace::PROGRAMS);
    let path = format!("{}:{}", env::var("PATH").unwrap(), unpacked.display());
    let mut qemu = Command::new("sh")
        .env("PATH", path)
        .args(["-c", &command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(qemu.stdout.take().unwrap());
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let deadline = Instant::now() + 2 * PATIENCE;
    let mut log = Vec::new();
    let ready = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) if is_ready(line.trim_end()) => break true,
            Ok(line) => log.push(line),
            Err(_) => break false,
        }
    };
    qemu.kill().unwrap();
    qemu.wait().unwrap();
    assert!(ready, "{log:#?}");
}
