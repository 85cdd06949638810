//! Messages of a peer, with as much in them as the machines read.

use tls::client_hello::{NULL_COMPRESSION, PSK_DHE_KE};
use tls::names::{ECDSA_SIGN, NAMED_CURVE, OCSP, RSA_SIGN};
use tls::server_hello::RETRY;
use tls::{CipherSuite, ExtensionType, Group, HandshakeType, LEGACY_VERSION, Scheme, Version};

use crate::names::MESSAGES;

/// A message: its type and body.
pub(crate) type Message = (HandshakeType, Vec<u8>);

/// What the client's machine calls a session of TLS 1.2 that it would resume, and what a
/// client sends for the sake of middleboxes.
pub(crate) const SESSION_ID: [u8; 32] = [9; 32];
/// Of every peer's hello; no sign of a downgrade.
const RANDOM: [u8; 32] = [7; 32];
/// A key share of X25519, or the public key in a key exchange.
const SHARE: [u8; 32] = [5; 32];

/// A vector after its length, which has so many bytes.
fn vector(length_bytes: usize, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let (_, length) = length.split_at(length.len().saturating_sub(length_bytes));
    [length, content].concat()
}

fn numbers(list: &[u16]) -> Vec<u8> {
    let bytes: Vec<u8> = list.iter().flat_map(|n| n.to_be_bytes()).collect();
    vector(2, &bytes)
}

fn extension(kind: ExtensionType, content: &[u8]) -> Vec<u8> {
    [&kind.0.to_be_bytes()[..], &vector(2, content)].concat()
}

/// What a client's hello has or has not.
#[derive(Clone, Copy)]
struct Hello<'a> {
    is_tls13: bool,
    session_id: &'a [u8],
    suite: CipherSuite,
    has_name: bool,
    asks_for_ocsp: bool,
    names_issuer: bool,
    has_share: bool,
    /// TLS 1.2: empty where one would be taken.
    ticket: Option<&'a [u8]>,
}

impl Hello<'_> {
    fn message(self) -> Message {
        let schemes = Scheme::OFFERED.map(Scheme::number);
        let mut extensions = vec![
            extension(
                ExtensionType::SUPPORTED_GROUPS,
                // That of the certificate too (RFC 8422 §5.3).
                &numbers(&[Group::X25519, Group::Secp256r1].map(Group::number)),
            ),
            extension(ExtensionType::SIGNATURE_ALGORITHMS, &numbers(&schemes)),
            extension(ExtensionType::EXTENDED_MASTER_SECRET, &[]),
        ];
        if self.has_name {
            let name = vector(2, &[&[0][..], &vector(2, b"name")].concat());
            extensions.push(extension(ExtensionType::SERVER_NAME, &name));
        }
        if self.asks_for_ocsp {
            let request = [&[OCSP][..], &vector(2, &[]), &vector(2, &[])].concat();
            extensions.push(extension(ExtensionType::STATUS_REQUEST, &request));
        }
        if self.names_issuer {
            let names = vector(2, &vector(2, b"name"));
            extensions.push(extension(ExtensionType::CERTIFICATE_AUTHORITIES, &names));
        }
        if self.is_tls13 {
            let version = Version::Tls13.number().to_be_bytes();
            let share = match self.has_share {
                true => [
                    &Group::X25519.number().to_be_bytes()[..],
                    &vector(2, &SHARE),
                ]
                .concat(),
                false => Vec::new(),
            };
            extensions.extend([
                extension(ExtensionType::SUPPORTED_VERSIONS, &vector(1, &version)),
                extension(ExtensionType::KEY_SHARE, &vector(2, &share)),
                extension(
                    ExtensionType::PSK_KEY_EXCHANGE_MODES,
                    &vector(1, &[PSK_DHE_KE]),
                ),
            ]);
        }
        match self.ticket {
            Some(ticket) if self.is_tls13 => {
                let identity = [&vector(2, ticket)[..], &[0; 4]].concat();
                let offered = [vector(2, &identity), vector(2, &vector(1, &[3; 32]))].concat();
                // RFC 8446 §4.2.11: the last.
                extensions.push(extension(ExtensionType::PRE_SHARED_KEY, &offered));
            }
            Some(ticket) => extensions.push(extension(ExtensionType::SESSION_TICKET, ticket)),
            None => {}
        }
        let body = [
            &LEGACY_VERSION.to_be_bytes()[..],
            &RANDOM,
            &vector(1, self.session_id),
            &numbers(&[self.suite.number()]),
            &vector(1, &[NULL_COMPRESSION]),
            &vector(2, &extensions.concat()),
        ];
        (HandshakeType::CLIENT_HELLO, body.concat())
    }
}

