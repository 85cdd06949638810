//! The platform under QEMU: the image of probes, booted once, and what its
//! domains and the monitor print.
#![expect(clippy::unwrap_used, reason = "what fails here is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use image::kernel::Configuration;
use image::pack::{self, Options};
use image::plan::Provisions;
use image::workspace;
use qemu::{Boot, Machine};

/// Emulation on a busy machine is slow; silence is failure.
const PATIENCE: Duration = Duration::from_secs(240);

/// The monitor's last word on a domain that never stops talking.
const LIMITED: &str = "talks-without-end: logs too much";

fn workspace() -> PathBuf {
    workspace::root().unwrap()
}

/// One build at a time: they share cargo's target folder for guests.
static BUILDING: Mutex<()> = Mutex::new(());

fn build(name: &str, system: &str, provisions: Provisions) -> (pack::Image, PathBuf) {
    build_with(name, system, provisions, Vec::new())
}

fn build_with(
    name: &str,
    system: &str,
    provisions: Provisions,
    features: Vec<String>,
) -> (pack::Image, PathBuf) {
    let _building = BUILDING.lock().unwrap();
    let out = workspace().join("target/test-images").join(name);
    let image = pack::build(&Options {
        workspace: workspace(),
        out: out.clone(),
        system: Some(workspace().join(system)),
        memory_mib: None,
        without: Vec::new(),
        configuration: Configuration::Release,
        provisions,
        features,
        disc: false,
        restart: None,
        rekey_after: None,
    });
    (image.unwrap(), out)
}

fn machine(image: pack::Image, folder: &Path) -> Machine {
    let boot = Boot::Files {
        kernel: image.kernel,
        root: image.root,
    };
    Machine::new(boot, folder)
}

/// Everything that the probes print.
fn log() -> &'static [String] {
    static LOG: OnceLock<Vec<String>> = OnceLock::new();
    LOG.get_or_init(|| {
        let (image, folder) = build("probes", "image/probe/system.toml", Provisions::new());
        let mut guest = machine(image, &folder).start(PATIENCE).unwrap();
        guest
            .wait_line(PATIENCE, |line| line == "lasts: probes done")
            .unwrap();
        guest
            .wait_line(PATIENCE, |line| line.starts_with(LIMITED))
            .unwrap();
        let log = qemu::log::read(guest.log_file()).unwrap();
        guest.stop();
        log.lines().map(str::to_string).collect()
    })
}

fn has(beginning: &str) -> bool {
    log().iter().any(|line| line.starts_with(beginning))
}

fn assert_fault(domain: &str, fault: &str) {
    let expected = format!("fault: {domain}: {fault}");
    assert!(has(&expected), "no line \"{expected}\" in {:#?}", log());
}

#[test]
fn the_root_task_builds_what_the_description_lists() {
    assert!(has("init: 16 domains, "), "{:#?}", log());
}

#[test]
fn c06_the_kernel_holds_what_the_description_lists_and_nothing_else() {
    let found = log().iter().find_map(|line| {
        let rest = line.strip_prefix("policy: ")?;
        rest.strip_suffix(" capabilities as declared, 0 others")
    });
    let declared = log().iter().find_map(|line| {
        let rest = line.strip_prefix("init: 16 domains, ")?;
        rest.strip_suffix(" capabilities")
    });
    assert!(found.is_some() && found == declared, "{:#?}", log());
    // 16 threads and what wakes each, the monitor's own thread, two endpoints, the serial
    // port, the clock.
    assert!(has(
        "policy: the monitor keeps 40 capabilities and no memory"
    ));
}

/// Boots the probes under a root task that builds one thing too many.
fn injected(feature: &str, told: &str) {
    let features = vec![format!("init/{feature}")];
    let (image, folder) = build_with(
        feature,
        "image/probe/system.toml",
        Provisions::new(),
        features,
    );
    let mut guest = machine(image, &folder).start(PATIENCE).unwrap();
    guest
        .wait_line(PATIENCE, |line| {
            line == "init: no system: it is not as declared"
        })
        .unwrap();
    let log = qemu::log::read(guest.log_file()).unwrap();
    guest.stop();
    assert!(log.lines().any(|line| line.starts_with(told)), "{log}");
    assert!(!log.contains("init: 16 domains"), "{log}");
}

#[test]
fn c06_a_capability_that_nobody_declared_stops_the_boot() {
    injected(
        "inject-slot",
        "policy: netstack-server: slot 77 is undeclared",
    );
}

#[test]
fn c06_a_badge_that_is_another_one_stops_the_boot() {
    injected(
        "inject-badge",
        "policy: netstack-server: slot 3 is not as declared",
    );
}

#[test]
fn c06_a_signal_with_another_badge_stops_the_boot_whatever_was_signalled_before() {
    injected("inject-bell", "policy: manager: slot 8 is not as declared");
}

