//! Descriptions that grow with the machine's memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use image::{check, load, policy, workspace};

const MIB: u64 = 1 << 20;

#[test]
fn as_many_sessions_as_fit_are_described_and_the_policy_holds_for_all_of_them() {
    let path = workspace::description().unwrap();
    let own = policy::path_of(&path);
    let mut before = 0;
    for mib in [128, 129, 160, 200, 256, 384, 512, 3072] {
        let description = load::file_for(&path, Some(mib)).unwrap();
        let report = policy::judge(&description, own.as_deref()).unwrap();
        let broken: Vec<_> = report.broken().collect();
        assert!(broken.is_empty(), "{mib} MiB: {broken:?}");
        let sessions = description.sessions;
        let slots = |name: &str| {
            let mut channels = description.channels.iter();
            channels.find(|channel| channel.name == name).unwrap().slots
        };
        assert_eq!(slots("protected"), sessions);
        assert_eq!(slots("backend"), sessions + 16);
        let windows = description.windows.iter().map(|window| window.slots);
        let needed = u32::from(sessions).next_power_of_two();
        assert_eq!(windows.collect::<Vec<_>>(), [needed, needed]);
        assert!(sessions >= before, "{mib} MiB: {sessions} after {before}");
        before = sessions;
        match mib {
            128 => assert_eq!(sessions, 1536),
            512 => assert!(sessions >= 10_000, "{sessions}"),
            3072 => assert_eq!(sessions, 10_240),
            _ => {}
        }
    }
}

#[test]
fn a_mebibyte_less_holds_some_sessions_less() {
    let path = workspace::description().unwrap();
    let sessions = |mib| load::file_for(&path, Some(mib)).unwrap().sessions;
    for mib in [129, 200, 300, 400] {
        let less = sessions(mib) - sessions(mib - 1);
        assert!([16, 32].contains(&less), "{mib} MiB: {less}");
    }
}

#[test]
fn a_machine_that_is_too_small_for_a_session_is_refused() {
    let text = std::fs::read_to_string(workspace::description().unwrap()).unwrap();
    let error = check::parse_for(&text, Some(48 * MIB)).unwrap_err();
    let error = format!("{error:#}");
    assert!(
        error.starts_with("not a single session: stacks, heaps, channels and regions take"),
        "{error}"
    );
    assert!(error.ends_with("33792 KiB are there"), "{error}");
}

#[test]
fn what_is_no_share_is_told_with_its_line() {
    let text = std::fs::read_to_string(workspace::description().unwrap()).unwrap();
    let share = "tcp_connections = { session = 2, fixed = 64 }";
    let before = text.split_once(share).unwrap().0;
    let line = before.matches('\n').count() + 1;
    for (written, reason) in [
        (
            "{ session = 2, fixd = 64 }",
            "a share has \"fixed\" and \"session\", no \"fixd\"",
        ),
        ("{ session = \"many\" }", "session is no number and no size"),
        ("{ session = -1 }", "session is no number and no size"),
        ("{ session = 9223372036854775807, fixed = 64 }", "too much"),
    ] {
        let text = text.replacen(share, &format!("tcp_connections = {written}"), 1);
        let error = check::parse(&text).unwrap_err().to_string();
        assert_eq!(error, format!("line {line}: {reason}"));
    }
    // Lines after shares are where they were.
    let text = text.replacen(share, &format!("{share}\nhandshaks = 3"), 1);
    let error = check::parse(&text).unwrap_err().to_string();
    assert!(error.contains(&format!("line {}", line + 1)), "{error}");
    assert!(error.contains("handshaks"), "{error}");
}
