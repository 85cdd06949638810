//! The image boots every time, on any load of the host: the proof after boot is
//! deterministic, and the watchdog restarts no domain that only lacks processor time.

use std::env;
use std::fs;
use std::process::{Child, Command};
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use crate::harness::site::Prepared;

/// How often the image is booted; `HANDOFF_BOOTS` overrides it.
const BOOTS: u32 = 3;
/// Processes that want the host's processors all the time; `HANDOFF_BUSY` overrides it.
const BUSY: u32 = 8;
/// Generous: a busy host gives the machine a small part of its time.
const PATIENCE: Duration = Duration::from_secs(300);

/// A process that does nothing, and that all the time; ends with this value.
struct Busy(Child);

impl Busy {
    fn start() -> Self {
        let mut command = Command::new("sh");
        Self(command.args(["-c", "while :; do :; done"]).spawn().unwrap())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn from_environment<T: FromStr>(name: &str, default: T) -> T {
    let value = env::var(name).ok();
    value.and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// The image, which several tests boot at once.
fn prepared() -> &'static Prepared {
    static PREPARED: LazyLock<Prepared> =
        LazyLock::new(|| Prepared::build("boots", false).unwrap());
    &PREPARED
}

/// Boots the image again and again; what went wrong.
fn boots(name: &str, count: u32) -> Vec<String> {
    let mut machine = prepared().machine.clone();
    machine.log = prepared().folder.join(name).with_extension("log");
    (machine.qmp, machine.capture) = (None, None);
    let file = &machine.log;
    let mut bad = Vec::new();
    for number in 1..=count {
        let booted = machine.boot(PATIENCE);
        let log = qemu::log::read(file).unwrap();
        let told = |line: &str| line.starts_with("fault: ") || line.contains("is restarted");
        let complaint = match booted {
            Err(error) => Some(format!("{error:#}")),
            Ok(_) => log.lines().find(|line| told(line)).map(str::to_string),
        };
        if number.is_multiple_of(100) {
            eprintln!("{name}: {number} of {count} boots, {} bad", bad.len());
        }
        if let Some(complaint) = complaint {
            fs::copy(file, file.with_extension(number.to_string())).unwrap();
            bad.push(format!("boot {number}: {complaint}"));
        }
    }
    bad
}

/// What the root task says of the clock when the machine's says that.
fn clock(date: &str) -> Vec<String> {
    let mut machine = prepared().machine.clone();
    machine.log = prepared().folder.join(date).with_extension("log");
    (machine.qmp, machine.capture) = (None, None);
    machine.date = Some(format!("{date}T12:34:56"));
    let mut guest = machine.start(PATIENCE).unwrap();
    let built = |line: &str| line.starts_with("init: ") && line.contains(" domains, ");
    guest.wait_line(PATIENCE, built).unwrap();
    let log = fs::read_to_string(&machine.log).unwrap();
    guest.stop();
    let told = log.lines().filter(|line| line.contains("init: clock: "));
    told.map(str::to_string).collect()
}

#[test]
fn a_clock_before_the_image_is_told() {
    let told = clock("2020-02-29");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains(" Hz by the HPET, 2020-02-29 12:3"),
        "{told:?}"
    );
    assert!(told[1].contains("it is before 20"), "{told:?}");
}

#[test]
fn the_century_is_the_clock_s_own() {
    let told = clock("1999-12-31");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains(" Hz by the HPET, 1999-12-31 12:3"),
        "{told:?}"
    );
}

#[test]
fn the_image_boots_every_time() {
    let count = from_environment("HANDOFF_BOOTS", BOOTS);
    let bad = boots("quiet", count);
    assert!(bad.is_empty(), "{} of {count}: {bad:#?}", bad.len());
}

#[test]
fn the_image_boots_every_time_on_a_busy_host() {
    let count = from_environment("HANDOFF_BOOTS", BOOTS);
    let _busy: Vec<_> = (0..from_environment("HANDOFF_BUSY", BUSY))
        .map(|_| Busy::start())
        .collect();
    let bad = boots("busy", count);
    assert!(bad.is_empty(), "{} of {count}: {bad:#?}", bad.len());
}
