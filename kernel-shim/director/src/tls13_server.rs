//! The server of TLS 1.3 (RFC 8446 §2, §A.2).
//!
//! ```text
//! ClientHello -> [HelloRetryRequest -> ClientHello ->] [ticket ->] ServerHello
//!   -> EncryptedExtensions -> [CertificateRequest ->] Certificate
//!   -> CertificateVerify -> Finished
//!   -> [client's Certificate -> [CertificateVerify ->]] client's Finished
//! ```

mod retry;
mod tickets;

use alloc::boxed::Box;

use ipc::segment::{Agreed, Fill, Segment, Stage};
use tls::codec::Writer;
use tls::{Alert, ExtensionType, HandshakeType, LEGACY_VERSION, RecordLimit, Role, Version};

use crate::client_hello::{ClientHello, Share};
use crate::key_agreement::KeyAgreement;
use crate::negotiation::{Config, Plan};
use crate::script::{ILLEGAL, INTERNAL, Input, Transition};
use crate::template::TemplateWriter;
use crate::{own, peer};

use retry::{Retry, Second};
use tickets::{NewTickets, Resumption};

/// Where the handshake is: what the segment under way will have done.
#[derive(Debug)]
pub(crate) enum State {
    Retry(Retry),
    Resumption(Resumption),
    Agreed(Box<Plan>),
    HelloWritten(HelloWritten),
    Keys(KeyAgreement, Box<Plan>),
    ExtensionsWritten(ExtensionsWritten),
    RequestWritten(RequestWritten),
    OwnFlight(own::Flight, Box<Plan>),
    ApplicationKeys(ApplicationKeys),
    ClientChain(peer::Chain, Box<Plan>),
    ClientProof(peer::Proof, Box<Plan>),
    ClientFinished(peer::Finished, Box<Plan>),
    NewTickets(NewTickets, Box<Plan>),
    Finishing,
}

#[derive(Debug)]
pub(crate) struct HelloWritten(Box<Plan>);
#[derive(Debug)]
pub(crate) struct ExtensionsWritten(Box<Plan>);
#[derive(Debug)]
pub(crate) struct RequestWritten(Box<Plan>);
#[derive(Debug)]
pub(crate) struct ApplicationKeys(Box<Plan>);

/// Decides between ServerHello and HelloRetryRequest.
pub(crate) fn begin(hello: &ClientHello, plan: Box<Plan>, config: &Config) -> Transition<State> {
    if !hello.only_null_compression {
        return Err(ILLEGAL);
    }
    match config.share(hello)? {
        Some(share) => Ok(resume(hello, plan, share, config)),
        None => {
            let (retry, segment) = Retry::begin(plan);
            Ok((State::Retry(retry), segment))
        }
    }
}

fn resume(hello: &ClientHello, plan: Box<Plan>, share: Share, config: &Config) -> (State, Segment) {
    let (resumption, segment) = Resumption::begin(hello, plan, share, config);
    (State::Resumption(resumption), segment)
}

impl State {
    pub(crate) fn next(self, input: Input<'_>, config: &Config) -> Transition<Self> {
        match self {
            Self::Retry(retry) => retry.next(input, config)?.then(
                (),
                |retry, ()| Self::Retry(retry),
                |Second { hello, plan, share }, ()| Ok(resume(&hello, plan, share, config)),
            ),
            Self::Resumption(resumption) => resumption.next(input)?.then(
                (),
                |resumption, ()| Self::Resumption(resumption),
                |(plan, share), ()| Ok(agree(plan, share)),
            ),
            Self::Agreed(plan) => {
                input.done()?;
                write_hello(plan)
            }
            Self::HelloWritten(state) => state.next(input),
            Self::Keys(keys, plan) => {
                let after = |(), plan| write_extensions(plan);
                keys.next(input)?.then(plan, Self::Keys, after)
            }
            Self::ExtensionsWritten(state) => state.next(input, config),
            Self::RequestWritten(state) => state.next(input),
            Self::OwnFlight(flight, plan) => {
                let after = |(), plan: Box<Plan>| {
                    let limit = plan.record_limit.unwrap_or(RecordLimit::NONE);
                    let state = Self::ApplicationKeys(ApplicationKeys(plan));
                    Ok((state, Segment::Derive(Stage::Application, limit)))
                };
                flight.next(input)?.then(plan, Self::OwnFlight, after)
            }
            Self::ApplicationKeys(state) => state.next(input, config),
            Self::ClientChain(chain, plan) => {
                // RFC 8446 §4.4.2.4.
                let terms = peer::Terms::of_client(config, Alert::CERTIFICATE_REQUIRED);
                let after = |has_certificate, plan| match has_certificate {
                    true => {
                        let (proof, segment) = peer::Proof::expect();
                        Ok((Self::ClientProof(proof, plan), segment))
                    }
                    false => Ok(client_finished(plan)),
                };
                chain
                    .next(input, &terms)?
                    .then(plan, Self::ClientChain, after)
            }
            Self::ClientProof(proof, plan) => {
                let after = |(), plan| Ok(client_finished(plan));
                proof.next(input)?.then(plan, Self::ClientProof, after)
            }
            Self::ClientFinished(finished, plan) => {
                let after = |(), plan| Ok(end(plan));
                finished
                    .next(input)?
                    .then(plan, Self::ClientFinished, after)
            }
            Self::NewTickets(tickets, plan) => {
                let after = |(), plan| Ok(finish(plan));
                tickets
                    .next(input, &plan)?
                    .then(plan, Self::NewTickets, after)
            }
            Self::Finishing => Err(INTERNAL),
        }
    }
}

