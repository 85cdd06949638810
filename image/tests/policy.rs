//! The shipped policy: it holds, and for each of its assertions there is a change of the
//! shipped system that breaks it, with the expected output.
#![expect(clippy::unwrap_used, reason = "what fails here is a failed test")]

mod broken;
mod mutations;

use std::collections::BTreeSet;
use std::fs;
use std::sync::LazyLock;

use image::check::{self, check};
use image::description::Purpose;
use image::layout::{DomainLayout, layout};
use image::left_out::without;
use image::load;
use image::policy::assertion::Policy;
use image::policy::{self, Report, Verdict};
use image::workspace;
use ipc::boot::PAGE;

use broken::Fault::{self, Add, Change};
use broken::TABLE;

/// Assertions that no description can break: there is no key for it.
const BY_CONSTRUCTION: [&str; 3] = [
    "no domain holds untyped memory, a thread, an address space or a page",
    "no memory is asked for both writable and executable",
    "the monitor calls nobody, and writes nothing that a domain reads but the clock page",
];

fn judge(text: &str) -> Report {
    let description = check::parse(text).unwrap_or_else(|error| panic!("{error:#}"));
    let own = policy::path_of(&workspace::description().unwrap());
    policy::judge(&description, own.as_deref()).unwrap()
}

fn shipped() -> String {
    fs::read_to_string(workspace::description().unwrap()).unwrap()
}

/// The shipped system's own policy.
fn own() -> Policy {
    let path = policy::path_of(&workspace::description().unwrap()).unwrap();
    let sessions = check::parse(&shipped()).unwrap().sessions;
    policy::parse(&fs::read_to_string(path).unwrap(), sessions).unwrap()
}

/// The shipped system's domains.
fn domains() -> Vec<String> {
    let description = check::parse(&shipped()).unwrap().into_inner();
    let domains = description.domains.into_iter();
    domains.map(|domain| domain.name).collect()
}

fn inject(fault: &Fault) -> String {
    let text = shipped();
    match fault {
        Add(more) => format!("{text}\n{more}\n"),
        Change(from, to) => {
            let places = text.matches(from).count();
            assert!(places == 1, "{places} places have the text {from}");
            text.replacen(from, to, 1)
        }
    }
}

fn breaks_of(report: &Report, name: &str) -> Vec<String> {
    let found = report.judged.iter().find(|judged| judged.name == name);
    let found = found.unwrap_or_else(|| panic!("there is no assertion \"{name}\""));
    match &found.verdict {
        Verdict::Holds => Vec::new(),
        Verdict::Broken(why) => why.clone(),
    }
}

#[test]
fn c06_the_shipped_system_keeps_its_policy() {
    let report = judge(&shipped());
    assert_eq!(report.broken().collect::<Vec<_>>(), []);
    assert!(report.judged.len() > 50);
}

#[test]
fn c06_the_system_without_a_director_keeps_the_same_policy() {
    let whole = check::parse(&shipped()).unwrap();
    let description = without(whole.clone(), &[Purpose::Directed]).unwrap();
    let own = policy::path_of(&workspace::description().unwrap());
    let report = policy::judge(&description, own.as_deref()).unwrap();
    assert_eq!(report.broken().collect::<Vec<_>>(), []);
    let mut expected = domains();
    expected.retain(|name| name != "director");
    let names: Vec<_> = description.domains.iter().map(|d| &*d.name).collect();
    assert_eq!(names, expected);
    // Its peers have `None` in place of its channels, and the right to signal it less; its
    // memory is nobody's.
    let (whole, left) = (layout(&whole), layout(&description));
    let none = |domain: &DomainLayout| {
        let fields = domain.fields.iter().filter(|field| field.value == "None");
        fields.map(|field| field.name.clone()).collect::<Vec<_>>()
    };
    for domain in &left.domains {
        let before = whole.domains.iter().find(|other| other.name == domain.name);
        let before = before.unwrap();
        let expected: &[&str] = match &*domain.name {
            "kernel-shim" => &["channel_orders"],
            "offload-server" => &["channel_segments"],
            _ => &[],
        };
        assert_eq!(none(domain), expected);
        assert_eq!(none(before), [""; 0]);
        assert_eq!(before.slots.len() - domain.slots.len(), expected.len());
    }
    let of_it = |name: &str| name.contains("director") || name.starts_with("orders");
    assert!(whole.regions.iter().any(|region| of_it(&region.name)));
    assert!(!left.regions.iter().any(|region| of_it(&region.name)));
    // What is said of a domain that no system has is still refused.
    let strange = "[[callers]]\nname = \"a\"\nof = \"directer\"\nare = []\n";
    let mut report = Report::default();
    policy::judge_by(
        &policy::parse(strange, 0).unwrap(),
        &description,
        &mut report,
    );
    assert_eq!(breaks_of(&report, "a"), ["there is no domain \"directer\""]);
}

