//! Who shares memory with whom, as the page tables of the running system have
//! it (C1).

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{shipped, system};

#[test]
fn c01_domains_share_memory_only_where_a_channel_is() {
    let site = system();
    let memory = site.memory();
    let channels = shipped::channels();
    let shared: BTreeMap<_, _> = memory
        .sharing()
        .into_iter()
        .filter(|(owners, _)| owners.len() > 1)
        .collect();
    for (owners, pages) in &shared {
        // The time, which the root task tells to all.
        if *pages == 1 && owners.len() == shipped::domains().count() + 1 && owners.contains("init")
        {
            continue;
        }
        let pair: Vec<_> = owners.iter().copied().collect();
        assert_eq!(pair.len(), 2, "{pages} pages are shared by {pair:?}");
        let is_channel = channels.contains(owners);
        // The page of counters that each domain shows to the gateway.
        let is_counters = pair.contains(&"gateway") && !pair.contains(&"init") && *pages == 1;
        // Its log, which the root task prints.
        let is_log = pair.contains(&"init") && *pages <= 8;
        assert!(
            is_channel || is_counters || is_log,
            "{pages} pages: {pair:?}"
        );
    }
    for pair in channels {
        assert!(shared.contains_key(&pair), "no memory between {pair:?}");
    }
}

#[test]
fn c01_each_domain_has_memory_of_its_own() {
    let site = system();
    let memory = site.memory();
    let sharing = memory.sharing();
    for name in shipped::domains() {
        assert!(sharing.contains_key(&BTreeSet::from([name])), "{name}");
    }
}

#[test]
fn c06_no_page_has_two_writers() {
    let site = system();
    let memory = site.memory();
    let rivals = memory.rivals();
    assert!(rivals.is_empty(), "{rivals:?}");
}
