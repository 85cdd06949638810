//! What each domain can be made to hold, beside the heap that the description gives it.
//! Each domain's program compares the same table with its heap when it is compiled. That is
//! enough for one whose heap has the same size whatever the machine's memory: tables are here
//! for what grows with it.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use image::description::{Description, Domain};
use ipc::budget::{Line, needed, total};

/// A domain's table.
pub(crate) struct Budget {
    domain: &'static str,
    lines: Vec<Line>,
    heap: u64,
}

impl Budget {
    fn fits(&self) -> bool {
        needed(&self.lines) as u64 <= self.heap
    }
}

/// The tables of the services and the gateway, by the counts of the description.
pub(crate) fn budgets(description: &Description) -> Vec<Budget> {
    let slots = |name: &str| {
        let channels = description.channels.iter();
        let found = channels.filter(|channel| channel.name == name);
        found.map(|channel| channel.slots).next().unwrap_or(0)
    };
    let (handshakes, sessions) = (slots("handshake"), slots("protected"));
    let connections = slots("backend");
    let clients = u16::try_from(description.applications.len()).unwrap_or(u16::MAX);
    let applications = description.applications.iter();
    let most = applications.map(|application| usize::from(application.tcp_connections));
    let limits = netstack_server::Limits::of(most.sum());
    let tables: [(&str, Vec<Line>); 7] = [
        (
            "netstack-server",
            netstack_server::budget::budget(&limits, gateway::budget::LISTENERS).into(),
        ),
        ("keystore-server", keystore_server::budget().into()),
        ("record-server", record_server::budget(sessions).into()),
        (
            "kernel-shim",
            kernel_shim::budget(handshakes, sessions).into(),
        ),
        ("director", director::budget(handshakes).into()),
        (
            "offload-server",
            offload_server::budget(handshakes, sessions, clients).into(),
        ),
        (
            "gateway",
            gateway::budget::budget(sessions, connections, handshakes).into(),
        ),
    ];
    let heap = |name: &str| {
        let domains = description.domains.iter();
        let found = domains.filter(|domain| domain.name == name);
        found.map(|domain| domain.heap).next()
    };
    tables
        .into_iter()
        .filter_map(|(domain, lines)| {
            Some(Budget {
                domain,
                lines,
                heap: heap(domain)?,
            })
        })
        .collect()
}

/// The tables, for a person.
pub(crate) fn page(budgets: &[Budget], description: &Description) -> String {
    let mut page = String::new();
    let is_here = |name: &String| budgets.iter().any(|budget| budget.domain == name);
    let others = description.domains.iter().filter(|d| !is_here(&d.name));
    for Domain { name, heap, .. } in others {
        let heap = heap / 1024;
        let _ = writeln!(
            page,
            "{name}: its program has the table for its heap of {heap} KiB"
        );
    }
    for budget in budgets {
        // A String takes what is written to it.
        let _ = writeln!(page, "{}: bytes of heap at most", budget.domain);
        for Line { what, count, bytes } in &budget.lines {
            let _ = writeln!(
                page,
                "  {what:<28} {count:>6} x {bytes:>9} = {:>10}",
                count * bytes
            );
        }
        let sum = total(&budget.lines);
        let _ = writeln!(
            page,
            "  {:<28} {:>6}   {:>9}   {sum:>10}; with gaps {} of {} KiB{}",
            "sum",
            "",
            "",
            needed(&budget.lines).div_ceil(1024),
            budget.heap / 1024,
            if budget.fits() { "" } else { "  TOO MUCH" },
        );
    }
    page
}

/// Refuses a description in which a domain can be made to hold more than its heap.
///
/// # Errors
/// Which domain, what it needs, and what to do.
pub(crate) fn check(budgets: &[Budget]) -> Result<()> {
    match budgets.iter().find(|budget| !budget.fits()) {
        None => Ok(()),
        Some(budget) => bail!(
            "{} can be made to hold {} KiB and has a heap of {} KiB: give it a larger heap, \
             or its channels fewer slots, in image/system.toml",
            budget.domain,
            needed(&budget.lines).div_ceil(1024),
            budget.heap / 1024,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_domain_has_the_heap_that_it_needs_however_much_memory_there_is() {
        let path = image::workspace::description().unwrap();
        let heaps = |description: &Description| -> Vec<(String, u64)> {
            let tables: Vec<_> = budgets(description).iter().map(|b| b.domain).collect();
            let domains = description.domains.iter();
            let others = domains.filter(|domain| !tables.contains(&&*domain.name));
            others
                .map(|domain| (domain.name.clone(), domain.heap))
                .collect()
        };
        let others = heaps(&image::check::load(&path).unwrap());
        for mib in (128..600).chain([1024, 3072]) {
            let description = image::check::load_for(&path, Some(mib << 20)).unwrap();
            assert_eq!(heaps(&description), others, "what grows has its table here");
            if let Err(error) = check(&budgets(&description)) {
                panic!("{mib} MiB: {error}");
            }
        }
    }

    #[test]
    fn the_shipped_description_fits_and_one_with_a_heap_too_small_is_refused() {
        let path = image::workspace::description().unwrap();
        let description = image::check::load(&path).unwrap();
        let connections = description.applications[0].tcp_connections;
        let shipped = netstack_server::Limits::SHIPPED.connections;
        assert_eq!(usize::from(connections), shipped, "what its tests have");
        let mut budgets = budgets(&description);
        assert_eq!(budgets.len(), 7, "each table is that of a domain");
        check(&budgets).unwrap();
        assert!(page(&budgets, &description).contains("offload-server: bytes of heap at most"));
        budgets[2].heap = 3 << 20;
        let error = check(&budgets).unwrap_err().to_string();
        assert!(
            error.starts_with("record-server can be made to hold"),
            "{error}"
        );
        assert!(page(&budgets, &description).contains("TOO MUCH"));
    }
}