#[test]
fn c06_signals_that_are_there_already_do_not_stop_the_boot() {
    let features = vec!["init/inject-signal".to_string()];
    let (image, folder) = build_with(
        "inject-signal",
        "image/probe/system.toml",
        Provisions::new(),
        features,
    );
    let mut guest = machine(image, &folder).start(PATIENCE).unwrap();
    guest
        .wait_line(PATIENCE, |line| line.starts_with("init: 16 domains, "))
        .unwrap();
    let log = qemu::log::read(guest.log_file()).unwrap();
    guest.stop();
    let told = |line: &&str| line.ends_with("signals 0x2000000 came before the proof");
    assert_eq!(log.lines().filter(told).count(), 16, "{log}");
}

#[test]
fn c06_a_page_that_nobody_declared_stops_the_boot() {
    injected(
        "inject-page",
        "policy: netstack-server: its pages are not as declared",
    );
}

#[test]
fn c06_the_nic_reaches_its_own_pages_and_no_other_device_any() {
    assert!(
        has("policy: the NIC reaches 16 pages as declared, other devices none"),
        "{:#?}",
        log()
    );
}

#[test]
fn c06_a_page_of_the_nic_that_is_another_one_stops_the_boot() {
    injected("inject-nic", "policy: the NIC does not reach 0x");
}

#[test]
fn c06_a_page_more_that_the_nic_reaches_stops_the_boot() {
    injected("inject-nic-more", "policy: the NIC reaches memory at 0x");
}

#[test]
fn c06_a_page_that_another_device_reaches_stops_the_boot() {
    injected("inject-bus", "policy: device 0x48 reaches memory");
}

#[test]
fn c06_a_page_more_that_the_console_reaches_stops_the_boot() {
    injected("inject-console", "policy: the console reaches memory at 0x");
}

#[test]
fn c06_memory_that_the_source_of_entropy_still_reaches_stops_the_boot() {
    injected("inject-entropy", "policy: device 0x10 reaches memory");
}

#[test]
fn c06_a_seed_that_another_domain_sees_too_stops_the_boot() {
    injected("inject-seed", "policy: memory at 0x");
}

#[test]
fn c06_memory_that_the_root_task_keeps_stops_the_boot() {
    injected("inject-monitor", "policy: the monitor holds slot ");
}

#[test]
fn every_permitted_act_succeeds() {
    let bad: Vec<_> = log()
        .iter()
        .filter(|line| line.contains(": FAILED"))
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
    let good = log().iter().filter(|line| line.contains(": ok ")).count();
    assert_eq!(good, 22, "{:#?}", log());
}

#[test]
fn a_capability_can_be_handed_out_and_taken_back() {
    for line in [
        "caller: ok a granted capability works",
        "manager: ok a capability is taken back",
        "caller: ok what was used can be taken back",
    ] {
        assert!(has(line), "no line \"{line}\" in {:#?}", log());
    }
}

#[test]
fn a_domain_that_never_stops_talking_is_not_listened_to() {
    assert!(has(LIMITED));
    let lines = log()
        .iter()
        .filter(|line| line.starts_with("talks-without-end: and"));
    assert!(lines.count() < 10_000);
}

#[test]
fn the_nic_and_the_timer_interrupt_their_driver() {
    for line in [
        "netstack-server: ok the NIC interrupts",
        "netstack-server: ok the timer interrupts",
    ] {
        assert!(has(line), "no line \"{line}\" in {:#?}", log());
    }
}

#[test]
fn a_domain_that_waits_although_it_owes_an_answer_is_restarted() {
    let (image, folder) = build("owes", "image/tests/owes.toml", Provisions::new());
    let guest = machine(image, &folder).start(PATIENCE).unwrap();
    let found = |domain| format!("fault: {domain}: it waits, and a call is not answered");
    // Each line after the one before.
    let expected = [
        "asks: ok an answer comes".to_string(),
        found("owes"),
        "asks: ok who waited is refused".to_string(),
        found("owes"),
        found("asks"),
        "init: asks is restarted".to_string(),
        "asks: ok an answer comes".to_string(),
    ];
    let deadline = Instant::now() + PATIENCE;
    let mut log = String::new();
    let mut missing = true;
    while missing && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
        log = qemu::log::read(guest.log_file()).unwrap();
        let mut lines = log.lines();
        missing = !expected
            .iter()
            .all(|line| lines.any(|printed| printed == line));
    }
    guest.stop();
    assert!(!missing, "{log}");
    assert!(!log.contains("fault: lasts"), "{log}");
    assert!(!log.contains("FAILED"), "{log}");
}