// ---- ServerHello ----

/// Before ServerHello: a share that is none gets its alert in plaintext, and there is no
/// ciphertext before its key.
fn agree(mut plan: Box<Plan>, share: Share) -> (State, Segment) {
    let Share { group, key: share } = share;
    plan.group = group;
    (State::Agreed(plan), Segment::Encapsulate { group, share })
}

fn write_hello(plan: Box<Plan>) -> Transition<State> {
    let group = plan.group;
    let for_share = 2 + group.share_len(Role::Server);
    let mut writer = TemplateWriter::new(HandshakeType::SERVER_HELLO);
    writer
        .u16(LEGACY_VERSION)
        .hole(0, Fill::Random { downgraded: false })
        .vec8(&plan.session_id)
        .u16(plan.suite.number())
        .u8(0)
        .nested(for_share, |w| {
            // RFC 8446 §4.2.11: by its place in the client's list.
            if let Some(place) = plan.resumed {
                w.extension(ExtensionType::PRE_SHARED_KEY).u16(2).u16(place);
            }
            w.extension(ExtensionType::KEY_SHARE)
                .nested(for_share, |w| {
                    w.u16(group.number()).hole(2, Fill::KeyShare(group));
                });
            w.extension(ExtensionType::SUPPORTED_VERSIONS)
                .u16(2)
                .u16(Version::Tls13.number());
        });
    let template = writer.finish().ok_or(INTERNAL)?;
    Ok((
        State::HelloWritten(HelloWritten(plan)),
        Segment::Write(template),
    ))
}

impl HelloWritten {
    /// RFC 8446 §D.4: a ChangeCipherSpec, also for a client without a session identifier,
    /// as every other server sends it.
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let Self(plan) = self;
        let (stage, limit) = (
            Stage::Handshake,
            plan.record_limit.unwrap_or(RecordLimit::NONE),
        );
        let (keys, segment) = match plan.compatibility_sent {
            true => KeyAgreement::derive(stage, limit),
            false => KeyAgreement::with(Segment::WriteChangeCipherSpec, stage, limit),
        };
        Ok((State::Keys(keys, plan), segment))
    }
}

// ---- The server's flight ----

fn write_extensions(plan: Box<Plan>) -> Transition<State> {
    let mut writer = TemplateWriter::new(HandshakeType::ENCRYPTED_EXTENSIONS);
    writer.nested(0, |w| {
        // RFC 6066 §3: the name was of use; not where a session is resumed.
        if plan.server_name.is_some() && plan.resumed.is_none() {
            w.extension(ExtensionType::SERVER_NAME).u16(0);
        }
        if let Some(name) = &plan.alpn {
            w.extension(ExtensionType::ALPN).nested(0, |w| {
                w.len16(1 + name.len()).vec8(name);
            });
        }
        // RFC 8449 §4: an answer.
        if plan.record_limit.is_some() {
            w.extension(ExtensionType::RECORD_SIZE_LIMIT)
                .u16(2)
                .u16(RecordLimit::own(Version::Tls13));
        }
    });
    let template = writer.finish().ok_or(INTERNAL)?;
    let state = State::ExtensionsWritten(ExtensionsWritten(plan));
    Ok((state, Segment::Write(template)))
}

