//! The key `refuse` of `[[keyring]]`: steps of directed handshakes that the
//! shim refuses where the ring is used.

use ipc::provision::{Listener, RefusedSteps};
use ipc::segment::Step;
use ipc::tls::{Label, Mode};

use crate::problem::Reported;
use crate::words::{Word, each};

/// The steps with their names.
pub(crate) fn every() -> [(&'static str, Step); Step::ALL.len()] {
    Step::ALL.map(|step| (step.name(), step))
}

/// Reads the key `refuse` of the key rings that have it.
pub(crate) fn read(
    refusals: &[(Label, Word<'_>)],
    listeners: &[Listener],
) -> Result<Vec<RefusedSteps>, Reported> {
    each(refusals, |(keyring, word)| {
        let keyring = keyring.clone();
        let steps = word.choices(&every())?;
        let mut handshakes = listeners.iter().flat_map(Listener::handshakes);
        if handshakes
            .any(|tls| tls.mode == Mode::Autonomous && tls.parameters.keyrings.contains(&keyring))
        {
            return Err(word.problem(
                format!(
                    "key ring \"{keyring}\" refuses steps, but an autonomous handshake has none"
                ),
                "write mode = \"directed\" in each tls that names the ring, or take refuse out",
            ));
        }
        Ok(RefusedSteps { keyring, steps })
    })
}
