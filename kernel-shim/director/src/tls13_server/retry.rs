//! HelloRetryRequest, as a server of TLS 1.3 sends it (RFC 8446 §4.1.4).

use alloc::boxed::Box;

use ipc::segment::Segment;
use tls::codec::Writer;
use tls::server_hello::RETRY;
use tls::{ExtensionType, Group, HandshakeType, LEGACY_VERSION, Version};

use crate::client_hello::{ClientHello, Share};
use crate::negotiation::{Config, Plan};
use crate::script::{ILLEGAL, INTERNAL, Input, MAX_HELLO, MISSING, Progress, Refusal, receive_all};
use crate::template::TemplateWriter;

/// Over: the second ClientHello.
#[derive(Debug)]
pub(crate) enum Retry {
    /// The suite is decided.
    Negotiated(Wanted),
    /// The transcript was replaced by its hash.
    Restarted(Wanted),
    /// HelloRetryRequest is written.
    Written(Wanted),
    /// And ChangeCipherSpec.
    Compatible(Wanted),
    /// Waits for the second ClientHello.
    Hello(Wanted),
}

/// A second ClientHello, and what it leads to.
pub(crate) struct Second {
    pub(super) hello: ClientHello,
    pub(super) plan: Box<Plan>,
    pub(super) share: Share,
}

/// What a second ClientHello must repeat, and have.
#[derive(Debug)]
pub(crate) struct Wanted {
    plan: Box<Plan>,
    group: Group,
}

impl Retry {
    pub(super) fn begin(plan: Box<Plan>) -> (Self, Segment) {
        let segment = Segment::Negotiate {
            suite: plan.suite,
            peer_random: plan.client_random,
        };
        let group = plan.group;
        (Self::Negotiated(Wanted { plan, group }), segment)
    }

    pub(super) fn next(
        self,
        input: Input<'_>,
        config: &Config,
    ) -> Result<Progress<Self, Second>, Refusal> {
        let (state, segment) = match self {
            Self::Negotiated(wanted) => {
                input.done()?;
                (Self::Restarted(wanted), Segment::Restart)
            }
            Self::Restarted(wanted) => {
                input.done()?;
                let segment = wanted.request()?;
                (Self::Written(wanted), segment)
            }
            Self::Written(wanted) => {
                input.done()?;
                (Self::Compatible(wanted), Segment::WriteChangeCipherSpec)
            }
            Self::Compatible(wanted) => {
                input.done()?;
                (Self::Hello(wanted), receive_all(MAX_HELLO))
            }
            Self::Hello(wanted) => return wanted.answer(input, config).map(Progress::Over),
        };
        Ok(Progress::Next(state, segment))
    }
}

impl Wanted {
    fn request(&self) -> Result<Segment, Refusal> {
        let mut writer = TemplateWriter::new(HandshakeType::SERVER_HELLO);
        writer
            .u16(LEGACY_VERSION)
            .bytes(&RETRY)
            .vec8(&self.plan.session_id)
            .u16(self.plan.suite.number())
            .u8(0)
            .nested(0, |w| {
                w.extension(ExtensionType::KEY_SHARE)
                    .u16(2)
                    .u16(self.group.number());
                w.extension(ExtensionType::SUPPORTED_VERSIONS)
                    .u16(2)
                    .u16(Version::Tls13.number());
            });
        writer.finish().map(Segment::Write).ok_or(INTERNAL)
    }

    /// RFC 8446 §4.1.2: the same but for what was asked for.
    fn answer(self, input: Input<'_>, config: &Config) -> Result<Second, Refusal> {
        let body = input.message(HandshakeType::CLIENT_HELLO)?;
        let hello = ClientHello::parse(body, &config.parameters.alpn)?;
        let Self { mut plan, group } = self;
        let shares = hello.shares.as_ref().map(|shares| &shares[..]);
        let is_same = hello.random == plan.client_random
            && hello.session_id == plan.session_id
            && hello.suites.contains(&plan.suite)
            && hello.server_name == plan.server_name
            && hello.record_limit(Version::Tls13) == plan.record_limit
            && hello.offers_tls13
            && hello.only_null_compression;
        let share = match shares {
            Some([share]) if is_same && share.group == group => *share,
            None => return Err(MISSING),
            _ => return Err(ILLEGAL),
        };
        // The middlebox has had its ChangeCipherSpec.
        plan.compatibility_sent = true;
        Ok(Second { hello, plan, share })
    }
}
