//! What the shim is told of a session, for whoever holds its capability: the peer's
//! certificate, and keying material for other protocols.

use ipc::bounded::{Blob, SecretBlob};
use ipc::channel::{Doorbell, SlotIndex};
use ipc::record::{Answer, Export, MAX_CERTIFICATE_PART, MAX_EXPORT, MAX_EXPORT_PART, RecordError};
use tls::exporter::ExportError;

use super::Server;

impl<N: Doorbell, A: Doorbell, O: Doorbell> Server<'_, N, A, O> {
    pub(super) fn certificate(
        &mut self,
        slot: SlotIndex,
        generation: u16,
        offset: u16,
    ) -> Result<Answer, RecordError> {
        let session = self.session(slot, generation)?;
        let rest = session.certificate(usize::from(offset));
        let part = rest.get(..MAX_CERTIFICATE_PART).unwrap_or(rest);
        let part = Blob::from_slice(part);
        part.map(Answer::Certificate)
            .map_err(|_| RecordError::TooLong)
    }

    /// The secret is a session's own, and goes with it.
    pub(super) fn export(
        &mut self,
        slot: SlotIndex,
        generation: u16,
        what: &Export,
    ) -> Result<Answer, RecordError> {
        let material = SecretBlob::<MAX_EXPORT>::zeroed(usize::from(what.length));
        let mut material = material.map_err(|_| RecordError::TooLong)?;
        self.has_exported = true;
        let session = self.session(slot, generation)?;
        let exported = session.exporter.export(
            session.suite,
            &what.label,
            what.context.as_deref(),
            material.expose_mut(),
        );
        exported.map_err(|error| match error {
            ExportError::Reserved => RecordError::Reserved,
            ExportError::TooLong => RecordError::TooLong,
            ExportError::Version => RecordError::BadKey,
        })?;
        let rest = material.expose().get(usize::from(what.offset)..);
        let rest = rest.unwrap_or_default();
        let part = SecretBlob::from_slice(rest.get(..MAX_EXPORT_PART).unwrap_or(rest));
        part.map(Answer::Exported).map_err(|_| RecordError::TooLong)
    }

    /// Whether keying material was derived since this was asked last: the answer, and what
    /// is left of it on the stack, are to be cleared.
    pub const fn take_exported(&mut self) -> bool {
        core::mem::replace(&mut self.has_exported, false)
    }
}
