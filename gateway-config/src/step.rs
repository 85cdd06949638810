//! The word `refuse` of `[[keyring]]`: steps of directed handshakes that the
//! shim refuses where the ring is used.

use ipc::provision::{Listener, RefusedSteps};
use ipc::step::Step;
use ipc::tls::Mode;

use crate::keyring;
use crate::problem::Problem;
use crate::words::Words;

/// Reads the key `refuse` of every key ring; the tables themselves were read before.
pub(crate) fn read(file: &Words<'_>, listeners: &[Listener]) -> Result<Vec<RefusedSteps>, Problem> {
    let every = Step::ALL.map(|step| (step.name(), step));
    let list = match file.optional("keyring") {
        Some(word) => word.list()?,
        None => Vec::new(),
    };
    let mut refused = Vec::new();
    for word in list {
        let words = word.table("[[keyring]]", &keyring::WORDS)?;
        let Some(word) = words.optional("refuse") else {
            continue;
        };
        let keyring = keyring::label(words.required("label", "\"web\"")?)?;
        let steps = word.choices(&every)?;
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
        refused.push(RefusedSteps { keyring, steps });
    }
    Ok(refused)
}
