//! Calls and signals.

use init::Capability;

use super::builder::Builder;
use super::field::{BELL, hex, snake, taken};

impl Builder<'_> {
    pub(super) fn calls(&mut self) {
        for call in &self.description.calls {
            let domain = self.number(&call.to);
            let badge = call.badge;
            let cptr = self.give(&call.from, Capability::Call { domain, badge });
            let kind = "sel4::runtime::Caller";
            self.domain(&call.from).field(
                &format!("Calls `{}`.", call.to),
                &format!("call_{}", snake(&call.to)),
                kind,
                taken(&format!("{kind}::new"), &hex(cptr)),
            );
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
                let bell = taken(&format!("{BELL}::new"), &hex(cptr));
                self.bells.insert((from.into(), to.name.clone()), bell);
                let signals = &mut self.domain(&to.name).signals;
                signals.push((from.to_string(), badge));
            }
        }
        // Those of channels are theirs, and those that tell applications are the shim's.
        for signal in &description.signals {
            if self.serves_application(&signal.from, &signal.to) {
                continue;
            }
            let bell = self.bell(&signal.from, &signal.to);
            self.domain(&signal.from).field(
                &format!("Signals `{}`.", signal.to),
                &format!("signal_{}", snake(&signal.to)),
                BELL,
                bell,
            );
        }
    }

    /// The right of `from` to signal `to`, as source.
    pub(super) fn bell(&self, from: &str, to: &str) -> String {
        let bell = self.bells.get(&(from.to_string(), to.to_string()));
        bell.cloned().unwrap_or_default()
    }
}
