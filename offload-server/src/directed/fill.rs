//! Filling the placeholders of a template (R11 to R15, R18, R24, R26, R27).

use alloc::vec::Vec;

use ipc::bounded::Bytes;
use ipc::keystore::ToBeSigned;
use ipc::segment::{Fill, Hole, RingPlace, Template};
use tls::codec::{Message, Writer};
use tls::names::OCSP;
use tls::server_hello::DOWNGRADED;
use tls::{ExtensionType, Group, Role, Version};

use super::{Context, Directed, Fault, Keys, peer, resumption};

impl Directed {
    /// The finished message.
    pub(super) fn complete(
        &mut self,
        template: &Template,
        context: &Context<'_>,
    ) -> Result<Vec<u8>, Fault> {
        let mut message = Message::with_capacity(template.message.len() + 64);
        let mut done = 0;
        for Hole {
            offset,
            prefix,
            fill,
        } in template.holes.iter()
        {
            let offset = usize::from(*offset);
            let part = template.message.get(done..offset).ok_or(Fault::INTERNAL)?;
            message.bytes(part);
            done = offset;
            let at = message.length();
            for _ in 0..*prefix {
                message.u8(0);
            }
            let start = message.length();
            self.fill(*fill, context, &mut message)?;
            if *prefix > 0 {
                let length = message.length() - start;
                message.set_length(at, usize::from(*prefix), length);
            }
        }
        let part = template.message.get(done..).ok_or(Fault::INTERNAL)?;
        message.bytes(part);
        message.end_message();
        message.finish().ok_or(Fault::INTERNAL)
    }

    fn fill(&mut self, fill: Fill, context: &Context<'_>, out: &mut Message) -> Result<(), Fault> {
        match fill {
            Fill::Random { downgraded } => {
                let random = random(downgraded)?;
                self.own_random = random;
                out.bytes(&random);
            }
            Fill::SameRandom => {
                out.bytes(&self.own_random);
            }
            Fill::KeyShare(group) => self.write_share(group, out)?,
            Fill::ClassicalShare => {
                let (_, half) = self.own_pair()?.hybrid_component().ok_or(Fault::INTERNAL)?;
                out.bytes(half);
            }
            // A cookie, and that once: no director makes the message longer than it was.
            Fill::Received(_) if out.length() > ipc::segment::MAX_TEMPLATE => {
                return Err(Fault::INTERNAL);
            }
            Fill::Received(place) => {
                let message = self.message.as_ref().ok_or(Fault::INTERNAL)?;
                out.bytes(resumption::part(message.body(), place)?);
            }
            Fill::EncryptedPreMaster => self.encrypt(out)?,
            Fill::Ticket => {
                out.bytes(&self.ticket()?.ticket);
            }
            Fill::TicketAge => {
                let age = self.ticket()?.obfuscated_age(context.now);
                out.bytes(&age.to_be_bytes());
            }
            Fill::Binders => self.write_binders(out)?,
            Fill::NewTicket { nonce } => self.write_ticket(nonce, out)?,
            Fill::AgeAdd => {
                out.bytes(&resumption::random::<4>()?);
            }
            Fill::Authorities(ring) => {
                self.settle(ring)?;
                let ring = self.rings.get(usize::from(ring)).ok_or(Fault::INTERNAL)?;
                out.bytes(&peer::authorities(ring));
            }
            Fill::Chain(ring) => self.write_chain(ring, false, out)?,
            Fill::StapledChain(ring) => self.write_chain(ring, true, out)?,
            Fill::Ocsp(ring) => {
                out.bytes(self.settle(ring)?.ocsp().ok_or(Fault::INTERNAL)?);
            }
            Fill::Signature { ring, scheme } => {
                let keyring = self.settle(ring)?.index;
                let parts = self.to_be_signed(context)?;
                let signature = context
                    .keystore
                    .sign(keyring, scheme, parts)
                    .ok_or(Fault::INTERNAL)?;
                out.bytes(&signature);
            }
            Fill::VerifyData => {
                let hash = self.transcript.hash().ok_or(Fault::INTERNAL)?;
                match &self.keys {
                    Keys::Handshake { traffic, .. } | Keys::Application { traffic, .. } => {
                        let data = traffic.verify_data(self.role, hash.as_ref());
                        let data = data.ok_or(Fault::INTERNAL)?;
                        out.bytes(data.as_ref());
                    }
                    Keys::Master(master) => {
                        out.bytes(&master.verify_data(self.role, hash.as_ref()));
                    }
                    Keys::None | Keys::Agreed(_) | Keys::PreMaster(_) => {
                        return Err(Fault::INTERNAL);
                    }
                }
            }
        }
        Ok(())
    }

    /// As a Certificate message of the version has it (RFC 8446 §4.4.2, RFC 5246 §7.4.2);
    /// the end entity with its OCSP response, if that is asked for in TLS 1.3.
    fn write_chain(
        &mut self,
        ring: RingPlace,
        is_stapled: bool,
        out: &mut Message,
    ) -> Result<(), Fault> {
        let is_tls13 = self.version() == Some(Version::Tls13);
        let ring = self.settle(ring)?;
        let mut response = match is_stapled {
            true => Some(ring.ocsp().ok_or(Fault::INTERNAL)?),
            false => None,
        };
        for certificate in ring.chain().ok_or(Fault::INTERNAL)? {
            out.nested24(|w| {
                w.bytes(certificate);
            });
            if !is_tls13 {
                continue;
            }
            out.nested(0, |w| {
                // RFC 8446 §4.4.2.1: a CertificateStatus.
                if let Some(response) = response.take() {
                    w.extension(ExtensionType::STATUS_REQUEST).nested(0, |w| {
                        w.u8(OCSP).nested24(|w| {
                            w.bytes(response);
                        });
                    });
                }
            });
        }
        Ok(())
    }

    fn to_be_signed(&self, context: &Context<'_>) -> Result<ToBeSigned, Fault> {
        if self.version() == Some(Version::Tls13) {
            let hash = self.transcript.hash().ok_or(Fault::INTERNAL)?;
            return Ok(ToBeSigned::Tls13CertificateVerify {
                role: self.role,
                transcript_hash: Bytes::from_slice(hash.as_ref()).map_err(|_| Fault::INTERNAL)?,
            });
        }
        if self.role == Role::Client {
            // RFC 5246 §7.4.8.
            let messages = self.transcript.messages().ok_or(Fault::INTERNAL)?;
            let parts = context.keystore.hand_over(messages);
            return parts.ok_or(Fault::INTERNAL);
        }
        let exchange = self.own_pair()?;
        let group = u16::from(exchange.group());
        debug_assert!(Group::from_number(group).is_some());
        Ok(ToBeSigned::Tls12ServerKeyExchange {
            client_random: self.peer_random,
            server_random: self.own_random,
            group,
            public_key: Bytes::from_slice(exchange.pub_key()).map_err(|_| Fault::INTERNAL)?,
        })
    }
}

fn random(downgraded: bool) -> Result<[u8; 32], Fault> {
    let mut random = resumption::random::<32>()?;
    if downgraded {
        for (to, from) in random.iter_mut().skip(24).zip(DOWNGRADED) {
            *to = from;
        }
    }
    Ok(random)
}
