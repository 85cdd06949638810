//! The runner against stand-ins for QEMU, so that each failure is seen to fail.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use image::workspace;
use qemu::log::{Cursor, Next};
use qemu::{Boot, Forward, Machine, Network};

const PATIENCE: Duration = Duration::from_secs(20);

/// A machine whose QEMU is a shell script.
fn machine(name: &str, script: &str) -> Machine {
    let folder = workspace::scratch(name).unwrap();
    let program = folder.join("pretended-qemu");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let boot = Boot::Files {
        kernel: "kernel.elf".into(),
        root: "root.elf".into(),
    };
    let mut machine = Machine::new(boot, &folder);
    machine.program = program;
    machine
}

fn runs(id: u32) -> bool {
    let stat = fs::read_to_string(PathBuf::from(format!("/proc/{id}/stat")));
    // A process that exited and was not waited for is in state Z.
    stat.is_ok_and(|stat| !stat.contains(") Z"))
}

#[test]
fn a_ready_line_ends_the_wait() {
    let script = "echo 'init: 6 domains'; echo 'gateway: ready 443'; exec sleep 60";
    let guest = machine("ready", script).boot(PATIENCE).unwrap();
    assert_eq!(guest.log().tail(9), "init: 6 domains\ngateway: ready 443");
    let kept = fs::read_to_string(guest.log_file()).unwrap();
    assert_eq!(kept, "init: 6 domains\ngateway: ready 443\n");
}

#[test]
fn a_silent_guest_is_an_error_that_says_so() {
    let started = Instant::now();
    let machine = machine("silent", "exec sleep 60");
    let error = machine.boot(Duration::from_millis(300)).unwrap_err();
    assert!(started.elapsed() < PATIENCE);
    let text = error.to_string();
    assert!(text.contains("not ready"), "{text}");
    assert!(text.contains("the guest printed nothing"), "{text}");
}

#[test]
fn a_guest_that_never_gets_ready_is_an_error_with_the_end_of_its_log() {
    let script = "for i in $(seq 1 50); do echo \"line $i\"; done; exec sleep 60";
    let machine = machine("busy", script);
    let error = machine.boot(Duration::from_millis(600)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("line 50"), "{text}");
    assert!(text.contains("line 21\n"), "{text}");
    assert!(!text.contains("line 20\n"), "{text}");
}

#[test]
fn an_early_exit_is_an_error_with_what_was_said() {
    let script = "echo 'init: starting'; echo 'no such device' >&2; exit 3";
    let started = Instant::now();
    let error = machine("exit", script).boot(PATIENCE).unwrap_err();
    assert!(started.elapsed() < PATIENCE);
    let text = error.to_string();
    for part in ["exit status: 3", "no such device", "init: starting"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let mut machine = machine("absent", "");
    machine.program = "/nowhere/qemu".into();
    let text = format!("{:#}", machine.boot(PATIENCE).unwrap_err());
    assert!(text.contains("/nowhere/qemu"), "{text}");
}

#[test]
fn a_stopped_domain_ends_the_wait_early() {
    let script = "echo 'fault: gateway: page fault'; exec sleep 60";
    let started = Instant::now();
    let error = machine("fault", script).boot(PATIENCE).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(15));
    let text = error.to_string();
    assert!(text.contains("not ready: fault: gateway"), "{text}");
}

#[test]
fn a_root_task_that_gives_up_ends_the_wait_at_once_with_its_reason() {
    for (name, line, reason) in [
        (
            "gives-up",
            "init: no system: there is no NIC",
            "there is no NIC",
        ),
        (
            "panics",
            "init: 7 domains",
            "panic at init/main.rs:9: no plan",
        ),
    ] {
        let script =
            format!("echo '{line}'; echo 'panic at init/main.rs:9: no plan'; exec sleep 60");
        let started = Instant::now();
        let error = machine(name, &script).boot(PATIENCE).unwrap_err();
        assert!(started.elapsed() < PATIENCE / 2);
        let text = error.to_string();
        let expected = format!("the guest stopped: {reason}\n");
        assert!(text.starts_with(&expected), "{text}");
    }
}

#[test]
fn a_kernel_that_halts_ends_the_wait_although_its_line_has_no_end() {
    let script = "printf 'fsgsbase instructions not supported by the processor'; exec sleep 60";
    let started = Instant::now();
    let error = machine("halts", script).boot(PATIENCE).unwrap_err();
    assert!(started.elapsed() < PATIENCE / 2);
    let text = error.to_string();
    let expected = "the guest stopped: fsgsbase instructions not supported by the processor\n";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn a_guest_that_is_dropped_does_not_run_on() {
    let script = "echo 'gateway: ready'; exec sleep 60";
    let guest = machine("dropped", script).boot(PATIENCE).unwrap();
    let id = guest.id();
    assert!(runs(id));
    drop(guest);
    assert!(!runs(id));
}

#[test]
fn a_taken_port_that_was_named_is_an_error_that_says_so() {
    let script = "echo \"Could not set up host forwarding rule 'tcp'\" >&2; exit 1";
    let mut machine = machine("taken", script);
    machine.network = Network::User(vec![Forward {
        host: 8443,
        guest: 443,
    }]);
    let text = format!("{:#}", machine.boot(PATIENCE).unwrap_err());
    assert!(text.contains("in use"), "{text}");
}

#[test]
fn a_taken_port_that_was_picked_is_picked_again() {
    let script = "count=$(cat \"$(dirname \"$0\")/count\" 2>/dev/null || echo 0)\n\
        echo $((count + 1)) >\"$(dirname \"$0\")/count\"\n\
        if [ \"$count\" -lt 2 ]; then\n\
        echo \"Could not set up host forwarding rule 'tcp'\" >&2; exit 1; fi\n\
        echo 'gateway: ready'; exec sleep 60";
    let mut machine = machine("picked", script);
    let _ = fs::remove_file(machine.program.with_file_name("count"));
    machine.network = Network::User(vec![Forward {
        host: 0,
        guest: 443,
    }]);
    let guest = machine.boot(PATIENCE).unwrap();
    assert_ne!(guest.address(443).unwrap().port(), 0);
    assert_eq!(guest.address(444), None);
}

#[test]
fn lines_after_the_ready_line_are_found() {
    let script = "echo 'gateway: ready'; sleep 0.2; echo 'gateway: handshake a'; exec sleep 60";
    let mut guest = machine("later", script).boot(PATIENCE).unwrap();
    let line = guest.wait_line(PATIENCE, |line| qemu::log::handshake(line).is_some());
    assert_eq!(line.unwrap(), "gateway: handshake a");
    let mut cursor = guest.log().end();
    let next = guest.log().next(&mut cursor, Instant::now());
    assert_eq!(next, Next::Silence);
    assert_eq!(guest.log().since(Cursor::default()).len(), 2);
}
