//! One boot for each domain with a hostile program in its place: it tries what it has no
//! right to, and the others go on.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what fails here is a failed test"
)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use gateway_config::demo;
use image::check::check as checked;
use image::description::Restart;
use image::guest::{self, Request};
use image::kernel::{self, Configuration};
use image::layout::{DomainLayout, Layout, layout};
use image::load;
use image::pack;
use image::plan::{self, Provisions};
use image::workspace;
use init::Capability;
use qemu::{Boot, Guest, Machine};
use time::OffsetDateTime;

const PATIENCE: Duration = Duration::from_secs(30);

/// What is expected of one domain's attack.
struct Expected {
    domain: &'static str,
    found: Found,
    /// Others that must have come to this line after the attack or before it.
    others: &'static [&'static str],
}

/// What the hostile program finds in the domain's place.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// Slots of its root CNode that are not empty.
    held: u32,
    /// Slots of its windows.
    windows: u32,
    /// Slots of its tools CNode that are empty; none without such a CNode.
    tools: u32,
    /// Slots that it may call.
    calls: Cow<'static, [u64]>,
    /// Regions that it may write.
    regions: usize,
}

impl Found {
    /// By the layout, for a domain that is not in [`BY_HAND`].
    fn of(domain: &DomainLayout, layout: &Layout) -> Self {
        // Notification, faults, log.
        let mut held = 3 + domain.slots.len() + usize::from(domain.serves);
        let mut tools = 0;
        if !domain.tools.is_empty() {
            held += 1;
            tools = 16 - domain.tools.len();
        }
        let (mut windows, mut calls) = (0, Vec::new());
        for (slot, capability) in &domain.slots {
            match capability {
                Capability::Call { .. } => calls.push(*slot),
                Capability::Window { table } => {
                    windows += 1 << layout.tables[usize::from(*table)].radix;
                }
                _ => {}
            }
        }
        Self {
            held: u32::try_from(held).unwrap(),
            windows,
            tools: u32::try_from(tools).unwrap(),
            calls: calls.into(),
            regions: domain.maps.iter().filter(|map| map.writable).count(),
        }
    }
}

/// What all but the key store have come to, whoever is attacked.
const READY: &[&str] = &["keystore-server: 1 key rings", "offload-server: ready"];

/// The domains of the shipped system.
const BY_HAND: [Expected; 7] = [
    Expected {
        domain: "gateway",
        found: Found {
            held: 8,
            windows: 2048,
            tools: 0,
            calls: Cow::Borrowed(&[8, 9]),
            regions: 3,
        },
        others: READY,
    },
    Expected {
        domain: "offload-server",
        found: Found {
            held: 9,
            windows: 2048,
            tools: 0,
            calls: Cow::Borrowed(&[8]),
            regions: 6,
        },
        others: &["keystore-server: 1 key rings", "gateway: ready"],
    },
    Expected {
        domain: "kernel-shim",
        found: Found {
            held: 10,
            windows: 0,
            tools: 12,
            calls: Cow::Borrowed(&[8, 9]),
            regions: 4,
        },
        others: READY,
    },
    Expected {
        domain: "director",
        found: Found {
            held: 5,
            windows: 0,
            tools: 0,
            calls: Cow::Borrowed(&[]),
            regions: 3,
        },
        others: READY,
    },
    Expected {
        domain: "record-server",
        found: Found {
            held: 7,
            windows: 0,
            tools: 0,
            calls: Cow::Borrowed(&[]),
            regions: 4,
        },
        others: READY,
    },
    Expected {
        domain: "keystore-server",
        found: Found {
            held: 8,
            windows: 0,
            tools: 0,
            calls: Cow::Borrowed(&[]),
            regions: 1,
        },
        others: &["keystore-server: hostile: 60 uses of foreign I/O ports refused"],
    },
    Expected {
        domain: "netstack-server",
        found: Found {
            held: 9,
            windows: 0,
            tools: 0,
            calls: Cow::Borrowed(&[]),
            regions: 5,
        },
        others: READY,
    },
];

fn by_hand(domain: &str) -> &'static Expected {
    let found = BY_HAND.iter().find(|expected| expected.domain == domain);
    found.unwrap()
}

fn workspace() -> PathBuf {
    workspace::root().unwrap()
}

/// The shipped kernel, and the programs of all domains with the hostile one.
struct Parts {
    kernel: PathBuf,
    programs: BTreeMap<String, Vec<u8>>,
    provisions: Provisions,
}

