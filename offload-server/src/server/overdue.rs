//! Revocation lists and OCSP responses that are out of date, and certificates that will be.

use ipc::clock::Clock;
use ipc::stats;
use ipc::tls::Label;

use super::{Platform, Server};
use crate::revocation::Watch;

/// Watches both.
pub(super) struct Overdue {
    crls: Watch,
    responses: Watch,
}

impl Overdue {
    pub(super) const fn new() -> Self {
        Self {
            crls: Watch::of_crls(),
            responses: Watch::of_responses(),
        }
    }
}

impl<P: Platform> Server<'_, P> {
    /// Looks whether one is out of date since the last time, where there are any.
    pub(super) fn look_at_overdue(&mut self) {
        let Overdue { crls, responses } = &mut self.overdue;
        let watches = [
            (crls, stats::offload::CRLS_OVERDUE),
            (responses, stats::offload::OCSP_OVERDUE),
        ];
        for (watch, counter) in watches {
            if !watch.is_on() {
                continue;
            }
            let now = self.clock.unix_seconds();
            if let Some(count) = watch.look(self.credentials.keyrings(), now) {
                self.stats.set(counter, count);
            }
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
        self.overdue.crls.tell()
    }

    /// The same of OCSP responses.
    pub fn overdue_response(&mut self) -> Option<Label> {
        self.overdue.responses.tell()
    }
}
