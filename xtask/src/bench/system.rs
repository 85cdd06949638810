//! `cargo xtask bench --system`: what a user pays, counted on the booted image with NIC,
//! log, TCP, kernel and all domains; and beside it what nginx takes for the same in a
//! Linux guest.

mod archive;
pub(in crate::bench) mod backend;
mod charts;
mod client;
mod cost;
mod goals;
mod held;
mod large;
mod peer;
mod site;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use image::load;
use image::workspace::DESCRIPTION;
use qemu::tap;

use super::{Figures, rounded};
use crate::screen::{Screen, print};
use crate::setup::{self, Need};

use client::{Client, KINDS, Kind, OFFLOADED, Port};
use cost::{Cost, KERNEL, OTHERS};
use site::{Common, Running};

/// Sessions that are open while handshakes are counted once more.
const HELD: usize = 500;

/// So many sessions are tried on it at most.
const TRIED: usize = 2000;

/// Whom Handoff is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Peer {
    /// nginx in a Linux guest, both of Debian's packages.
    Nginx,
}

/// Measures, prints two tables, and writes JSON.
pub(super) fn run(
    workspace: &Path,
    screen: &Screen,
    peer: Option<Peer>,
    json: Option<&Path>,
    writes: bool,
) -> Result<()> {
    setup::ensure(screen, &[Need::Build, Need::Run])?;
    let common = Common::make(workspace)?;
    let description = load::file(&workspace.join(DESCRIPTION))?;
    let mut figures = Figures::new();
    figures.insert(
        "session_bytes".to_string(),
        held::session_bytes(&description)? as f64,
    );
    // First: what is missing is told at once.
    if peer == Some(Peer::Nginx) {
        let running = peer::boot(workspace, screen, &common)?;
        every_kind(screen, &running, &common, "nginx", &mut figures)?;
        running.stop();
    }
    let running = site::boot(workspace, screen, &common, None)?;
    every_kind(screen, &running, &common, "handoff", &mut figures)?;
    sessions(screen, &running, &common, &mut figures)?;
    running.stop();
    offloads(workspace, screen, peer, &mut figures)?;
    large::measure(workspace, screen, &mut figures)?;
    goals::derive(&mut figures);
    let domains = description.domains.iter().map(|domain| domain.name.clone());
    let others = [image::guest::ROOT, KERNEL, OTHERS].map(str::to_string);
    let owners: Vec<String> = domains.chain(others).collect();
    let tables = [goals::parts(&figures, &owners), goals::table(&figures)].join("\n");
    print(&tables);
    if writes {
        charts::write(workspace, &figures, &owners, &tables)?;
    }
    if let Some(file) = json {
        let text = serde_json::to_string_pretty(&rounded(&figures))? + "\n";
        fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// The first handshake after the boot, an idle second, and each kind of visit.
fn every_kind(
    screen: &Screen,
    running: &Running<'_>,
    common: &Common,
    who: &str,
    figures: &mut Figures,
) -> Result<()> {
    let adjusts = common.counter.sees_steps();
    let kinds = || KINDS.iter().filter(|kind| is_there(who, kind));
    let first = kinds().next().context("no kind of client")?;
    let client = Client::new(*first, &common.material)?;
    client
        .visit(running.address(first.port)?)
        .context("the first handshake")?;
    goals::add(figures, &format!("{who}_boot"), &running.so_far()?, adjusts);
    let idle = screen.during(&format!("{who}: an idle machine"), || running.idle())?;
    goals::add(figures, &format!("{who}_idle"), &idle, adjusts);
    for kind in kinds() {
        let client = Client::new(*kind, &common.material)?;
        let what = format!("{who}: {}", kind.title);
        let counted = screen
            .during(&what, || running.visits(&idle, &client, kind.count))
            .context(what.clone())?;
        note(screen, &what, &counted.cost, counted.spread);
        goals::add(
            figures,
            &format!("{who}_{}", kind.name),
            &counted.cost,
            adjusts,
        );
        figures.insert(format!("{who}_{}_spread", kind.name), counted.spread);
    }
    Ok(())
}

/// The bulk of both systems where the NIC has its offloads: on a tap device, with the host's
/// kernel at its other end.
fn offloads(
    workspace: &Path,
    screen: &Screen,
    peer: Option<Peer>,
    figures: &mut Figures,
) -> Result<()> {
    if let Some(reason) = tap::missing()? {
        screen.note(&format!("the NIC's offloads are not measured: {reason}"));
        return Ok(());
    }
    tap::within(|network| {
        let common = Common::on_tap(workspace, network)?;
        if peer == Some(Peer::Nginx) {
            let running = peer::boot(workspace, screen, &common)?;
            offloaded(screen, &running, &common, "nginx", figures)?;
            running.stop();
        }
        let running = site::boot(workspace, screen, &common, None)?;
        offloaded(screen, &running, &common, "handoff", figures)?;
        running.stop();
        Ok(())
    })
}

fn offloaded(
    screen: &Screen,
    running: &Running<'_>,
    common: &Common,
    who: &str,
    figures: &mut Figures,
) -> Result<()> {
    let adjusts = common.counter.sees_steps();
    let idle = screen.during(&format!("{who}: an idle machine"), || running.idle())?;
    for kind in KINDS {
        let mut names = OFFLOADED.iter();
        let Some((_, name)) = names.find(|(plain, _)| *plain == kind.name) else {
            continue;
        };
        let client = Client::new(kind, &common.material)?;
        let what = format!("{who}: {} with the NIC's offloads", kind.title);
        let counted = screen
            .during(&what, || running.visits(&idle, &client, kind.count))
            .context(what.clone())?;
        note(screen, &what, &counted.cost, counted.spread);
        goals::add(figures, &format!("{who}_{name}"), &counted.cost, adjusts);
        figures.insert(format!("{who}_{name}_spread"), counted.spread);
    }
    Ok(())
}

/// Only Handoff has directed handshakes.
fn is_there(who: &str, kind: &Kind) -> bool {
    who == "handoff" || kind.port != Port::Directed
}

/// Handshakes beside sessions that are open, and how many of those there can be.
fn sessions(
    screen: &Screen,
    running: &Running<'_>,
    common: &Common,
    figures: &mut Figures,
) -> Result<()> {
    let adjusts = common.counter.sees_steps();
    let [kind, ..] = KINDS;
    let client = Client::new(kind, &common.material)?;
    let opening = format!("handoff: opening {HELD} sessions");
    let held = screen.during(&opening, || held::hold(running, &client, HELD))?;
    let idle = screen.during("handoff: idle with them", || running.idle())?;
    goals::add(figures, "handoff_idle_held", &idle, adjusts);
    let what = format!("handoff: {} beside them", kind.title);
    let counted = screen.during(&what, || running.visits(&idle, &client, kind.count))?;
    note(screen, &what, &counted.cost, counted.spread);
    goals::add(figures, "handoff_held", &counted.cost, adjusts);
    let filling = "handoff: sessions until the next is not served";
    let most = screen.during(filling, || held::most(running, &client, held, TRIED))?;
    ensure!(most >= HELD, "of {HELD} sessions {most} are left");
    figures.insert("sessions_128".to_string(), most as f64);
    Ok(())
}

fn note(screen: &Screen, what: &str, cost: &Cost, spread: f64) {
    screen.note(&format!(
        "{what}: {} instructions; rounds differ by {:.2} %",
        super::table::grouped(cost.total()),
        spread * 100.0
    ));
}
