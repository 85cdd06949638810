//! The tables `[[keyring]]`.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use ipc::bounded::List;
use ipc::keystore::KeyKind;
use ipc::provision::{Crls, Keyring, Keyrings, Listener, PrivateKey, update};
use ipc::tls::{Label, Schemes};
use postcard::experimental::serialized_size;
use time::OffsetDateTime;
use tls::{Role, Scheme};
use zeroize::Zeroizing;

use crate::application::Application;
use crate::problem::Reported;
use crate::reference::{Key, Kind, Need, Table};
use crate::words::{Word, Words, if_there};
use crate::{chain, key, ocsp, revocation, step};

/// Most key rings: the key store numbers them in one byte.
pub(crate) const MAX_KEYRINGS: usize = 64;
/// Longest label in bytes.
pub(crate) const MAX_LABEL: usize = 32;
/// Bytes of all key rings: their region, and an update of them, with what seals it.
const MAX_BYTES: usize = update::MAX - 1024;
/// Largest file that is looked at.
const MAX_FILE: u64 = 1024 * 1024;

/// The table.
pub(crate) static TABLE: Table = Table {
    name: "[[keyring]]",
    about: "A private key with its certificates, and whom to trust. A server needs `chain` \
            and `key`, a client `trust`; whoever asks others for certificates needs all three.",
    keys: &[
        Key {
            name: "label",
            kind: Kind::Text { most: MAX_LABEL },
            need: Need::Required,
            example: "\"web\"",
            meaning: "What other tables call it.",
        },
        Key {
            name: "chain",
            kind: Kind::File,
            need: Need::Depends("must be there, but for a ring with `trust` alone"),
            example: "\"web-chain.pem\"",
            meaning: "The certificates in PEM, the server's first, then each one's issuer.",
        },
        Key {
            name: "key",
            kind: Kind::File,
            need: Need::Depends("must be there, but for a ring with `trust` alone"),
            example: "\"web-key.pem\"",
            meaning: "The private key of the first certificate: PKCS#8, SEC1 or PKCS#1 in PEM; \
                      ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits.",
        },
        Key {
            name: "trust",
            kind: Kind::File,
            need: Need::Depends("nobody is trusted"),
            example: "\"client-ca.pem\"",
            meaning: "The certificates of those who may issue the peers', in PEM.",
        },
        revocation::CRL,
        revocation::WORD,
        ocsp::OCSP,
        Key {
            name: "refuse",
            kind: Kind::Choices(|| step::every().map(|(name, _)| name).to_vec()),
            need: Need::Depends("no step is refused"),
            example: "[\"sign-without-server-name\"]",
            meaning: "Steps that the director refuses in every directed handshake with the ring \
                      (`docs/adr/0075`).",
        },
        Key {
            name: "signature_schemes",
            kind: Kind::Choices(|| Scheme::ALL.map(Scheme::name).to_vec()),
            need: Need::Depends("all of the key's kind"),
            example: "[\"ecdsa_secp256r1_sha256\"]",
            meaning: "What the key signs by, and nothing else, in the order of preference \
                      (`docs/adr/0173`).",
        },
    ],
};

/// The key rings, and what others need to know of those that were not read.
pub(crate) struct Rings<'a> {
    /// Those that are good.
    pub(crate) good: Keyrings,
    /// Labels of those that are not; no label stands for one that has none.
    pub(crate) bad: Vec<(Option<Label>, Reported)>,
    /// The key `refuse` of the good ones.
    pub(crate) refusals: Vec<(Label, Word<'a>)>,
}

impl Rings<'_> {
    /// Whether the ring with this label may be one that was not read.
    pub(crate) fn reported(&self, label: &Label) -> Option<Reported> {
        let mut bad = self.bad.iter();
        let found = bad.find(|(bad, _)| bad.as_ref().is_none_or(|bad| bad == label));
        found.map(|(_, reported)| *reported)
    }
}

/// Reads all key rings and the files that they name.
pub(crate) fn read<'a>(file: &Words<'a>, folder: &Path, now: OffsetDateTime) -> Rings<'a> {
    let mut rings = Rings {
        good: Keyrings(Vec::new()),
        bad: Vec::new(),
        refusals: Vec::new(),
    };
    let list = match file.tables("keyring") {
        Ok(list) => list,
        Err(reported) => {
            rings.bad.push((None, reported));
            return rings;
        }
    };
    if list.is_empty() {
        let reported = file.problem(
            "there is no [[keyring]]",
            "add one with label, chain and key",
        );
        rings.bad.push((None, reported));
    }
    if let Some(word) = list.get(MAX_KEYRINGS) {
        let reported = word.problem(
            format!("more than {MAX_KEYRINGS} key rings"),
            "leave out those that no listener uses",
        );
        rings.bad.push((None, reported));
    }
    let mut labels: Vec<Label> = Vec::new();
    for word in list.into_iter().take(MAX_KEYRINGS) {
        let words = match word.table() {
            Ok(words) => words,
            Err(reported) => {
                rings.bad.push((None, reported));
                continue;
            }
        };
        let label = own_label(&words, &labels);
        // Its files are looked at, whatever its label is.
        let parts = parts(&words, folder, now);
        let read = label.clone().and_then(|label| {
            let (key, schemes, chain, trust, crls, ocsp) = parts?;
            Ok(Keyring {
                label,
                roles: Vec::new(),
                decrypts: false,
                schemes,
                key,
                chain,
                trust,
                crls,
                ocsp,
            })
        });
        labels.extend(label.clone());
        match read {
            Ok(ring) => {
                let refuse = words.optional("refuse");
                rings
                    .refusals
                    .extend(refuse.map(|word| (ring.label.clone(), word)));
                rings.good.0.push(ring);
            }
            Err(reported) => rings.bad.push((label.ok(), reported)),
        }
    }
    let bytes = serialized_size(&rings.good).unwrap_or(usize::MAX);
    if bytes > MAX_BYTES {
        let reported = file.problem(
            format!("the key rings have {bytes} bytes, with certificates and revocation lists"),
            format!("leave {MAX_BYTES} at most: take out rings, certificates or lists that no peer needs"),
        );
        rings.bad.push((None, reported));
    }
    rings
}

