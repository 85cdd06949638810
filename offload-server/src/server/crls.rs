//! Revocation lists that are out of date, and certificates that will be.

use ipc::clock::Clock;
use ipc::stats;
use ipc::tls::Label;

use super::{Platform, Server};

impl<P: Platform> Server<'_, P> {
    /// Looks whether one is out of date since the last time, where there are any.
    pub(super) fn look_at_crls(&mut self) {
        if !self.crls.is_on() {
            return;
        }
        let now = self.clock.unix_seconds();
        if let Some(count) = self.crls.look(self.credentials.keyrings(), now) {
            self.stats.set(stats::offload::CRLS_OVERDUE, count);
        }
    }

    /// Tells until when the certificates are valid that the rings show.
    pub(super) fn tell_rings(&self) {
        let rings = self.credentials.keyrings();
        let none = Label::default();
        for place in 0..stats::RINGS {
            let ring = rings.get(place);
            let until = ring.and_then(|ring| ring.shown_until()).unwrap_or(0);
            let label = ring.map_or(&none, |ring| &ring.label);
            self.stats.set_ring(place, label, until);
        }
    }

    /// A key ring of which a revocation list is out of date, each once after its rings were
    /// fetched: for the log. Call it after [`Server::flush`].
    pub fn overdue_crl(&mut self) -> Option<Label> {
        self.crls.tell()
    }
}
