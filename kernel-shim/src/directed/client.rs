//! The client before the version is known: ClientHello and the server's
//! answer.

use ipc::segment::{Fill, Segment, Template};
use ipc::tls::{Alert, Version};

use super::codec::Writer;
use super::negotiation::Asked;
use super::server_hello::ServerHello;
use super::{
    Input, MAX_SERVER_HELLO, Refusal, Transition, extension, message, receive_all, tls12_client,
    tls13_client,
};

const LEGACY_VERSION: u16 = 0x0303;
/// RFC 8446 §4.1.3: what a server that could do TLS 1.3 ends its random with
/// when it agrees on TLS 1.2.
const DOWNGRADED: [u8; 8] = *b"DOWNGRD\x01";
/// RFC 8422 §5.1.2: uncompressed.
const POINT_FORMATS: [u8; 1] = [0];
const HOST_NAME: u8 = 0;

/// Before the version is known.
pub(super) enum State {
    HelloWritten(HelloWritten),
    ServerHello(ExpectServerHello),
}

/// ClientHello is on its way to the transcript.
pub(super) struct HelloWritten(());

/// Waits for the first ServerHello.
pub(super) struct ExpectServerHello(());

/// The first step of a client.
pub(super) fn begin(asked: &Asked) -> Option<(State, Segment)> {
    let share = asked.groups().first().copied()?;
    let template = hello(asked, Fill::Random { downgraded: false }, share, &[])?;
    let state = State::HelloWritten(HelloWritten(()));
    Some((state, Segment::Write(template)))
}

impl State {
    pub(super) fn next(self, input: Input<'_>, asked: &Asked) -> Transition<super::State> {
        match self {
            Self::HelloWritten(state) => state.next(input),
            Self::ServerHello(state) => state.next(input, asked),
        }
    }
}

impl HelloWritten {
    fn next(self, input: Input<'_>) -> Transition<super::State> {
        input.done()?;
        let state = State::ServerHello(ExpectServerHello(()));
        let segment = receive_all(MAX_SERVER_HELLO);
        Ok((super::State::Client(state), segment))
    }
}

impl ExpectServerHello {
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<super::State> {
        let body = input.message(message::SERVER_HELLO)?;
        let hello = ServerHello::parse(body, asked)?;
        match hello.version {
            Version::Tls13 => {
                let (state, segment) = tls13_client::begin(hello, asked)?;
                Ok((super::State::Client13(state), segment))
            }
            Version::Tls12 => {
                let is_downgraded = hello.random.ends_with(&DOWNGRADED);
                if is_downgraded && asked.accepts(Version::Tls13) {
                    return Err(Refusal(Alert::ILLEGAL_PARAMETER));
                }
                let (state, segment) = tls12_client::begin(hello)?;
                Ok((super::State::Client12(state), segment))
            }
        }
    }
}

/// ClientHello with a share of one group (RFC 8446 §4.1.2), and the cookie of
/// a HelloRetryRequest.
pub(super) fn hello(
    asked: &Asked,
    random: Fill,
    share: ipc::tls::Group,
    cookie: &[u8],
) -> Option<Template> {
    let has_13 = asked.accepts(Version::Tls13);
    let has_12 = asked.accepts(Version::Tls12);
    // What the hole of the share will take.
    let missing = if has_13 { 2 + share.share_len() } else { 0 };
    let mut writer = Writer::new(message::CLIENT_HELLO);
    writer.u16(LEGACY_VERSION).hole(0, random).vec8(&[]);
    writer.nested(0, |w| {
        for suite in asked.offered() {
            w.u16(suite.number());
        }
    });
    writer.vec8(&[0]).nested(missing, |w| {
        if let Some(name) = asked.dns_name() {
            w.u16(extension::SERVER_NAME).nested(0, |w| {
                w.nested(0, |w| {
                    w.u8(HOST_NAME).len16(name.len()).bytes(name.as_bytes());
                });
            });
        }
        w.u16(extension::SUPPORTED_GROUPS).nested(0, |w| {
            w.nested(0, |w| {
                for group in asked.groups() {
                    w.u16(group.number());
                }
            });
        });
        w.u16(extension::SIGNATURE_ALGORITHMS).nested(0, |w| {
            w.nested(0, |w| {
                for scheme in ipc::keystore::Scheme::ALL {
                    if has_12 || scheme.in_tls13() {
                        w.u16(scheme.number());
                    }
                }
            });
        });
        if !asked.parameters.alpn.is_empty() {
            w.u16(extension::ALPN).nested(0, |w| {
                w.nested(0, |w| {
                    for name in asked.parameters.alpn.iter() {
                        w.vec8(name);
                    }
                });
            });
        }
        if has_12 {
            w.u16(extension::EC_POINT_FORMATS).nested(0, |w| {
                w.vec8(&POINT_FORMATS);
            });
            w.u16(extension::EXTENDED_MASTER_SECRET).u16(0);
            w.u16(extension::RENEGOTIATION_INFO).u16(1).vec8(&[]);
        }
        if !cookie.is_empty() {
            w.u16(extension::COOKIE).nested(0, |w| {
                w.len16(cookie.len()).bytes(cookie);
            });
        }
        if has_13 {
            w.u16(extension::SUPPORTED_VERSIONS).nested(0, |w| {
                w.u8(if has_12 { 4 } else { 2 }).u16(0x0304);
                if has_12 {
                    w.u16(0x0303);
                }
            });
            w.u16(extension::KEY_SHARE).nested(missing, |w| {
                w.nested(missing, |w| {
                    w.u16(share.number()).hole(2, Fill::KeyShare(share));
                });
            });
        }
    });
    writer.finish()
}

/// The certificate that this side shows when it is asked: the first ring's.
pub(super) fn scheme_for(
    asked: &Asked,
    offered: &[ipc::keystore::Scheme],
    version: Version,
) -> Option<ipc::keystore::Scheme> {
    let kind = (*asked.rings.first()?)?;
    ipc::keystore::Scheme::ALL.into_iter().find(|scheme| {
        scheme.key_kind() == kind
            && offered.contains(scheme)
            && (version == Version::Tls12 || scheme.in_tls13())
    })
}