#[test]
fn c06_every_assertion_refuses_the_system_that_breaks_it() {
    for (how, name, line) in TABLE {
        let why = breaks_of(&judge(&inject(how)), name);
        assert!(why.iter().any(|w| w == line), "{name}: {line}: {why:#?}");
    }
}

/// No description removes the monitor's page and signals: assertions that leave them out
/// are broken by them.
#[test]
fn c06_the_monitor_s_clock_page_and_signals_are_judged() {
    let ways = |by: &str| {
        let text = format!(
            "[[unreachable]]\nname = \"a\"\nfrom = [\"monitor\"]\nto = [\"*\"]\nby = [\"{by}\"]\n"
        );
        let mut report = Report::default();
        let description = check::parse(&shipped()).unwrap();
        policy::judge_by(&policy::parse(&text, 0).unwrap(), &description, &mut report);
        breaks_of(&report, "a")
    };
    let each = |what: &str| -> Vec<_> {
        let domains = domains().into_iter();
        domains
            .map(|domain| format!("monitor {what} {domain}"))
            .collect()
    };
    assert_eq!(
        ways("memory"),
        each("writes \"clock page\" that is read by")
    );
    assert_eq!(ways("signal"), each("signals"));
    assert!(ways("call").is_empty());
    // And a domain that reports to the monitor reaches others through it.
    let text = "[[unreachable]]\nname = \"a\"\nfrom = [\"netstack-server\"]\n\
                to = [\"keystore-server\"]\nby = [\"memory\"]\n";
    let mut report = Report::default();
    let description = check::parse(&shipped()).unwrap();
    policy::judge_by(&policy::parse(text, 0).unwrap(), &description, &mut report);
    assert_eq!(
        breaks_of(&report, "a"),
        [
            "netstack-server writes \"log: netstack-server\" that is read by monitor, \
             which writes \"clock page\" that is read by keystore-server"
        ]
    );
}

#[test]
fn c06_a_domain_that_grows_beyond_its_bound_is_refused() {
    let bounds = own().bound.into_iter().map(|bound| bound.domain);
    let bounded: Vec<_> = bounds.collect();
    assert_eq!(bounded, domains(), "each domain has a bound");
    for domain in bounded {
        let mut description = check::parse(&shipped()).unwrap().into_inner();
        // The others make room: a system that fits no machine is not judged.
        for other in &mut description.domains {
            other.heap = match other.name == domain {
                true => other.heap + (16 << 20),
                false => PAGE,
            };
        }
        let description = check(description).unwrap();
        let mut report = Report::default();
        policy::judge_by(&own(), &description, &mut report);
        let broken: Vec<_> = report.broken().map(|(name, _)| name.to_string()).collect();
        let bound = format!("{domain} has at most ");
        assert!(
            broken.iter().any(|name| name.starts_with(&bound)),
            "{broken:?}"
        );
    }
}

/// The assertions that a fault of an ordinary kind breaks.
static ORDINARY: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let whole = check::parse(&shipped()).unwrap().into_inner();
    let own = own();
    let systems = mutations::systems(&whole).into_iter();
    let broken = systems.filter_map(|system| {
        let mut report = Report::default();
        policy::judge_by(&own, &check(system).ok()?, &mut report);
        let broken = report.broken().map(|(name, _)| name.to_string());
        Some(broken.collect::<Vec<_>>())
    });
    broken.flatten().collect()
});