fn parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(|| {
        let out = workspace().join("target/test-images/hostile");
        let now = OffsetDateTime::now_utc();
        let demo = demo::make(&out.join("demo"), now).unwrap();
        let config = gateway_config::load(&demo.config, now).unwrap();
        let provisions = config.provisions().unwrap();
        let prefix = kernel::prefix(&workspace(), Configuration::Release).unwrap();
        let kernel = out.join("kernel.elf");
        pack::write_kernel(&prefix, &kernel).unwrap();
        let description = load::file(&workspace::description().unwrap()).unwrap();
        let packages = description.into_inner().domains.into_iter();
        let packages = packages.map(|domain| domain.name);
        let programs = guest::build(&Request {
            workspace: &workspace(),
            prefix: &prefix,
            system: guest::System {
                description: &workspace::description().unwrap(),
                memory_mib: None,
                without: &[],
            },
            packages: &packages.chain(["hostile".to_string()]).collect(),
            features: &[],
        });
        Parts {
            kernel,
            programs: programs.unwrap(),
            provisions,
        }
    })
}

/// Boots the shipped system with the hostile program as `domain`; the log.
fn attack(domain: &str) -> String {
    let out = workspace()
        .join("target/test-images")
        .join(format!("hostile-{domain}"));
    fs::create_dir_all(&out).unwrap();
    // Once is enough: it is not restarted.
    let mut guest = boot(domain, Restart::default(), true, &out);
    let fault = format!("fault: {domain}: exception 13");
    let end = guest.wait_line(PATIENCE, |line| line.starts_with(&fault));
    // The reaction of the others comes after.
    std::thread::sleep(Duration::from_secs(5));
    let log = qemu::log::read(guest.log_file()).unwrap();
    guest.stop();
    assert!(end.is_ok(), "{domain} was not stopped:\n{log}");
    log
}

/// Boots the system with the hostile program in the domain's place.
fn boot(domain: &str, restart: Restart, iommu: bool, out: &Path) -> Guest {
    let Parts {
        kernel,
        programs,
        provisions,
    } = parts();
    let shipped = load::file(&workspace::description().unwrap()).unwrap();
    let mut description = shipped.into_inner();
    let taken = description.domains.iter_mut().find(|d| d.name == domain);
    taken.unwrap().package = Some("hostile".to_string());
    description.restart = restart;
    let plan = plan::make(
        &layout(&checked(description).unwrap()),
        programs,
        provisions,
    )
    .unwrap();
    let root = out.join("root.elf");
    fs::write(&root, pack::root_image(programs, &plan).unwrap()).unwrap();
    let boot = Boot::Files {
        kernel: kernel.clone(),
        root,
    };
    let mut machine = Machine::new(boot, out);
    machine.iommu = iommu;
    machine.qmp = Some(out.join("qmp"));
    // What the NIC sends is checked.
    machine.capture = Some(out.join("network.pcap"));
    machine.start(PATIENCE).unwrap()
}

fn check(expected: &Expected) {
    let Expected {
        domain,
        found,
        others,
    } = expected;
    let log = attack(domain);
    let has = |line: String| assert!(log.lines().any(|l| l == line), "no \"{line}\" in\n{log}");
    assert!(!log.contains("SURVIVED"), "{log}");
    // Each empty slot by two addresses, six ways each.
    let addresses = 2 * (256 - found.held) + found.windows + found.tools;
    let uses = 6 * addresses;
    has(format!(
        "{domain}: hostile: {uses} uses of capabilities refused"
    ));
    for slot in found.calls.iter() {
        let line = format!("{domain}: hostile: 1000 answers to 1000 messages to slot {slot}");
        assert_eq!(
            log.lines().filter(|l| *l == line).count(),
            2,
            "{line}:\n{log}"
        );
    }
    has(format!(
        "{domain}: hostile: lied 64 times in {} regions",
        found.regions
    ));
    for other in *others {
        has((*other).to_string());
    }
    let foreign = |line: &&str| {
        line.starts_with("fault: ") && line.contains(": exception")
            || line.contains(" fault: ")
            || line.contains(": panic at ")
    };
    let own = format!("fault: {domain}: ");
    let foreign: Vec<_> = log
        .lines()
        .filter(foreign)
        .filter(|l| !l.starts_with(&own))
        .collect();
    assert!(
        foreign.is_empty(),
        "another domain fell: {foreign:#?}\n{log}"
    );
}

#[test]
fn c05_a_domain_that_always_fails_stays_parked_after_its_limit() {
    let out = workspace().join("target/test-images/hostile-again");
    fs::create_dir_all(&out).unwrap();
    let restart = Restart {
        limit: 3,
        window_ms: 60_000,
        delay_ms: 50,
        silence_ms: 1000,
    };
    let mut guest = boot("gateway", restart, true, &out);
    let end = guest.wait_line(PATIENCE, |line| {
        line == "init: gateway failed too often and stays parked"
    });
    std::thread::sleep(Duration::from_secs(3));
    let log = qemu::log::read(guest.log_file()).unwrap();
    guest.stop();
    assert!(end.is_ok(), "{log}");
    let count = |wanted: &str| log.lines().filter(|line| *line == wanted).count();
    assert_eq!(count("init: gateway is restarted"), 3, "{log}");
    let attacks = log.matches("fault: gateway: exception 13").count();
    assert_eq!(attacks, 4, "{log}");
    assert!(!log.contains("offload-server: panic"), "{log}");
}

