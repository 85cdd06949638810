//! What a `tls` table can say.

use super::{
    CLIENT_AUTH, DEFAULT_SEGMENT_SIZE, DEFAULT_TIMEOUT_MS, MAX_RINGS, MODES, ROLES, VERSIONS,
    every_suite,
};
use crate::keyring::MAX_LABEL;
use crate::reference::{Key, Kind, Need, Table, written};
use ipc::control::Parameters;
use tls::{Group, Scheme};

/// Longest ALPN name in bytes.
pub(crate) const MAX_PROTOCOL: usize = 32;
/// Most ALPN names of a handshake.
pub(crate) const MAX_PROTOCOLS: usize = 4;
/// Labels of key rings.
pub(crate) const RINGS: Kind = Kind::Texts {
    most: MAX_LABEL,
    count: MAX_RINGS,
};

/// The table.
pub(crate) static TABLE: Table = Table {
    name: "tls",
    about: "One end of handshakes: the server's in a listener or a rule, the client's in a \
            backend.",
    keys: &[
        Key {
            name: "role",
            kind: Kind::Choice(|| ROLES.map(|(name, _)| name).to_vec()),
            need: Need::Required,
            example: "\"server\"",
            meaning: "`\"server\"` in a listener or a rule, `\"client\"` in a backend.",
        },
        Key {
            name: "mode",
            kind: Kind::Choice(|| MODES.map(|(name, _)| name).to_vec()),
            need: Need::Default(|| "\"autonomous\"".into()),
            example: "\"directed\"",
            meaning: "`\"autonomous\"`: the offload component alone; `\"directed\"`: the director \
                      drives it, message by message.",
        },
        Key {
            name: "keyring",
            kind: RINGS,
            need: Need::Required,
            example: "\"web\"",
            meaning: "The label of a key ring, or several: the client's server name chooses, \
                      and the first is for clients that ask for no name.",
        },
        Key {
            name: "versions",
            kind: Kind::Choices(|| VERSIONS.map(|(name, _)| name).to_vec()),
            need: Need::Default(|| written(&VERSIONS.map(|(name, _)| name))),
            example: "[\"1.3\", \"1.2\"]",
            meaning: "Versions of TLS.",
        },
        Key {
            name: "suites",
            kind: Kind::Choices(|| every_suite().into_iter().map(|(name, _)| name).collect()),
            need: Need::Depends("all that fit, but those of static RSA"),
            example: "[\"TLS_AES_128_GCM_SHA256\"]",
            meaning: "Cipher suites by their registry's names, in the order of preference.",
        },
        Key {
            name: "groups",
            kind: Kind::Choices(|| Group::ALL.map(|group| group.name()).to_vec()),
            need: Need::Depends("all in this order, but `SecP384r1MLKEM1024`"),
            example: "[\"X25519MLKEM768\", \"x25519\"]",
            meaning: "Groups of the key exchange, in the order of preference; those with MLKEM \
                      are hybrids of post-quantum key exchange, for TLS 1.3.",
        },
        Key {
            name: "alpn",
            kind: Kind::Texts {
                most: MAX_PROTOCOL,
                count: MAX_PROTOCOLS,
            },
            need: Need::Depends("no ALPN"),
            example: "[\"http/1.1\"]",
            meaning: "Application protocols, in the order of preference.",
        },
        Key {
            name: "client_auth",
            kind: Kind::Choice(|| CLIENT_AUTH.map(|(name, _)| name).to_vec()),
            need: Need::Default(|| "\"none\"".into()),
            example: "\"none\"",
            meaning: "Whether the client is asked for a certificate, or must show one; server \
                      only. Judged by the `trust` of the key ring that the server name chooses.",
        },
        Key {
            name: "handshake_timeout_ms",
            kind: Kind::Number {
                least: 100,
                most: 600_000,
                unit: "ms",
            },
            need: Need::Default(|| DEFAULT_TIMEOUT_MS.to_string()),
            example: "5000",
            meaning: "For a handshake to be over.",
        },
        Key {
            name: "segment_size",
            kind: Kind::Number {
                least: *Parameters::SEGMENT_SIZES.start() as u32,
                most: *Parameters::SEGMENT_SIZES.end() as u32,
                unit: "bytes",
            },
            need: Need::Default(|| DEFAULT_SEGMENT_SIZE.to_string()),
            example: "4096",
            meaning: "The most that one record carries, which is sent.",
        },
        Key {
            name: "expose_keys",
            kind: Kind::Flag,
            need: Need::Default(|| "false".into()),
            example: "false",
            meaning: "`true`: the application may have the session's keys.",
        },
        Key {
            name: "allow_static_rsa",
            kind: Kind::Flag,
            need: Need::Default(|| "false".into()),
            example: "false",
            meaning: "`true`: static RSA for peers with which nothing better is in common; \
                      directed mode and TLS 1.2 alone. Give it a key ring of its own.",
        },
        Key {
            name: "resumption",
            kind: Kind::Flag,
            need: Need::Default(|| "true".into()),
            example: "false",
            meaning: "`false`: no tickets, every handshake is a full one.",
        },
        Key {
            name: "peer_signature_schemes",
            kind: Kind::Choices(|| Scheme::ALL.map(Scheme::name).to_vec()),
            need: Need::Depends("all"),
            example: "[\"ecdsa_secp256r1_sha256\", \"rsa_pss_rsae_sha256\"]",
            meaning: "What the peer may sign by, in the order in which it is told \
                      (`docs/adr/0173`).",
        },
        Key {
            name: "server_name",
            kind: Kind::Text { most: 255 },
            need: Need::Depends("must be there in a backend, and nowhere else"),
            example: "\"backend.example\"",
            meaning: "The DNS name or address in the backend's certificate.",
        },
    ],
};
