//! Instructions of the booted image, by whose code they are.

use std::collections::BTreeMap;
use std::fs;

use image::code;
use qemu::Boot;
use qemu::count::{Counter, Page, fingerprint};

use crate::harness::client::Wish;
use crate::harness::shipped::domains;
use crate::harness::site::{Prepared, Site, port};

/// What an ECDSA handshake takes at the very least, and a thousandth of it.
const HANDSHAKE: u64 = 300_000;
const NOTHING: u64 = HANDSHAKE / 1000;

/// Instructions so far, by domain; the kernel's by the name `kernel`.
fn counted(
    site: &Site,
    counter: &Counter,
    owners: &BTreeMap<Page, String>,
) -> BTreeMap<String, u64> {
    assert!(site.guest.id() != 0);
    let mut by_owner = BTreeMap::new();
    for (page, amount) in counter.read().unwrap().0 {
        let owner = match page.is_kernel() {
            true => "kernel",
            false => owners.get(&page).map_or("others", String::as_str),
        };
        *by_owner.entry(owner.to_string()).or_default() += amount.instructions;
    }
    by_owner
}

#[test]
fn a_handshake_s_instructions_are_those_of_the_domains_that_do_it() {
    let mut prepared = Prepared::build("counter", false).unwrap();
    let counter = Counter::build(&prepared.machine.program, &prepared.folder).unwrap();
    prepared.machine.counter = Some(counter.clone());
    let Boot::Files { root, .. } = &prepared.machine.boot else {
        panic!("no files");
    };
    let mut owners = BTreeMap::new();
    code::pages(&fs::read(root).unwrap(), |owner, address, page| {
        let fingerprint = fingerprint(page);
        let page = Page {
            address,
            fingerprint,
        };
        owners.insert(page, owner.to_string());
    })
    .unwrap();
    let site = prepared.boot().unwrap();
    let before = counted(&site, &counter, &owners);
    for owner in domains().chain(["init", "kernel"]) {
        assert!(
            before.get(owner).is_some_and(|n| *n > 0),
            "{owner}: {before:?}"
        );
    }
    let mut session = Wish::tls13(&site.material)
        .connect(site.address(port::ECHO))
        .unwrap();
    assert_eq!(session.echo(b"there and back").unwrap(), b"there and back");
    let after = counted(&site, &counter, &owners);
    let more = |owner: &str| after[owner] - before[owner];
    assert!(more("offload-server") > HANDSHAKE, "{before:?} {after:?}");
    assert!(more("kernel") > NOTHING, "{before:?} {after:?}");
    // The handshake is autonomous.
    assert!(more("director") < NOTHING * 100, "{before:?} {after:?}");
    assert_eq!(more("others"), 0, "{before:?} {after:?}");
}