/// What is said of a new domain needs no line in [`TABLE`], as long as it is of these kinds.
#[test]
fn c06_a_fault_of_an_ordinary_kind_breaks_almost_every_assertion_of_the_shipped_policy() {
    let mut report = Report::default();
    policy::judge_by(&own(), &check::parse(&shipped()).unwrap(), &mut report);
    let names = report.judged.iter().map(|judged| judged.name.as_str());
    let left: Vec<_> = names
        .filter(|name| !ORDINARY.contains(*name) && !name.contains(" has at most "))
        .collect();
    assert_eq!(left, BY_CONSTRUCTION[2..]);
}

#[test]
fn c06_no_assertion_is_without_a_system_that_breaks_it() {
    let covered: BTreeSet<&str> = TABLE.iter().map(|(_, name, _)| *name).collect();
    let report = judge(&shipped());
    let left = report.judged.iter().map(|judged| judged.name.as_str());
    let domains = domains();
    let bounded = |name: &str| {
        domains
            .iter()
            .any(|d| name.starts_with(&format!("{d} has at most")))
    };
    let left: Vec<_> = left
        .filter(|name| !covered.contains(name) && !BY_CONSTRUCTION.contains(name) && !bounded(name))
        .filter(|name| ![OWN_CSPACE, INTERRUPT, PORT].contains(name))
        .filter(|name| !ORDINARY.contains(*name))
        .collect();
    assert!(left.is_empty(), "{left:#?}");
}

const OWN_CSPACE: &str = "no domain holds a capability of its own CSpace";
const INTERRUPT: &str = "each interrupt is one domain's";
/// Refused before the policy: `descriptions` shows it.
const PORT: &str = "each I/O port is one domain's";

#[test]
fn a_domain_that_manages_its_own_window_is_refused_before_the_policy() {
    let text = shipped().replace(
        "holder = \"gateway\"\nmanager = \"kernel-shim\"",
        "holder = \"kernel-shim\"\nmanager = \"kernel-shim\"",
    );
    let error = load::text(&text).unwrap_err().to_string();
    assert_eq!(
        error,
        "window sessions: priority 170 of kernel-shim is not above priority 170 of kernel-shim"
    );
}

#[test]
fn a_description_has_no_word_for_untyped_memory_or_threads() {
    for word in ["untyped", "page", "thread"] {
        let error = check::parse(&format!("{}\n[[{word}]]\n", shipped()));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains(&format!("unknown field `{word}`")),
            "{error}"
        );
    }
}

#[test]
fn an_assertion_about_nobody_is_broken() {
    let policy = policy::parse(
        "[[unreachable]]\nname = \"a\"\nfrom = [\"gateway\"]\nto = [\"keystore\"]\nby = [\"call\"]\n\
         [[sees]]\nname = \"b\"\nregion = \"plain: *\"\n\
         [[callers]]\nname = \"c\"\nof = \"nobody\"\nare = []\n\
         [[reaches]]\nname = \"d\"\ndevice = \"disk\"\nonly = []\n",
        0,
    );
    let mut report = Report::default();
    let description = check::parse(&shipped()).unwrap();
    policy::judge_by(&policy.unwrap(), &description, &mut report);
    let broken: Vec<_> = report.broken().map(|(_, why)| why.join("; ")).collect();
    assert_eq!(
        broken,
        [
            "there is no domain \"keystore\"",
            "there is no domain \"nobody\"",
            "there is no such memory",
            "there is no device \"disk\"",
        ]
    );
}

#[test]
fn a_word_that_no_policy_has_is_refused_with_its_line() {
    let error = policy::parse("[[sees]]\nname = \"a\"\nreader = [\"gateway\"]\n", 0);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("line 3") && error.contains("unknown field `reader`"),
        "{error}"
    );
}
