//! Segments that are done at once.

use alloc::sync::Arc;

use ipc::bounded::List;
use ipc::segment::{MAX_PART, Segment, Verdict};
use rustls::SupportedCipherSuite;
use rustls::pki_types::{CertificateDer, ServerName};
use tls::client_hello::ClientHello;
use tls::codec::Reader;
use tls::{Alert, CipherSuite, ExtensionType, Role, Version};

use super::peer::Peer;
use super::{Context, Directed, Fault, Message, name, resumption};
use crate::certified;
use crate::convert;
use crate::full_handshake::FullHandshake;
use crate::keyring::Keyring;

impl Directed {
    pub(super) fn act(
        &mut self,
        segment: &Segment,
        context: &Context<'_>,
    ) -> Result<Verdict, Fault> {
        match segment {
            Segment::Show { offset } => return self.show(usize::from(*offset), MAX_PART),
            Segment::FindIdentity { server_name } => {
                let name = ServerName::try_from(&***server_name).ok();
                let names =
                    |ring: &Arc<Keyring>| name.as_ref().is_some_and(|name| ring.is_valid_for(name));
                let named = List::from_items(self.rings.iter().map(names));
                return Ok(Verdict::Named(named.unwrap_or_default()));
            }
            Segment::FindIssued { authorities } => {
                let message = self.message.as_ref().ok_or(Fault::INTERNAL)?;
                let names = names(resumption::part(message.body(), *authorities)?);
                let issued = |ring: &Arc<Keyring>| ring.is_issued_by(names.clone());
                let issued = List::from_items(self.rings.iter().map(issued));
                return Ok(Verdict::Named(issued.unwrap_or_default()));
            }
            Segment::Negotiate { suite, peer_random } => {
                self.negotiate(*suite, peer_random)?;
                // For a peer without a certificate, if none is inherited.
                let now = context.moment();
                self.full
                    .get_or_insert_with(|| FullHandshake::new(now, &[]));
            }
            Segment::Restart => {
                if self.role == Role::Server {
                    self.absorb();
                }
                self.transcript.restart().ok_or(Fault::INTERNAL)?;
            }
            Segment::Write(template) => {
                // Nobody answers amid the peer's flight.
                self.inbound.must_be_empty()?;
                self.absorb();
                let message = self.complete(template, context)?;
                self.transcript.add_ours(&message);
                self.outbound.message(&message);
            }
            Segment::WriteChangeCipherSpec => {
                self.outbound.change_cipher_spec()?;
                if self.version() == Some(Version::Tls12) {
                    let protection = self.pending.0.take().ok_or(Fault::INTERNAL)?;
                    self.outbound.protect(protection)?;
                }
            }
            Segment::Agree { share } => self.agree(share)?,
            Segment::Encapsulate { group, share } => self.encapsulate(*group, *share)?,
            Segment::Decapsulate { group, share } => self.decapsulate(*group, *share)?,
            Segment::Derive(stage, limit) => {
                self.derive(*stage)?;
                self.outbound.limit_records(*limit);
            }
            Segment::DecodeCertificate => {
                let version = self.version().ok_or(Fault::INTERNAL)?;
                let message = self.message.as_ref().ok_or(Fault::INTERNAL)?;
                let chain = Peer::decode(version, message.body())?;
                let suite = self.suite.ok_or(Fault::INTERNAL)?;
                let fits = |certificate: &CertificateDer<'_>| certified::is_for(suite, certificate);
                // A client's goes with any suite.
                if self.role == Role::Client && !chain.first().is_none_or(fits) {
                    return Err(Fault::Refused(Alert::ILLEGAL_PARAMETER));
                }
                let count = u8::try_from(chain.len()).map_err(|_| Fault::INTERNAL)?;
                self.peer = match count {
                    0 => Peer::Unknown,
                    _ => Peer::Shown(chain),
                };
                return Ok(Verdict::Certificates { count });
            }
            Segment::ValidateChain { server_name } => {
                let peer = core::mem::take(&mut self.peer);
                let name = name(server_name);
                let rings = self.judges()?;
                let now = context.unix_time;
                let (peer, until) = peer.validate(self.peer_role(), name, rings, now)?;
                let full = FullHandshake::new(context.moment(), peer.chain());
                (self.peer, self.full) = (peer, Some(full.no_longer_than(until)));
            }
            Segment::VerifySignature { offset } => self.verify_signature(usize::from(*offset))?,
            Segment::ValidateMac => self.validate_mac()?,
            Segment::Decrypt {
                ring,
                client_version,
                offset,
            } => self.decrypt(*ring, *client_version, usize::from(*offset), context)?,
            Segment::TakeTicket => return self.take_ticket(context),
            Segment::OpenTicket {
                ring,
                version,
                server_name,
                ticket,
            } => {
                self.settle(*ring)?;
                return self.open_ticket(*version, name(server_name), *ticket, context);
            }
            Segment::Resume { binder } => self.resume(binder.as_ref())?,
            Segment::PrepareTicket { server_name } => {
                return self.prepare_ticket(name(server_name), context);
            }
            Segment::KeepTicket => self.keep_ticket(context)?,
            // `Waiting` has taken these: a directive that waits for the connection as well
            // gets a variant there.
            Segment::Receive { .. }
            | Segment::ReceiveChangeCipherSpec
            | Segment::Finish(_)
            | Segment::Abort { .. } => return Err(Fault::INTERNAL),
        }
        Ok(Verdict::Done)
    }

    fn negotiate(&mut self, suite: CipherSuite, peer_random: &[u8; 32]) -> Result<(), Fault> {
        let supported = convert::primitives(suite).ok_or(Fault::INTERNAL)?;
        if self.suite.is_some_and(|known| known != suite) {
            return Err(Fault::INTERNAL);
        }
        let hash = match supported {
            SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
            SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
        };
        // RFC 5246 §7.4.8: a client signs the messages, not their hash.
        let is_signed = self.role == Role::Client || self.asks_peer;
        let keep = suite.version() == Version::Tls12 && is_signed;
        self.transcript.start(hash, keep);
        self.inbound.version = Some(suite.version());
        // RFC 8446 §4.1.2: a second ClientHello offers none.
        if self.role == Role::Server
            && self.suite.is_none()
            && suite.version() == Version::Tls13
            && self.message.as_ref().is_some_and(offers_early_data)
        {
            self.inbound.skip_early_data();
        }
        self.suite = Some(suite);
        self.peer_random = *peer_random;
        Ok(())
    }

    /// Adds the message received last to the transcript, once.
    pub(super) fn absorb(&mut self) {
        if let Some(message) = self.message.as_mut().filter(|m| !m.is_in_transcript) {
            self.transcript.add(&message.bytes);
            message.is_in_transcript = true;
        }
    }
}

/// Names after their lengths, up to one that can't be read.
fn names(list: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let mut list = Reader::new(list);
    core::iter::from_fn(move || Some(list.vec16().ok()?.rest()))
}

/// RFC 8446 §4.2.10.
fn offers_early_data(hello: &Message) -> bool {
    let extensions = ClientHello::parse(hello.body()).and_then(|hello| hello.extensions());
    let mut extensions = extensions.unwrap_or(Reader::new(&[]));
    let kinds = core::iter::from_fn(|| extensions.next_extension().ok()?);
    kinds
        .map(|(kind, _)| kind)
        .any(|kind| kind == ExtensionType::EARLY_DATA)
}
