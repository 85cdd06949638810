//! What each domain can be made to hold, beside the heap that the description gives it.
//! Each domain's program compares the same table with its heap when it is compiled.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use image::description::Description;
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

/// The tables of the domains that the description has, by its counts.
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
pub(crate) fn page(budgets: &[Budget]) -> String {
    let mut page = String::new();
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
        for mib in (128..600).chain([1024, 3072]) {
            let description = image::check::load_for(&path, Some(mib << 20)).unwrap();
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
        assert_eq!(budgets.len(), description.domains.len());
        check(&budgets).unwrap();
        assert!(page(&budgets).contains("offload-server: bytes of heap at most"));
        budgets[2].heap = 3 << 20;
        let error = check(&budgets).unwrap_err().to_string();
        assert!(
            error.starts_with("record-server can be made to hold"),
            "{error}"
        );
        assert!(page(&budgets).contains("TOO MUCH"));
    }
}