/// Hellos of either version: with and without a name and a request for an OCSP response, a
/// session identifier and the issuers that are wanted, a share, a ticket, and anything better
/// than static RSA.
fn hellos() -> Vec<Message> {
    let mut hellos = Vec::new();
    for has_name in [false, true] {
        for session_id in [&[][..], &SESSION_ID] {
            for has_share in [false, true] {
                for ticket in [None, Some(&[1; 40][..])] {
                    hellos.push(Hello {
                        is_tls13: true,
                        session_id,
                        suite: CipherSuite::Aes128GcmSha256,
                        has_name,
                        asks_for_ocsp: has_name,
                        names_issuer: !session_id.is_empty(),
                        has_share,
                        ticket,
                    });
                }
            }
        }
        for suite in [
            CipherSuite::EcdheEcdsaAes128GcmSha256,
            CipherSuite::RsaAes128GcmSha256,
        ] {
            for ticket in [None, Some(&[][..]), Some(&[1; 40])] {
                hellos.push(Hello {
                    is_tls13: false,
                    session_id: &SESSION_ID,
                    suite,
                    has_name,
                    asks_for_ocsp: has_name,
                    names_issuer: false,
                    has_share: false,
                    ticket,
                });
            }
        }
    }
    hellos.into_iter().map(Hello::message).collect()
}

/// Every message that a client can send, and then one of each type with nothing in it.
pub(crate) fn client_messages() -> Vec<Message> {
    let mut messages = hellos();
    let exchange = HandshakeType::CLIENT_KEY_EXCHANGE;
    messages.extend([
        (exchange, vector(1, &SHARE)),
        (exchange, vector(2, &[4; 256])),
    ]);
    messages.extend(empty());
    messages
}

/// The same of a server.
pub(crate) fn server_messages() -> Vec<Message> {
    let version = extension(
        ExtensionType::SUPPORTED_VERSIONS,
        &Version::Tls13.number().to_be_bytes(),
    );
    let share = |group: Group, key: &[u8]| {
        let content = [&group.number().to_be_bytes()[..], key].concat();
        extension(ExtensionType::KEY_SHARE, &content)
    };
    let psk = extension(ExtensionType::PRE_SHARED_KEY, &[0, 0]);
    let x25519 = share(Group::X25519, &vector(2, &SHARE));
    let p256 = share(Group::Secp256r1, &vector(2, &[4; 65]));
    let mut messages = Vec::new();
    let tls13 = CipherSuite::Aes128GcmSha256;
    let request = share(Group::Secp256r1, &[]);
    messages.push(server_hello(
        &RETRY,
        &SESSION_ID,
        tls13,
        &[&version, &request],
    ));
    for share in [&x25519, &p256] {
        for more in [&[][..], &psk] {
            let extensions = [&version, share, more];
            messages.push(server_hello(&RANDOM, &SESSION_ID, tls13, &extensions));
        }
    }
    let extended = extension(ExtensionType::EXTENDED_MASTER_SECRET, &[]);
    let ticket = extension(ExtensionType::SESSION_TICKET, &[]);
    for suite in [
        CipherSuite::EcdheEcdsaAes128GcmSha256,
        CipherSuite::RsaAes128GcmSha256,
    ] {
        for session_id in [&[][..], &SESSION_ID] {
            for more in [&[][..], &ticket] {
                let extensions = [&extended[..], more];
                messages.push(server_hello(&RANDOM, session_id, suite, &extensions));
            }
        }
    }
    let schemes = numbers(&Scheme::OFFERED.map(Scheme::number));
    let algorithms = extension(ExtensionType::SIGNATURE_ALGORITHMS, &schemes);
    let request = HandshakeType::CERTIFICATE_REQUEST;
    let group = Group::X25519.number().to_be_bytes();
    for authorities in [&[][..], &vector(2, b"name")] {
        let named = match authorities {
            [] => Vec::new(),
            names => extension(ExtensionType::CERTIFICATE_AUTHORITIES, &vector(2, names)),
        };
        let extensions = [&algorithms[..], &named].concat();
        let types = vector(1, &[RSA_SIGN, ECDSA_SIGN]);
        messages.extend([
            (request, [&[0][..], &vector(2, &extensions)].concat()),
            (
                request,
                [types, schemes.clone(), vector(2, authorities)].concat(),
            ),
        ]);
    }
    messages.extend([
        (HandshakeType::ENCRYPTED_EXTENSIONS, vector(2, &[])),
        (
            HandshakeType::SERVER_KEY_EXCHANGE,
            [&[NAMED_CURVE][..], &group, &vector(1, &SHARE), &[0; 8]].concat(),
        ),
    ]);
    messages.extend(empty());
    messages
}

fn server_hello(
    random: &[u8; 32],
    session_id: &[u8],
    suite: CipherSuite,
    extensions: &[&[u8]],
) -> Message {
    let body = [
        &LEGACY_VERSION.to_be_bytes()[..],
        random,
        &vector(1, session_id),
        &suite.number().to_be_bytes(),
        &[0],
        &vector(2, &extensions.concat()),
    ];
    (HandshakeType::SERVER_HELLO, body.concat())
}

/// Of those that are not parsed by the machines, only the type counts.
fn empty() -> impl Iterator<Item = Message> {
    MESSAGES.iter().map(|(kind, _)| (*kind, Vec::new()))
}