#[test]
fn the_clock_follows_the_host() {
    /// A line comes late on a busy host, and never early.
    const EARLY: Duration = Duration::from_millis(50);
    /// QEMU's real-time clock starts with a whole second.
    const LATE: Duration = Duration::from_millis(1100);
    /// What a rate of 1 % makes of six seconds.
    const DRIFT: Duration = Duration::from_millis(60);
    let (image, folder) = build("time", "image/tests/time.toml", Provisions::new());
    let mut guest = machine(image, &folder).start(PATIENCE).unwrap();
    let second = |line: &str| {
        line.strip_prefix("tells-the-time: second ")?
            .parse::<u64>()
            .ok()
    };
    let first = guest.wait_line(PATIENCE, |line| second(line).is_some());
    // The start of the clock was read to the second.
    let first = second(&first.unwrap()).unwrap() + 3;
    let mut late = Vec::new();
    for number in first..first + 12 {
        guest
            .wait_line(PATIENCE, |line| second(line) == Some(number))
            .unwrap();
        let host = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + EARLY;
        late.push(host.checked_sub(Duration::from_secs(number)).unwrap());
    }
    guest.stop();
    let (first, last) = late.split_at(6);
    let [first, last] = [first, last].map(|part| *part.iter().min().unwrap());
    assert!(first.max(last) < EARLY + LATE, "{late:?}");
    assert!(first.abs_diff(last) < DRIFT, "{late:?}");
    let log = qemu::log::read(&folder.join("serial.log")).unwrap();
    let stopped = "fault: writes-the-time: memory fault: write at 0x10050000";
    assert!(log.lines().any(|line| line.starts_with(stopped)), "{log}");
}

#[test]
fn no_forbidden_act_is_survived() {
    let bad: Vec<_> = log()
        .iter()
        .filter(|line| line.contains("survived"))
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn a_read_of_memory_that_is_not_there_stops_the_domain() {
    assert_fault("reads-elsewhere", "memory fault: read at 0x30000000");
}

#[test]
fn a_write_to_program_text_stops_the_domain() {
    assert_fault("writes-its-program", "memory fault: write at 0x2");
}

#[test]
fn a_stack_that_overflows_hits_the_guard() {
    assert_fault("overflows-its-stack", "memory fault: write at 0x10ff");
}

#[test]
fn an_io_instruction_stops_the_domain() {
    assert_fault("reads-a-port", "exception 13");
}

#[test]
fn a_system_call_that_does_not_exist_stops_the_domain() {
    assert_fault("makes-up-a-system-call", "system call fault: number 0x3e8");
}

#[test]
fn a_call_to_an_address_outside_the_cspace_stops_the_domain() {
    assert_fault(
        "calls-outside-its-cspace",
        "capability fault: nothing at 0xdead00000000",
    );
}

#[test]
fn a_panic_tells_its_place_and_a_text_that_is_a_constant() {
    let place = "panics: panic at image/probe/src/main.rs:";
    let mut lines = log().iter().filter_map(|line| line.strip_prefix(place));
    let told = lines.next().unwrap_or_default();
    assert!(told.ends_with(": on purpose"), "{:#?}", log());
    assert_fault("panics", "exception 6");
}

#[test]
fn a_panic_whose_text_has_a_value_tells_its_place_alone() {
    let place = "panics-with-a-value: panic at image/probe/src/main.rs:";
    let mut lines = log().iter().filter_map(|line| line.strip_prefix(place));
    let told = lines.next().unwrap_or_default();
    assert!(told.parse::<u32>().is_ok(), "{:#?}", log());
    assert_fault("panics-with-a-value", "exception 6");
    assert!(!log().iter().any(|line| line.contains("the value")));
}

#[test]
fn a_fault_is_printed_with_its_place_and_no_register_that_may_hold_a_key() {
    assert_fault("reads-elsewhere", "rip 0000000000");
    let told = |line: &String| line.contains("rax") || line.contains("r15");
    assert!(!log().iter().any(told), "{:#?}", log());
}

/// The region of the key rings is in one page of one domain: no copy of it is
/// left by the boot loader, the kernel, or the root task.
#[test]
fn boot_time_data_is_in_memory_exactly_once() {
    const MARKER: &[u8] = b"a marker that stands for a private key";
    let system = "image/tests/keyrings.toml";
    let provisions = Provisions::from([("keyrings".to_string(), MARKER.to_vec())]);
    let (image, folder) = build("keyrings", system, provisions);
    let mut machine = machine(image, &folder);
    machine.qmp = Some(folder.join("qmp"));
    let mut guest = machine.start(PATIENCE).unwrap();
    guest
        .wait_line(PATIENCE, |line| {
            line.starts_with("init: ") && line.contains(" domains, ")
        })
        .unwrap();
    let dump = folder.join("memory");
    let size = u64::from(machine.memory_mib) * 1024 * 1024;
    guest.qmp().unwrap().dump_physical(size, &dump).unwrap();
    guest.stop();
    let memory = fs::read(&dump).unwrap();
    fs::remove_file(&dump).unwrap();
    let found = memory
        .windows(MARKER.len())
        .filter(|bytes| *bytes == MARKER);
    assert_eq!(found.count(), 1);
}
