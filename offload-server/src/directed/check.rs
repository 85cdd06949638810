//! Checking what the peer signed and what it sealed (R16, R17, R25, R28, R29).

use subtle::ConstantTimeEq;
use tls::certificate_verify::{PADDING, context};
use tls::{Alert, Role, Version};

use super::{Directed, Fault, Keys};

impl Directed {
    /// RFC 8446 §4.4.3, RFC 5246 §7.4.8.
    pub(super) fn verify_signature(&mut self, offset: usize) -> Result<(), Fault> {
        let version = self.version().ok_or(Fault::INTERNAL)?;
        let message = self.message.as_ref().ok_or(Fault::INTERNAL)?;
        let signed = message.body().get(offset..).ok_or(Fault::INTERNAL)?;
        let peer = core::mem::take(&mut self.peer);
        let allowed = &self.peer_schemes;
        let (peer, scheme) = match (version, self.role) {
            (Version::Tls13, _) => {
                let hash = self.transcript.hash().ok_or(Fault::INTERNAL)?;
                let context = context(self.peer_role());
                let content = [&PADDING, context, hash.as_ref()].concat();
                peer.verify(version, &content, signed, allowed)?
            }
            (Version::Tls12, Role::Server) => {
                let content = self.transcript.messages().ok_or(Fault::INTERNAL)?;
                peer.verify(version, content, signed, allowed)?
            }
            (Version::Tls12, Role::Client) => {
                let parameters = message.body().get(..offset).unwrap_or_default();
                let content = [&self.own_random[..], &self.peer_random, parameters].concat();
                peer.verify(version, &content, signed, allowed)?
            }
        };
        self.peer = peer;
        self.peer_scheme = Some(scheme);
        Ok(())
    }

    pub(super) fn validate_mac(&mut self) -> Result<(), Fault> {
        const WRONG: Fault = Fault::Refused(Alert::DECRYPT_ERROR);
        let hash = self.transcript.hash().ok_or(Fault::INTERNAL)?;
        let sender = self.peer_role();
        let message = self.message.as_ref().ok_or(Fault::INTERNAL)?;
        if message.is_in_transcript {
            return Err(Fault::INTERNAL);
        }
        let claimed = message.body();
        let is_good = match &self.keys {
            Keys::Handshake { traffic, .. } | Keys::Application { traffic, .. } => {
                let expected = traffic.verify_data(sender, hash.as_ref());
                expected.ok_or(Fault::INTERNAL)?.as_ref().ct_eq(claimed)
            }
            Keys::Master(master) => master.verify_data(sender, hash.as_ref()).ct_eq(claimed),
            Keys::None | Keys::Agreed(_) | Keys::PreMaster(_) => return Err(Fault::INTERNAL),
        };
        if !bool::from(is_good) {
            return Err(WRONG);
        }
        self.absorb();
        if self.is_encrypted_to_peer {
            self.peer = core::mem::take(&mut self.peer).proved_by_decryption();
        }
        self.is_peer_finished = true;
        Ok(())
    }
}
