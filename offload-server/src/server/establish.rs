//! From a finished handshake to a session: keys to the record layer, facts to the shim.

use alloc::boxed::Box;

use ipc::bounded::Blob;
use ipc::channel::SlotIndex;
use ipc::clock::Clock;
use ipc::control::{Established, HandshakeError, Resource};
use ipc::handshake::Completion;
use ipc::record::{Answer, MAX_CERTIFICATE_PART, Request};
use ipc::stats;
use tls::TrafficKey;

use super::{Platform, Server};
use crate::convert;
use crate::finished::Finished;
use crate::in_progress::Entry;
use crate::session::SessionSlot;

const INTERNAL: HandshakeError = HandshakeError::Resource(Resource::Internal);

impl<P: Platform> Server<'_, P> {
    /// Installs the keys and reports what was agreed on, or why there is no session (R30,
    /// R31).
    pub(super) fn establish(
        &mut self,
        slot: SlotIndex,
        entry: &Entry,
        finished: Result<Finished, HandshakeError>,
    ) {
        let generation = entry.generation;
        match finished.and_then(|finished| self.install(entry, finished)) {
            Ok(established) => {
                self.stats.add(stats::offload::FINISHED, 1);
                self.count_in_progress();
                self.net.close(slot);
                self.established.push(Completion::Established {
                    slot,
                    generation,
                    established,
                });
            }
            Err(error) => self.fail(slot, generation, error),
        }
    }

    fn install(
        &mut self,
        entry: &Entry,
        finished: Finished,
    ) -> Result<Box<Established>, HandshakeError> {
        let session = entry.session;
        let Finished {
            role,
            keys: (tx, rx),
            record_limit,
            exporter,
            mut established,
            ..
        } = finished;
        let suite = established.suite;
        if entry.expose_keys {
            let check = |key| convert::key_check(suite, key);
            established.key_check = Some((check(&tx), check(&rx)));
            established.keys = Some((copy(&tx).ok_or(INTERNAL)?, copy(&rx).ok_or(INTERNAL)?));
        }
        let install = Request::Install {
            generation: session.generation,
            role,
            suite,
            tx,
            rx,
            record_limit,
            exporter,
        };
        self.hand_over(session, &install, &finished.certificate)?;
        if let Some(secrets) = finished.secrets {
            self.sessions.keep(session, role, secrets, finished.tickets);
        }
        established.installed = self.clock.now();
        Ok(established)
    }

    /// Installs the keys of a session at the record layer, and has it keep the peer's
    /// certificate.
    fn hand_over(
        &self,
        session: SessionSlot,
        install: &Request,
        certificate: &[u8],
    ) -> Result<(), HandshakeError> {
        let record = (self.install)(session.slot);
        let done = |answer| match answer {
            Ok(Ok(Answer::Done)) => Ok(()),
            _ => Err(INTERNAL),
        };
        done(record.call(install))?;
        for part in certificate.chunks(MAX_CERTIFICATE_PART) {
            let part = Blob::from_slice(part).map_err(|_| INTERNAL)?;
            done(record.call(&Request::KeepCertificate { part }))?;
        }
        Ok(())
    }
}

fn copy(key: &TrafficKey) -> Option<TrafficKey> {
    use tls::Secret;
    Some(TrafficKey {
        key: Secret::from_slice(key.key.expose()).ok()?,
        iv: Secret::from_slice(key.iv.expose()).ok()?,
        sequence: key.sequence,
    })
}
