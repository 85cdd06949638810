//! The plugin that counts, against a machine that runs a known number of instructions.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up fails")]

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use image::workspace;
use qemu::count::{Amount, Counter};

const PATIENCE: Duration = Duration::from_secs(60);

/// A boot sector, which the firmware loads to 0x7c00.
const SECTOR: [u8; 32] = [
    0xfa, // cli
    0x66, 0xb9, 0x40, 0x42, 0x0f, 0x00, // mov ecx, 1000000
    0x66, 0x49, // dec ecx
    0x75, 0xfc, // jnz to it
    0x31, 0xc0, // xor ax, ax
    0x8e, 0xd8, // mov ds, ax
    0x8e, 0xc0, // mov es, ax
    0xbe, 0x00, 0x7c, // mov si, 0x7c00
    0xbf, 0x00, 0x80, // mov di, 0x8000
    0xb9, 0xe8, 0x03, // mov cx, 1000
    0xfc, // cld
    0xf3, 0xa4, // rep movsb
    0xf4, // hlt
    0xeb, 0xfd, // jmp to it
];
const LOOPS: u64 = 1_000_000;
const MOVED: u64 = 1000;
/// Beside the loop and the moves: what comes before each of the two, and the halt.
const OTHERS: u64 = 2 + 7 + 1;

/// Ends its process when a test is over, also when the test failed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_instruction_and_every_step_of_a_repeated_one_is_counted() {
    let folder = workspace::scratch("counter").unwrap();
    let mut disc = vec![0; 512];
    disc[..SECTOR.len()].copy_from_slice(&SECTOR);
    disc[510..].copy_from_slice(&[0x55, 0xaa]);
    let file = folder.join("sector");
    fs::write(&file, disc).unwrap();
    let counter = Counter::build(&qemu::program(), &folder).unwrap();
    let child = Command::new(qemu::program())
        .args([
            "-machine",
            "pc",
            "-accel",
            "tcg",
            "-m",
            "16M",
            "-nodefaults",
        ])
        .args(["-display", "none", "-monitor", "none"])
        .arg("-drive")
        .arg(format!("format=raw,file={}", file.display()))
        .args(counter.arguments())
        .stdin(Stdio::null())
        .spawn();
    let _running = Running(child.unwrap());
    let deadline = Instant::now() + PATIENCE;
    let sector = loop {
        thread::sleep(Duration::from_millis(200));
        assert!(Instant::now() < deadline, "the sector was not executed");
        // The socket is there when QEMU has loaded the plugin.
        let Ok(count) = counter.read() else {
            continue;
        };
        let mut pages = count.0.iter();
        let sector = pages.find(|(page, _)| page.address == 0x7000);
        let is_done = |amount: &Amount| match counter.sees_steps() {
            true => amount.moved == MOVED,
            false => amount.instructions > 2 * LOOPS + OTHERS,
        };
        if let Some((_, amount)) = sector.filter(|(_, amount)| is_done(amount)) {
            break *amount;
        }
    };
    if !counter.sees_steps() {
        return;
    }
    let expected = Amount {
        instructions: 2 * LOOPS + MOVED + 1 + OTHERS,
        moved: MOVED,
        stored: 0,
        // The last step moves nothing.
        steps: MOVED + 1,
    };
    assert_eq!(sector, expected);
}