impl ExtensionsWritten {
    fn next(self, input: Input<'_>, config: &Config) -> Transition<State> {
        input.done()?;
        // RFC 8446 §2.2: the resumed session says who each side is.
        if self.0.resumed.is_some() {
            let (flight, segment) = own::Flight::finished()?;
            return Ok((State::OwnFlight(flight, self.0), segment));
        }
        if !config.asks_client() {
            return RequestWritten(self.0).next(Input::Done);
        }
        let mut writer = TemplateWriter::new(HandshakeType::CERTIFICATE_REQUEST);
        let ring = self.0.ring;
        let names = match config.authorities.get(usize::from(ring)) {
            None | Some(0) => 0,
            Some(bytes) => 2 + usize::from(*bytes),
        };
        writer.vec8(&[]).nested(names, |w| {
            w.extension(ExtensionType::SIGNATURE_ALGORITHMS)
                .nested(0, |w| {
                    w.nested(0, |w| {
                        // RFC 8446 §4.2.3: those of RSASSA-PKCS1-v1_5 are for the
                        // signatures in certificates.
                        for scheme in config.peer_schemes() {
                            w.u16(scheme.number());
                        }
                    });
                });
            if names > 0 {
                w.extension(ExtensionType::CERTIFICATE_AUTHORITIES)
                    .nested(names, |w| {
                        w.hole(2, Fill::Authorities(ring));
                    });
            }
        });
        let template = writer.finish().ok_or(INTERNAL)?;
        let state = State::RequestWritten(RequestWritten(self.0));
        Ok((state, Segment::Write(template)))
    }
}

impl RequestWritten {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let Plan {
            ring,
            scheme,
            staples,
            ..
        } = *self.0;
        let (flight, segment) = match staples {
            true => own::Flight::with_stapled_certificate(ring, scheme)?,
            false => own::Flight::with_certificate(ring, scheme)?,
        };
        Ok((State::OwnFlight(flight, self.0), segment))
    }
}

// ---- The client's flight ----

impl ApplicationKeys {
    fn next(self, input: Input<'_>, config: &Config) -> Transition<State> {
        input.done()?;
        if config.asks_client() && self.0.resumed.is_none() {
            let (chain, segment) = peer::Chain::expect();
            return Ok((State::ClientChain(chain, self.0), segment));
        }
        Ok(client_finished(self.0))
    }
}

fn client_finished(plan: Box<Plan>) -> (State, Segment) {
    let (finished, segment) = peer::Finished::expect_tls13();
    (State::ClientFinished(finished, plan), segment)
}

// ---- The end ----

/// With tickets for a client that takes them.
fn end(plan: Box<Plan>) -> (State, Segment) {
    if !plan.gives_tickets {
        return finish(plan);
    }
    let (tickets, segment) = NewTickets::begin(&plan);
    (State::NewTickets(tickets, plan), segment)
}

fn finish(plan: Box<Plan>) -> (State, Segment) {
    let plan = *plan;
    let agreed = Agreed {
        group: Some(plan.group),
        alpn: plan.alpn,
        server_name: plan.server_name,
        ring: plan.ring,
    };
    (State::Finishing, Segment::Finish(Box::new(agreed)))
}

#[cfg(test)]
mod tests {
    use ipc::bounded::{Bytes, Text};
    use tls::{CipherSuite, Group, Scheme};

    use super::*;

    /// The body of EncryptedExtensions for a client that asked for a name.
    fn extensions(resumed: Option<u16>, record_limit: Option<RecordLimit>) -> Vec<u8> {
        let plan = Plan {
            suite: CipherSuite::Aes128GcmSha256,
            group: Group::X25519,
            ring: 0,
            scheme: Scheme::EcdsaSecp256r1Sha256,
            alpn: None,
            server_name: Text::from_text("server.test").ok(),
            client_random: [7; 32],
            session_id: Bytes::new(),
            compatibility_sent: false,
            resumed,
            gives_tickets: false,
            staples: false,
            record_limit,
        };
        match write_extensions(Box::new(plan)) {
            Ok((_, Segment::Write(template))) => template.message[4..].to_vec(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_server_name_is_acknowledged_in_a_full_handshake_alone() {
        assert_eq!(extensions(None, None), [0, 4, 0, 0, 0, 0]);
        assert_eq!(extensions(Some(0), None), [0, 0]);
    }

    #[test]
    fn a_client_that_says_how_long_its_records_may_be_is_told_the_same_of_ours() {
        let limit = RecordLimit::of_peer(64, Version::Tls13).ok();
        let answer = [0, 28, 0, 2, 0x40, 1];
        let resumed = extensions(Some(0), limit);
        assert_eq!(resumed, [&[0, 6][..], &answer].concat());
        let full = extensions(None, limit);
        assert_eq!(full, [&[0, 10, 0, 0, 0, 0][..], &answer].concat());
    }
}
