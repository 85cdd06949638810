//! Sessions that are held: what one more costs in memory, how many there can be, and
//! what they do to the next handshake.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use image::description::Description;
use ipc::budget::Line;

use super::client::{Client, Port, ask};
use super::site::Running;
use crate::bench::hostile::honest::Session;

/// How long the next session may take before the machine counts as full.
const PATIENCE: Duration = Duration::from_secs(6);

/// Opens `count` sessions; each asks once, and stays.
///
/// # Errors
/// One of them is not served.
pub(super) fn hold(running: &Running<'_>, client: &Client, count: usize) -> Result<Vec<Session>> {
    let one =
        |number| next(running, client).with_context(|| format!("session {number} of {count}"));
    (1..=count).map(one).collect()
}

/// How many sessions the machine holds so that each is still served: they are opened
/// until the next is not served, `tried` at most, and then asked again.
///
/// # Errors
/// The machine can't be reached at all.
pub(super) fn most(
    running: &Running<'_>,
    client: &Client,
    mut held: Vec<Session>,
    tried: usize,
) -> Result<usize> {
    while held.len() < tried {
        match next(running, client) {
            Ok(session) => held.push(session),
            Err(_) => break,
        }
    }
    let is_served = |session: &mut Session| ask(session, Instant::now() + PATIENCE).is_ok();
    Ok(held
        .iter_mut()
        .filter_map(|s| is_served(s).then_some(()))
        .count())
}

fn next(running: &Running<'_>, client: &Client) -> Result<Session> {
    let deadline = Instant::now() + PATIENCE;
    let mut session = client.connect(running.address(Port::Proxied)?, deadline)?;
    ask(&mut session, deadline)?;
    Ok(session)
}

/// Bytes of memory for one more proxied session, all domains together: its rings, what the
/// domains' budgets have for it, and both its sockets with their buffers.
///
/// # Errors
/// A channel of sessions has another name.
pub(super) fn session_bytes(description: &Description) -> Result<u64> {
    const CHANNELS: [&str; 4] = ["protected", "plaintext", "backend", "session-ends"];
    let mut bytes = 0;
    for name in CHANNELS {
        let mut channels = description.channels.iter();
        let channel = channels.find(|channel| channel.name == name);
        let channel = channel.with_context(|| format!("there is no channel {name}"))?;
        bytes += channel.bytes_per_slot();
    }
    let more = one_more(&record_server::budget(0), &record_server::budget(1))
        + one_more(&kernel_shim::budget(0, 0), &kernel_shim::budget(0, 1))
        + one_more(
            &offload_server::budget(0, 0, 1),
            &offload_server::budget(0, 1, 1),
        )
        + one_more(
            &gateway::budget::budget(0, 0, 0),
            &gateway::budget::budget(1, 1, 0),
        );
    let sockets = 2 * netstack_server::budget::WITH_SOCKET;
    Ok(bytes + (more + sockets) as u64)
}

fn one_more(without: &[Line], with: &[Line]) -> usize {
    ipc::budget::total(with) - ipc::budget::total(without)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_takes_its_rings_its_sockets_and_its_part_of_the_heaps() {
        let path = image::workspace::description().unwrap();
        let mut description = image::load::file(&path).unwrap().into_inner();
        let before = session_bytes(&description).unwrap();
        let channels = &mut description.channels;
        let rings = image::description::Channel::bytes_per_slot;
        let plaintext = channels.iter_mut().find(|c| c.name == "plaintext").unwrap();
        let its = rings(plaintext);
        assert!(
            before > its + netstack_server::budget::WITH_SOCKET as u64,
            "{before}"
        );
        for pool in [&mut plaintext.a_to_b_pool, &mut plaintext.b_to_a_pool] {
            pool.as_mut().unwrap().guaranteed *= 2;
        }
        assert_eq!(session_bytes(&description).unwrap(), before + its);
        description
            .channels
            .retain(|channel| channel.name != "backend");
        assert!(session_bytes(&description).is_err());
    }
}
