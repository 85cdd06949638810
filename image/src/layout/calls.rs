//! Calls and signals.

use init::Capability;
use ipc::badge::Badge;

use super::builder::Builder;
use super::constant::{hex, upper};

impl Builder<'_> {
    pub(super) fn calls(&mut self) {
        for call in &self.description.calls {
            let domain = self.number(&call.to);
            let badge = call.badge;
            let cptr = self.give(&call.from, Capability::Call { domain, badge });
            self.domain(&call.from).constant(
                &format!("Calls `{}`.", call.to),
                &format!("CALL_{}", upper(&call.to)),
                "u64",
                hex(cptr),
            );
            if let Some(Badge::Client(client)) = Badge::from_word(badge) {
                self.domain(&call.to).constant(
                    &format!("The client number of `{}`.", call.from),
                    &format!("CLIENT_{}", upper(&call.from)),
                    "u16",
                    client.to_string(),
                );
            }
        }
    }

    pub(super) fn signals(&mut self) {
        let description = self.description;
        for to in &description.domains {
            let peers = description.peers_signalling(&to.name);
            for (bit, from) in peers.into_iter().enumerate() {
                let badge = 1 << bit;
                let domain = self.number(&to.name);
                let cptr = self.give(from, Capability::Signal { domain, badge });
                self.domain(from).constant(
                    &format!("Signals `{}`.", to.name),
                    &format!("SIGNAL_{}", upper(&to.name)),
                    "u64",
                    hex(cptr),
                );
                self.domain(&to.name).constant(
                    &format!("The bit of signals from `{from}`."),
                    &format!("FROM_{}", upper(from)),
                    "u64",
                    hex(badge),
                );
            }
        }
    }
}
