//! The system that is shipped, as its description says it: who exists, who may
//! call whom, who shares memory with whom, who holds what must not be shared.
#![expect(clippy::unwrap_used, reason = "what fails here is a failed test")]

use std::collections::BTreeSet;

use image::check::Checked;
use image::description::{Description, Domain};
use image::load;
use image::workspace;

fn checked() -> Checked {
    load::file(&workspace::description().unwrap()).unwrap()
}

fn shipped() -> Description {
    checked().into_inner()
}

/// The services, and the application that is shipped, in the order of their priorities.
/// What any other domain may do is in the policy, which refuses what it does not declare:
/// its calls, channels and windows, and its page of counters.
const CORE: [&str; 7] = [
    "netstack-server",
    "keystore-server",
    "record-server",
    "kernel-shim",
    "director",
    "offload-server",
    "gateway",
];

fn is_core(name: &str) -> bool {
    CORE.contains(&name)
}

type Pairs = BTreeSet<(String, String)>;

fn pairs(list: &[(&str, &str)]) -> Pairs {
    let owned = |(a, b): &(&str, &str)| (a.to_string(), b.to_string());
    list.iter().map(owned).collect()
}

#[test]
fn c01_every_service_is_a_domain_of_its_own() {
    let description = shipped();
    let core = description.domains.iter().filter(|d| is_core(&d.name));
    let core: Vec<&Domain> = core.collect();
    let names: Vec<_> = core.iter().map(|domain| &*domain.name).collect();
    assert_eq!(names, CORE);
    assert!(core.is_sorted_by(|higher, lower| higher.priority >= lower.priority));
    // Each server has a priority of its own; the last two take turns.
    let alone = |d: &&&Domain| {
        let domains = description.domains.iter();
        domains.filter(|o| o.priority == d.priority).count() == 1
    };
    let alone: Vec<_> = core.iter().filter(alone).map(|d| &*d.name).collect();
    assert_eq!(alone, CORE[..5]);
}

#[test]
fn the_picture_shows_what_each_domain_is_trusted_with() {
    let description = shipped();
    let decide = description.domains.iter().filter(|d| d.secrets.is_none());
    let decide = decide.map(|domain| &*domain.name);
    let decide: Vec<_> = decide.filter(|name| is_core(name)).collect();
    assert_eq!(decide, ["kernel-shim", "director"]);
}

#[test]
fn each_domain_has_counters_of_its_own() {
    for domain in &shipped().domains {
        let counters = ipc::stats::of(&domain.name);
        let has = |end: &str| counters.iter().any(|counter| counter.name.ends_with(end));
        assert!(
            has("restarts_total") && has("heap_bytes"),
            "{}",
            domain.name
        );
        // What every domain has is nobody's.
        let owner = if is_core(&domain.name) {
            &*domain.name
        } else {
            ""
        };
        assert!(counters.iter().all(|counter| counter.domain == owner));
    }
}

#[test]
fn c02_calls_are_those_of_the_architecture_and_no_others() {
    let calls: Pairs = shipped()
        .calls
        .into_iter()
        .map(|call| (call.from, call.to))
        .filter(|(from, to)| is_core(from) && is_core(to))
        .collect();
    let expected = pairs(&[
        ("gateway", "kernel-shim"),
        ("gateway", "netstack-server"),
        ("kernel-shim", "netstack-server"),
        ("kernel-shim", "record-server"),
        ("offload-server", "keystore-server"),
    ]);
    assert_eq!(calls, expected);
}

#[test]
fn c02_channels_are_those_of_the_architecture_and_no_others() {
    let channels: Pairs = shipped()
        .channels
        .into_iter()
        .map(|channel| {
            let [a, b] = channel.between;
            (a, b)
        })
        .filter(|(a, b)| is_core(a) && is_core(b))
        .collect();
    let expected = pairs(&[
        ("netstack-server", "record-server"),
        ("netstack-server", "offload-server"),
        ("record-server", "gateway"),
        ("netstack-server", "gateway"),
        ("record-server", "offload-server"),
        ("kernel-shim", "offload-server"),
        ("kernel-shim", "director"),
        ("director", "offload-server"),
    ]);
    assert_eq!(channels, expected);
}

#[test]
fn c03_the_shim_alone_hands_out_capabilities_of_sessions() {
    let description = shipped();
    let windows: Vec<_> = description
        .windows
        .iter()
        .filter(|w| is_core(&w.holder))
        .map(|w| (&*w.name, &*w.holder, &*w.manager))
        .collect();
    assert_eq!(
        windows,
        [
            ("install", "offload-server", "kernel-shim"),
            ("sessions", "gateway", "kernel-shim"),
        ]
    );
    let sources = &description.mint_sources;
    assert!(sources.iter().all(|s| s.manager == "kernel-shim"));
    let endpoints: Vec<_> = sources.iter().flat_map(|s| &s.endpoints).collect();
    assert_eq!(endpoints, ["record-server", "kernel-shim"]);
}

#[test]
fn c05_keys_nic_and_memory_of_the_nic_are_in_one_domain_each() {
    let description = shipped();
    let holders = |name: &str| -> Vec<String> {
        let region = description.regions.iter().find(|r| r.name == name);
        let maps = region.unwrap().map.iter();
        maps.map(|mapping| mapping.domain.clone()).collect()
    };
    assert_eq!(holders("keyrings"), ["keystore-server"]);
    assert_eq!(holders("dma"), ["netstack-server"]);
    assert!(
        description
            .devices
            .iter()
            .all(|device| device.domain == "netstack-server")
    );
    let dma = description.regions.iter().filter(|region| region.dma);
    assert_eq!(dma.count(), 1);
}

#[test]
fn c08_the_top_level_has_the_folders_that_were_asked_for() {
    let top = workspace::root().unwrap();
    for name in [
        "Cargo.toml",
        "kernel-shim/Cargo.toml",
        "netstack-server/Cargo.toml",
        "offload-server/Cargo.toml",
        "keystore-server/Cargo.toml",
        "record-server/Cargo.toml",
        "ipc/Cargo.toml",
        "image/system.toml",
        "qemu/Cargo.toml",
    ] {
        assert!(top.join(name).is_file(), "{name}");
    }
}

/// `HANDOFF_WRITE_PICTURE=1` redraws it.
#[test]
fn the_picture_in_docs_is_that_of_the_shipped_description() {
    let top = workspace::root().unwrap();
    let path = top.join("docs/architecture.svg");
    let drawn = image::graph::svg(&checked());
    if std::env::var_os("HANDOFF_WRITE_PICTURE").is_some() {
        std::fs::write(&path, &drawn).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(kept == drawn, "draw it again: HANDOFF_WRITE_PICTURE=1");
}