/// The label of a ring, if no other has it.
fn own_label(words: &Words<'_>, others: &[Label]) -> Result<Label, Reported> {
    let word = words.required("label")?;
    let label = label(word)?;
    if others.contains(&label) {
        return Err(word.problem(
            format!("a second key ring is called \"{label}\""),
            "give each key ring a label of its own",
        ));
    }
    Ok(label)
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

/// A label of 1 to [`MAX_LABEL`] bytes.
pub(crate) fn label(word: Word<'_>) -> Result<Label, Reported> {
    let text = word.short_text()?;
    Label::from_text(text).map_err(|_| {
        word.problem(
            format!("label \"{text}\" is too long"),
            format!("write 1 to {MAX_LABEL} bytes"),
        )
    })
}

/// The key, what it signs by, its chain, whom the ring trusts, what those revoked, and the
/// OCSP response for the chain.
type Parts = (
    Option<PrivateKey>,
    Schemes,
    Vec<Vec<u8>>,
    Vec<Vec<u8>>,
    Crls,
    Option<Vec<u8>>,
);

fn parts(words: &Words<'_>, folder: &Path, now: OffsetDateTime) -> Result<Parts, Reported> {
    let trust = if_there(words.optional("trust"), |word| {
        certificates(word, folder, now)
    });
    let crls = match &trust {
        Ok(trust) => revocation::read(words, folder, now, trust.as_deref().unwrap_or_default()),
        Err(reported) => Err(*reported),
    };
    let identity = match (words.optional("chain"), words.optional("key")) {
        // Trust anchors alone: for a client's peers.
        (None, None) if words.optional("trust").is_some() => Ok(None),
        _ => identity(words, folder, now).map(Some),
    };
    let (key, chain) = identity?.unzip();
    let ocsp = ocsp::read(words, folder, now, chain.as_deref().unwrap_or_default());
    let schemes = if_there(words.optional("signature_schemes"), |word| {
        schemes(&word, key.as_ref().map(|key| key.kind))
    });
    let (schemes, trust) = (schemes?.unwrap_or_default(), trust?.unwrap_or_default());
    Ok((key, schemes, chain.unwrap_or_default(), trust, crls?, ocsp?))
}

/// What the key signs by: schemes for its kind.
fn schemes(word: &Word<'_>, key: Option<KeyKind>) -> Result<Schemes, Reported> {
    let schemes = word.choices(&Scheme::ALL.map(|scheme| (scheme.name(), scheme)))?;
    if let Some(scheme) = schemes.iter().find(|s| key != Some(KeyKind::of(**s))) {
        return Err(word.problem(
            format!("{} is not for the key of this ring", scheme.name()),
            "name schemes for its kind of key, or take signature_schemes out",
        ));
    }
    List::from_items(schemes).map_err(|_| {
        word.problem(
            "more signature schemes than there are",
            "name each of them once",
        )
    })
}

/// A private key and its chain.
fn identity(
    words: &Words<'_>,
    folder: &Path,
    now: OffsetDateTime,
) -> Result<(PrivateKey, Vec<Vec<u8>>), Reported> {
    let chain = words.required("chain").and_then(|word| {
        let chain = certificates(word, folder, now)?;
        chain::check_order(word.text()?, &chain).map_err(|complaint| word.complain(complaint))?;
        Ok((word, chain))
    });
    let key = words.required("key");
    let key = key.and_then(|word| Ok((word, contents(word, folder)?)));
    let ((chain_word, chain), (key_word, pem)) = (chain?, key?);
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
) -> Result<Vec<Vec<u8>>, Reported> {
    let pem = contents(word, folder)?;
    chain::read(word.text()?, &pem, now).map_err(|complaint| word.complain(complaint))
}

/// The contents of the file that `word` names, relative to `folder`.
pub(crate) fn contents(word: Word<'_>, folder: &Path) -> Result<Zeroizing<Vec<u8>>, Reported> {
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
    let file = File::open(&path).map_err(unreadable)?;
    // Of a pipe it says nothing. Without room for all, parts of a key would stay where they
    // were moved from.
    let length = file.metadata().map_err(unreadable)?.len().min(MAX_FILE);
    let mut contents = Zeroizing::new(Vec::with_capacity(length as usize + 1));
    let mut file = file.take(MAX_FILE + 1);
    file.read_to_end(&mut contents).map_err(unreadable)?;
    if contents.len() as u64 > MAX_FILE {
        return Err(word.problem(
            format!("{name} is larger than {MAX_FILE} bytes"),
            "name a PEM file with nothing but the certificates or the key",
        ));
    }
    Ok(contents)
}
