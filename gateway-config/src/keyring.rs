//! The tables `[[keyring]]`.

use std::fs;
use std::path::Path;

use ipc::keystore::KeyKind;
use ipc::provision::{Keyring, Keyrings, Listener, PrivateKey};
use ipc::tls::Label;
use time::OffsetDateTime;
use tls::Role;
use zeroize::Zeroizing;

use crate::application::Application;
use crate::problem::Problem;
use crate::words::{Word, Words};
use crate::{chain, key};

/// What a table can say.
pub(crate) const WORDS: [&str; 5] = ["label", "chain", "key", "trust", "refuse"];
/// Most key rings: the key store numbers them in one byte.
const MAX_KEYRINGS: usize = 64;
/// Longest label in bytes.
const MAX_LABEL: usize = 32;
/// Largest file that is looked at.
const MAX_FILE: u64 = 1024 * 1024;

/// Reads all key rings and the files that they name.
pub(crate) fn read(
    file: &Words<'_>,
    folder: &Path,
    now: OffsetDateTime,
) -> Result<Keyrings, Problem> {
    let list = match file.optional("keyring") {
        Some(word) => word.list()?,
        None => Vec::new(),
    };
    if list.is_empty() {
        return Err(file.problem(
            "there is no [[keyring]]",
            "add one with label, chain and key",
        ));
    }
    let mut rings: Vec<Keyring> = Vec::new();
    for word in list {
        if rings.len() == MAX_KEYRINGS {
            return Err(word.problem(
                format!("more than {MAX_KEYRINGS} key rings"),
                "leave out those that no listener uses",
            ));
        }
        let words = word.table("[[keyring]]", &WORDS)?;
        let label_word = words.required("label", "\"web\"")?;
        let label = label(label_word)?;
        if rings.iter().any(|ring| ring.label == label) {
            return Err(label_word.problem(
                format!("a second key ring is called \"{label}\""),
                "give each key ring a label of its own",
            ));
        }
        rings.push(ring(&words, label, folder, now)?);
    }
    Ok(Keyrings(rings))
}

/// Allows each key to sign in the roles of the `tls` tables that name its ring, as a
/// server for the applications that name it, and in no other role.
pub(crate) fn assign_roles(
    keyrings: &mut Keyrings,
    listeners: &[Listener],
    applications: &[Application],
) {
    for ring in &mut keyrings.0 {
        let is_served = |application: &Application| application.keyrings.contains(&ring.label);
        if applications.iter().any(is_served) {
            ring.roles.push(Role::Server);
        }
        for tls in listeners.iter().flat_map(Listener::handshakes) {
            if tls.parameters.keyrings.contains(&ring.label) && !ring.roles.contains(&tls.role) {
                ring.roles.push(tls.role);
            }
        }
        ring.decrypts = is_rsa(ring) && listeners.iter().any(|listener| decrypts(listener, ring));
    }
}

fn is_rsa(ring: &Keyring) -> bool {
    ring.key
        .as_ref()
        .is_some_and(|key| key.kind == KeyKind::Rsa)
}

/// Whether a server with this ring does static RSA.
fn decrypts(listener: &Listener, ring: &Keyring) -> bool {
    listener.handshakes().any(|tls| {
        let asked = &tls.parameters;
        tls.role == Role::Server && asked.allow_static_rsa && asked.keyrings.contains(&ring.label)
    })
}

/// A label: 1 to 32 bytes.
pub(crate) fn label(word: Word<'_>) -> Result<Label, Problem> {
    let text = word.short_text(MAX_LABEL)?;
    Label::from_text(text).map_err(|_| {
        word.problem(
            format!("label \"{text}\" is too long"),
            format!("write 1 to {MAX_LABEL} bytes"),
        )
    })
}

fn ring(
    words: &Words<'_>,
    label: Label,
    folder: &Path,
    now: OffsetDateTime,
) -> Result<Keyring, Problem> {
    let identity = match (words.optional("chain"), words.optional("key")) {
        // Trust anchors alone: for a client's peers.
        (None, None) if words.optional("trust").is_some() => None,
        _ => Some(identity(words, folder, now)?),
    };
    let (key, chain) = identity.unzip();
    let trust = match words.optional("trust") {
        Some(word) => certificates(word, folder, now)?,
        None => Vec::new(),
    };
    Ok(Keyring {
        label,
        roles: Vec::new(),
        decrypts: false,
        key,
        chain: chain.unwrap_or_default(),
        trust,
    })
}

/// A private key and its chain.
fn identity(
    words: &Words<'_>,
    folder: &Path,
    now: OffsetDateTime,
) -> Result<(PrivateKey, Vec<Vec<u8>>), Problem> {
    let chain_word = words.required("chain", "\"web-chain.pem\"")?;
    let key_word = words.required("key", "\"web-key.pem\"")?;
    let chain = certificates(chain_word, folder, now)?;
    chain::check_order(chain_word.text()?, &chain)
        .map_err(|complaint| chain_word.complain(complaint))?;
    let pem = contents(key_word, folder)?;
    let end_entity = chain.first().map(Vec::as_slice).unwrap_or_default();
    let key = chain::with_public_key(chain_word.text()?, end_entity, |public| {
        public
            .kind()
            .map_err(|complaint| chain_word.complain(complaint))?;
        key::read(key_word.text()?, &pem, public).map_err(|complaint| key_word.complain(complaint))
    })
    .map_err(|complaint| chain_word.complain(complaint))??;
    Ok((key, chain))
}

fn certificates(
    word: Word<'_>,
    folder: &Path,
    now: OffsetDateTime,
) -> Result<Vec<Vec<u8>>, Problem> {
    let pem = contents(word, folder)?;
    chain::read(word.text()?, &pem, now).map_err(|complaint| word.complain(complaint))
}

/// The contents of the file that `word` names, relative to `folder`.
pub(crate) fn contents(word: Word<'_>, folder: &Path) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let name = word.text()?;
    let path = folder.join(name);
    let unreadable = |error: std::io::Error| {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_string(),
            _ => error.to_string(),
        };
        word.problem(
            format!("{name} can't be read: {reason}"),
            format!("put it at {}, or correct the name", path.display()),
        )
    };
    if fs::metadata(&path).map_err(unreadable)?.len() > MAX_FILE {
        return Err(word.problem(
            format!("{name} is larger than {MAX_FILE} bytes"),
            "name a PEM file with nothing but the certificates or the key",
        ));
    }
    fs::read(&path).map(Zeroizing::new).map_err(unreadable)
}
