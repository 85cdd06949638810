//! QEMU's control socket, against a real QEMU that was never let run.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up fails")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use image::workspace;
use qemu::qmp::Qmp;
use serde_json::json;

/// Ends its process when a test is over, also when the test failed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn qemu(socket: &Path) -> Running {
    let _ = fs::remove_file(socket);
    let child = Command::new(qemu::program())
        .args([
            "-machine",
            qemu::MACHINE_TYPE,
            "-accel",
            "tcg",
            "-m",
            "16M",
            "-S",
        ])
        .args([
            "-nodefaults",
            "-display",
            "none",
            "-monitor",
            "none",
            "-qmp",
        ])
        .arg(format!("unix:{},server=on,wait=off", socket.display()))
        .stdin(Stdio::null())
        .spawn();
    Running(child.unwrap())
}

#[test]
fn memory_is_dumped_and_the_machine_ended() {
    let folder = workspace::scratch("").unwrap();
    let mut running = qemu(&folder.join("control"));
    let mut qmp = Qmp::connect(&folder.join("control")).unwrap();
    assert_eq!(qmp.status().unwrap(), "prelaunch");
    let (flat, core) = (folder.join("flat"), folder.join("core"));
    qmp.dump_physical(1 << 20, &flat).unwrap();
    assert_eq!(fs::metadata(&flat).unwrap().len(), 1 << 20);
    qmp.dump_core(&core).unwrap();
    assert!(fs::read(&core).unwrap().starts_with(b"\x7fELF"));
    let refused = qmp.execute("no-such-command", json!({})).unwrap_err();
    assert!(refused.to_string().contains("CommandNotFound"), "{refused}");
    qmp.quit().unwrap();
    assert!(running.0.wait().unwrap().success());
}

#[test]
fn events_between_a_command_and_its_answer_are_passed_over() {
    let socket = workspace::scratch("").unwrap().join("events");
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        writeln!(stream, r#"{{"QMP": {{}}}}"#).unwrap();
        lines.next().unwrap().unwrap();
        writeln!(stream, r#"{{"return": {{}}}}"#).unwrap();
        lines.next().unwrap().unwrap();
        writeln!(stream, r#"{{"event": "RESUME"}}"#).unwrap();
        writeln!(stream, r#"{{"return": {{"status": "running"}}}}"#).unwrap();
    });
    let mut qmp = Qmp::connect(&socket).unwrap();
    assert_eq!(qmp.status().unwrap(), "running");
    server.join().unwrap();
    // The server is gone: an error, not a wait.
    assert!(qmp.status().is_err());
}

#[test]
fn a_path_too_long_for_a_socket_is_refused() {
    let long = "x".repeat(120);
    let error = Qmp::connect(Path::new(&long)).unwrap_err().to_string();
    assert!(error.contains("107 bytes"), "{error}");
}
