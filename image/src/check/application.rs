//! What applications name, and that they have it each for itself.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use ipc::badge::Badge;

use crate::description::{Application, Channel, Description, Signal, Window};

/// An application with what it names.
pub(crate) struct Named<'a> {
    pub(crate) application: &'a Application,
    pub(crate) plaintext: &'a Channel,
    pub(crate) window: &'a Window,
    pub(crate) net: &'a str,
    pub(crate) record: &'a str,
    pub(crate) shim: &'a str,
}

/// Looks up what an application names.
pub(crate) fn named<'a>(
    description: &'a Description,
    application: &'a Application,
) -> Result<Named<'a>> {
    let channel = |name: &str| {
        let mut channels = description.channels.iter();
        let channel = channels.find(|channel| channel.name == *name);
        let channel = channel.with_context(|| format!("there is no channel \"{name}\""))?;
        match &channel.between {
            [a, b] if *a == application.domain => Ok((channel, b.as_str())),
            [a, b] if *b == application.domain => Ok((channel, a.as_str())),
            _ => bail!("the channel \"{name}\" does not lead to it"),
        }
    };
    let (_, net) = channel(&application.connections)?;
    let (plaintext, record) = channel(&application.plaintext)?;
    let name = &application.sessions;
    let window = description.windows.iter().find(|w| w.name == *name);
    let window = window.with_context(|| format!("there is no window \"{name}\""))?;
    ensure!(
        window.holder == application.domain,
        "the window \"{name}\" is held by {}",
        window.holder
    );
    Ok(Named {
        application,
        plaintext,
        window,
        net,
        record,
        shim: &window.manager,
    })
}

/// Checks what applications name, and that they have it each for itself.
pub(crate) fn check(description: &Description) -> Result<()> {
    let mut domains = BTreeSet::new();
    for application in &description.applications {
        let name = &application.domain;
        ensure!(
            domains.insert(name),
            "application {name}: it is described twice"
        );
        check_one(description, application).with_context(|| format!("application {name}"))?;
    }
    windows(description)?;
    pools(description)?;
    apart(description)
}

/// Only who reads and writes as there is room can live with a ring that borrows: bytes of
/// sessions and connections, not messages that have to be whole.
fn pools(description: &Description) -> Result<()> {
    let applications = &description.applications;
    for channel in &description.channels {
        let has_pool = channel.a_to_b_pool.is_some() || channel.b_to_a_pool.is_some();
        let mut is_of_bytes = false;
        for application in applications {
            let named = named(description, application)?;
            let [a, b] = &channel.between;
            let ends = [a.as_str(), b.as_str()];
            is_of_bytes |= channel.name == application.plaintext
                || channel.name == application.connections
                || ends == [named.net, named.record]
                || ends == [named.record, named.net];
        }
        ensure!(
            !has_pool || is_of_bytes,
            "channel {}: it carries messages, which have to be whole: no pool can lend for them",
            channel.name
        );
    }
    Ok(())
}

/// The shim hands out a capability for each session to who works on all of them, too.
fn windows(description: &Description) -> Result<()> {
    let applications = &description.applications;
    let (mut sessions, mut shim) = (0, None);
    for application in applications {
        let named = named(description, application)?;
        sessions += u32::from(named.plaintext.slots);
        shim = Some(named.shim);
    }
    let is_of_all = |window: &&Window| {
        Some(&*window.manager) == shim && applications.iter().all(|a| a.sessions != window.name)
    };
    for window in description.windows.iter().filter(is_of_all) {
        ensure!(
            sessions <= window.slots,
            "the window \"{}\" has {} slots for {sessions} sessions",
            window.name,
            window.slots
        );
    }
    Ok(())
}

/// No application takes the processor from another by tricks: the kernel charges time in
/// servers to nobody, so one of two at one priority could have all of it (ADR 0150).
fn apart(description: &Description) -> Result<()> {
    let mut taken = BTreeMap::new();
    for Application { domain, .. } in &description.applications {
        let mut domains = description.domains.iter();
        let found = domains.find(|found| found.name == *domain);
        let priority = found.map(|found| found.priority);
        if let Some(other) = taken.insert(priority, domain) {
            bail!(
                "applications {other} and {domain} have one priority: one could starve the other"
            );
        }
    }
    Ok(())
}

fn check_one(description: &Description, application: &Application) -> Result<()> {
    let name = &application.domain;
    let named = named(description, application)?;
    let slots = named.plaintext.slots;
    ensure!(
        u32::from(slots) <= named.window.slots,
        "the window \"{}\" has {} slots for {slots} sessions",
        named.window.name,
        named.window.slots
    );
    let mut numbers = BTreeSet::new();
    for server in [named.shim, named.net] {
        let mut calls = description.calls.iter();
        let call = calls.find(|call| call.from == *name && call.to == *server);
        let Some(Badge::Client(number)) = call.and_then(|call| Badge::from_word(call.badge)) else {
            bail!("it does not call {server} by a client number");
        };
        numbers.insert(number);
    }
    ensure!(
        numbers.len() == 1,
        "{} and {} know it by different client numbers",
        named.shim,
        named.net
    );
    let is_told = |signal: &Signal| signal.from == named.shim && signal.to == *name;
    ensure!(
        description.signals.iter().any(is_told),
        "{} does not signal it: it is not told of a handshake that is over",
        named.shim
    );
    // Without `[restart]` no domain is restarted.
    let is_restarted = description.restart.limit > 0;
    for server in [named.net, named.record, named.shim] {
        let mut domains = description.domains.iter();
        let server = domains.find(|domain| domain.name == *server);
        ensure!(
            !is_restarted || server.is_some_and(|server| server.restarts.contains(name)),
            "it is not restarted with {}, which holds its sessions",
            server.map_or("", |server| &server.name)
        );
    }
    Ok(())
}