#[test]
fn c06_a_hostile_gateway_gets_nothing_and_harms_nobody() {
    check(by_hand("gateway"));
}

#[test]
fn c06_a_hostile_offload_component_gets_nothing_and_harms_nobody() {
    check(by_hand("offload-server"));
}

#[test]
fn c06_a_hostile_shim_gets_nothing_and_harms_nobody() {
    check(by_hand("kernel-shim"));
}

#[test]
fn c06_a_hostile_director_gets_nothing_and_harms_nobody() {
    check(by_hand("director"));
}

#[test]
fn c06_a_hostile_record_layer_gets_nothing_and_harms_nobody() {
    check(by_hand("record-server"));
}

#[test]
fn c06_a_hostile_key_store_gets_nothing_and_harms_nobody() {
    check(by_hand("keystore-server"));
}

#[test]
fn c06_a_hostile_network_stack_gets_nothing_and_harms_nobody() {
    check(by_hand("netstack-server"));
}

/// A domain more needs no line here: the same reckoning gives the numbers of those that have.
#[test]
fn every_domain_is_attacked_with_what_its_layout_gives_it() {
    let description = load::file(&workspace::description().unwrap()).unwrap();
    let layout = layout(&description);
    for domain in &layout.domains {
        let found = Found::of(domain, &layout);
        match BY_HAND.iter().find(|known| known.domain == domain.name) {
            Some(known) => assert_eq!(found, known.found, "{}", domain.name),
            None => check(&Expected {
                domain: domain.name.clone().leak(),
                found,
                others: READY,
            }),
        }
    }
}

/// What the NIC of a hostile driver did, seen from outside.
struct Misuse {
    /// The key rings went out as a frame.
    key_rings_left: bool,
    /// A frame of the network is in memory after the NIC's own.
    foreign_memory_changed: bool,
    /// What the emulator said.
    complaint: String,
}

/// Has a hostile network stack send all memory over the network, and write a
/// frame after its own memory.
fn misuse(iommu: bool) -> Misuse {
    /// The gateway of the emulated network, which answers.
    const ANSWERS: &[u8] = &[0x52, 0x55, 10, 0, 2, 2];
    const LEFT: &str = "netstack-server: hostile: the NIC reports an answer at 0x";
    let name = if iommu { "confined" } else { "unconfined" };
    let out = workspace()
        .join("target/test-images")
        .join(format!("hostile-nic-{name}"));
    fs::create_dir_all(&out).unwrap();
    let mut guest = boot("netstack-server", Restart::default(), iommu, &out);
    let found = guest.wait_line(PATIENCE, |line| line.starts_with(LEFT));
    let log = qemu::log::read(guest.log_file()).unwrap();
    assert!(found.is_ok(), "{log}");
    let target = log.lines().find_map(|line| line.strip_prefix(LEFT));
    let target = usize::from_str_radix(target.unwrap(), 16).unwrap();
    let sent = "netstack-server: hostile: the NIC sent 32512 foreign pages";
    assert!(log.lines().any(|line| line == sent), "{log}");
    let dump = out.join("memory");
    guest
        .qmp()
        .unwrap()
        .dump_physical(128 << 20, &dump)
        .unwrap();
    let complaint = guest.complaint();
    guest.stop();
    let memory = fs::read(&dump).unwrap();
    // It has private keys in it.
    fs::remove_file(&dump).unwrap();
    let capture = fs::read(out.join("network.pcap")).unwrap();
    fs::remove_file(out.join("network.pcap")).unwrap();
    let key_rings = parts().provisions.get("keyrings").unwrap();
    // After their length, as far as the frame goes.
    let part = key_rings.get(..1024).unwrap_or(key_rings);
    Misuse {
        key_rings_left: holds(&capture, part),
        foreign_memory_changed: holds(memory.get(target..target + 2048).unwrap(), ANSWERS),
        complaint,
    }
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|part| part == wanted)
}

#[test]
fn c06_a_hostile_driver_reaches_no_foreign_memory_with_its_nic() {
    let Misuse {
        key_rings_left,
        foreign_memory_changed,
        complaint,
    } = misuse(true);
    assert!(!key_rings_left);
    assert!(!foreign_memory_changed);
    let fault = "detected translation failure";
    assert!(complaint.contains(fault), "no fault: {complaint}");
}

/// The same attack, where nothing stops it: the test above can fail.
#[test]
fn without_an_iommu_a_hostile_driver_reaches_all_memory_with_its_nic() {
    let found = misuse(false);
    assert!(found.key_rings_left);
    assert!(found.foreign_memory_changed);
    assert!(!found.complaint.contains("translation"));
}
