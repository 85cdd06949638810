//! ClientHello, as this side writes it (RFC 8446 §4.1.2).

use ipc::segment::{Fill, Place, Template, Ticket};
use tls::client_hello::{NULL_COMPRESSION, PSK_DHE_KE};
use tls::codec::Writer;
use tls::names::UNCOMPRESSED;
use tls::server_name::HOST_NAME;
use tls::{ExtensionType, Group, HandshakeType, LEGACY_VERSION, RecordLimit, Role, Version};

use crate::negotiation::Config;
use crate::server_hello::session_id_of;
use crate::template::TemplateWriter;

/// RFC 8446 §4.2.11: what a list of one binder begins with, and an age.
const BINDERS_HEADER: usize = 3;
const AGE: usize = 4;

/// ClientHello with the share of a group (RFC 8446 §4.1.2) and that of its classical
/// half, the cookie of a HelloRetryRequest, and a ticket of a previous session.
pub(crate) fn hello(
    config: &Config,
    random: Fill,
    (share, half): (Group, Option<Group>),
    cookie: Option<Place>,
    ticket: Option<&Ticket>,
) -> Option<Template> {
    let has_13 = config.accepts(Version::Tls13);
    let has_12 = config.accepts(Version::Tls12);
    // What the placeholders of the share and the ticket will take.
    let length = |share: Group| 2 + share.share_len(Role::Client);
    let for_share = if has_13 { length(share) } else { 0 };
    let for_half = half.filter(|_| has_13).map_or(0, length);
    let for_shares = for_share + for_half;
    let version = ticket.map(|ticket| ticket.suite.version());
    let for_ticket = ticket.map_or(0, |ticket| 2 + usize::from(ticket.length));
    let for_binders = match (version, ticket) {
        (Some(Version::Tls13), Some(ticket)) => {
            BINDERS_HEADER + usize::from(ticket.suite.hash_len())
        }
        _ => 0,
    };
    let for_age = if for_binders > 0 { AGE } else { 0 };
    let for_cookie = cookie.map_or(0, |cookie| 2 + usize::from(cookie.length));
    let missing = for_cookie + for_shares + for_ticket + for_age + for_binders;
    let session_id = session_id_of(config, ticket);
    let mut writer = TemplateWriter::new(HandshakeType::CLIENT_HELLO);
    writer.u16(LEGACY_VERSION).hole(0, random).vec8(session_id);
    writer.nested(0, |w| {
        for suite in config.offered() {
            w.u16(suite.number());
        }
    });
    writer.vec8(&[NULL_COMPRESSION]).nested(missing, |w| {
        if let Some(name) = config.dns_name() {
            w.extension(ExtensionType::SERVER_NAME).nested(0, |w| {
                w.nested(0, |w| {
                    w.u8(HOST_NAME).len16(name.len()).bytes(name.as_bytes());
                });
            });
        }
        w.extension(ExtensionType::SUPPORTED_GROUPS).nested(0, |w| {
            w.nested(0, |w| {
                let versions = &config.parameters.versions;
                for group in config.groups() {
                    if versions.iter().any(|version| group.is_for(*version)) {
                        w.u16(group.number());
                    }
                }
            });
        });
        w.extension(ExtensionType::SIGNATURE_ALGORITHMS)
            .nested(0, |w| {
                w.nested(0, |w| {
                    // Those for certificates alone too (RFC 8446 §4.2.3).
                    for scheme in config.peer_schemes() {
                        w.u16(scheme.number());
                    }
                });
            });
        if !config.parameters.alpn.is_empty() {
            w.extension(ExtensionType::ALPN).nested(0, |w| {
                w.nested(0, |w| {
                    for name in config.parameters.alpn.iter() {
                        w.vec8(name);
                    }
                });
            });
        }
        if has_12 {
            w.extension(ExtensionType::EC_POINT_FORMATS).nested(0, |w| {
                w.vec8(&[UNCOMPRESSED]);
            });
            w.extension(ExtensionType::EXTENDED_MASTER_SECRET).u16(0);
            w.extension(ExtensionType::RENEGOTIATION_INFO)
                .u16(1)
                .vec8(&[]);
        }
        // RFC 8449 §4: by the highest version that is offered.
        let highest = if has_13 {
            Version::Tls13
        } else {
            Version::Tls12
        };
        w.extension(ExtensionType::RECORD_SIZE_LIMIT)
            .u16(2)
            .u16(RecordLimit::own(highest));
        // RFC 5077 §3.2: empty asks for one.
        if has_12 && config.parameters.resumption {
            w.extension(ExtensionType::SESSION_TICKET);
            match version {
                Some(Version::Tls12) => w.hole(2, Fill::Ticket),
                _ => w.u16(0),
            };
        }
        if let Some(cookie) = cookie {
            w.extension(ExtensionType::COOKIE).nested(for_cookie, |w| {
                w.hole(2, Fill::Received(cookie));
            });
        }
        if has_13 {
            w.extension(ExtensionType::SUPPORTED_VERSIONS)
                .nested(0, |w| {
                    w.u8(if has_12 { 4 } else { 2 })
                        .u16(Version::Tls13.number());
                    if has_12 {
                        w.u16(Version::Tls12.number());
                    }
                });
            w.extension(ExtensionType::KEY_SHARE)
                .nested(for_shares, |w| {
                    w.nested(for_shares, |w| {
                        w.u16(share.number()).hole(2, Fill::KeyShare(share));
                        if let Some(half) = half {
                            w.u16(half.number()).hole(2, Fill::ClassicalShare);
                        }
                    });
                });
        }
        if has_13 && config.parameters.resumption {
            w.extension(ExtensionType::PSK_KEY_EXCHANGE_MODES)
                .nested(0, |w| {
                    w.vec8(&[PSK_DHE_KE]);
                });
        }
        // RFC 8446 §4.2.11: the last.
        if version == Some(Version::Tls13) {
            let for_identity = for_ticket + AGE;
            w.extension(ExtensionType::PRE_SHARED_KEY)
                .nested(for_identity + for_binders, |w| {
                    w.nested(for_identity, |w| {
                        w.hole(2, Fill::Ticket).hole(0, Fill::TicketAge);
                    });
                    w.hole(0, Fill::Binders);
                });
        }
    });
    writer.finish()
}
