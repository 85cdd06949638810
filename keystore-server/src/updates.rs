//! Updates of key rings.

use core::time::Duration;

use ipc::channel::Doorbell;
use ipc::clock::{Clock, Instant};
use keystore_server::Server;
use keystore_server::firmware::{Kek, KeyError};
use keystore_server::rotation::Line;
use sel4::cap::IrqHandler;
use sel4::runtime::{Bell, Ports, SystemClock, wake_at};

/// The first port of the line, as in `image/system.toml`.
const LINE: u16 = 0x2f8;

/// Updates of key rings, and the notification of the offload component.
pub(crate) struct Updates {
    line: Option<Line<Ports>>,
    interrupt: IrqHandler,
    offload: Bell,
    /// When rings were replaced.
    replaced: Instant,
}

/// How long a handshake may go on with rings that were replaced.
const KEPT_AFTER_ROTATION: Duration = Duration::from_secs(60);

impl Updates {
    pub(crate) fn new(
        server: &Server<'_>,
        ports: Ports,
        interrupt: IrqHandler,
        offload: Bell,
    ) -> Self {
        let line = server.is_rotatable().then(|| Line::new(ports, LINE));
        let updates = Self {
            line: line.flatten(),
            interrupt,
            offload,
            replaced: SystemClock.now(),
        };
        // Replacement rings were lost when the previous run terminated.
        updates.offload.ring();
        updates
    }

    /// Takes what has come; true when secrets may be on the stack.
    pub(crate) fn run(
        &mut self,
        server: &mut Server<'_>,
        key: impl Fn() -> Result<Kek, KeyError>,
    ) -> bool {
        // First: what comes from here on makes another one.
        let _ = self.interrupt.ack();
        let Some(line) = &mut self.line else {
            return false;
        };
        let told = |outcome: &str| sel4::log!("key rings: {outcome}");
        let ran = line.run(server, &key, SystemClock.now(), told);
        if ran.is_new {
            self.replaced = SystemClock.now();
            self.offload.ring();
        }
        wake_at(ran.more_at.unwrap_or(Instant::NEVER));
        true
    }

    /// Gives up the rings that were replaced when no handshake needs them any
    /// more.
    pub(crate) fn expire(&self, server: &mut Server<'_>) {
        if SystemClock.now() - self.replaced > KEPT_AFTER_ROTATION {
            server.forget_replaced();
        }
    }
}
