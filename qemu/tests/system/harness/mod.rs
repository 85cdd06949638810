//! What the tests of the whole system share: one booted image for all of
//! them, servers behind it, clients in front of it, and the evidence they
//! leave: log lines, packet capture, counters.
//!
//! A test begins with [`system`], or with [`alone`] when it counts something
//! that other tests would disturb, or with [`own`] when it would disturb them.

pub(crate) mod backend;
pub(crate) mod breaker;
pub(crate) mod bulk;
pub(crate) mod capture;
pub(crate) mod client;
mod configuration;
pub(crate) mod enclosure;
pub(crate) mod evidence;
pub(crate) mod go;
pub(crate) mod material;
pub(crate) mod memory;
pub(crate) mod port;
pub(crate) mod program;
pub(crate) mod python;
pub(crate) mod schedule;
pub(crate) mod shipped;
pub(crate) mod site;
pub(crate) mod upstream;
pub(crate) mod wire;

use std::path::PathBuf;
use std::sync::{LazyLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use site::{Prepared, Site};
use wire::Wire;

/// How long a single step of a test may take. Generous: the machine is shared,
/// and its processor emulated.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

static SITE: LazyLock<Result<Site, String>> =
    LazyLock::new(|| boot().map_err(|error| format!("{error:#}")));
static QUIET: RwLock<()> = RwLock::new(());

/// A booted image for one test that uses up what others need.
pub(crate) fn own(name: &str) -> Site {
    Prepared::build(name, false).unwrap().boot().unwrap()
}

/// The folder of an image that was built, not booted.
pub(crate) fn prepared(name: &str, disc: bool) -> PathBuf {
    Prepared::build(name, disc).unwrap().folder
}

/// A booted image for one test, which is its only neighbour on the network.
pub(crate) fn on_wire(name: &str) -> (Site, Wire) {
    Prepared::boot_on_wire(name).unwrap()
}

/// The booted image, shared with other tests.
pub(crate) struct Shared {
    site: &'static Site,
    _guard: RwLockReadGuard<'static, ()>,
}

/// The booted image while no other test uses it.
pub(crate) struct Alone {
    site: &'static Site,
    _guard: RwLockWriteGuard<'static, ()>,
}

/// The booted image. Built and booted by the first test that asks.
pub(crate) fn system() -> Shared {
    let guard = QUIET.read().unwrap_or_else(PoisonError::into_inner);
    Shared {
        site: booted(),
        _guard: guard,
    }
}

/// The booted image, once all other tests are out of it.
pub(crate) fn alone() -> Alone {
    let guard = QUIET.write().unwrap_or_else(PoisonError::into_inner);
    Alone {
        site: booted(),
        _guard: guard,
    }
}

fn boot() -> anyhow::Result<Site> {
    let mut prepared = Prepared::build("system", false)?;
    prepared.machine.capture = Some(prepared.folder.join("network.pcap"));
    prepared.boot()
}

fn booted() -> &'static Site {
    match &*SITE {
        Ok(site) => {
            // Rather than wait for a domain that a previous test stopped.
            site.assert_unharmed();
            site
        }
        Err(error) => panic!("{error}"),
    }
}

impl std::ops::Deref for Shared {
    type Target = Site;

    fn deref(&self) -> &Site {
        self.site
    }
}

impl std::ops::Deref for Alone {
    type Target = Site;

    fn deref(&self) -> &Site {
        self.site
    }
}
