//! A machine with more memory: how many sessions it holds, and what they do to the next
//! handshake. On a tap device: QEMU's user network has two files for each session, and looks
//! at all of them for each packet.

use std::path::Path;

use anyhow::Result;
use qemu::tap;

use super::client::{Client, KINDS};
use super::site::{self, Common};
use super::{goals, held, note};
use crate::bench::Figures;
use crate::screen::Screen;

/// MiB of memory.
const MEMORY: u32 = 512;
/// Sessions that are open while handshakes are counted once more.
const HELD: usize = 10_000;
/// So many are tried.
const TRIED: usize = 10_300;

/// A handshake beside no session and beside many, and how many there can be.
pub(super) fn measure(workspace: &Path, screen: &Screen, figures: &mut Figures) -> Result<()> {
    if let Some(reason) = tap::missing()? {
        screen.note(&format!("{HELD} sessions are not measured: {reason}"));
        return Ok(());
    }
    tap::within(|network| {
        let common = Common::apart_on_tap(workspace, network)?;
        let adjusts = common.counter.sees_steps();
        let running = site::boot(workspace, screen, &common, Some(MEMORY))?;
        let [kind, ..] = KINDS;
        let client = Client::new(kind, &common.material)?;
        let mut beside = |name: &str, what: &str| {
            let idle = screen.during(&format!("{what}: idle"), || running.idle())?;
            let counted = screen.during(what, || running.visits(&idle, &client, kind.count))?;
            note(screen, what, &counted.cost, counted.spread);
            goals::add(figures, &format!("handoff_{name}_idle"), &idle, adjusts);
            goals::add(figures, &format!("handoff_{name}"), &counted.cost, adjusts);
            anyhow::Ok(())
        };
        let title = kind.title;
        beside("alone_512", &format!("{MEMORY} MiB: {title}"))?;
        let opening = format!("{MEMORY} MiB: opening {HELD} sessions");
        let sessions = screen.during(&opening, || held::hold(&running, &client, HELD))?;
        beside("held_512", &format!("{MEMORY} MiB: {title} beside them"))?;
        let filling = format!("{MEMORY} MiB: sessions until the next is not served");
        let most = screen.during(&filling, || held::most(&running, &client, sessions, TRIED))?;
        figures.insert("sessions_512".to_string(), most as f64);
        running.stop();
        Ok(())
    })
}
