//! The table `[rotation]`, and updates of key rings.

use std::path::Path;

use der::asn1::BitStringRef;
use der::{Reader, SliceReader};
use ipc::provision::update::{CONTEXT, MAGIC, MAX};
use ipc::provision::{Keyrings, Update};
use ring::signature::Ed25519KeyPair;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;

use crate::asn1::{Algorithm, ED25519};
use crate::keyring;
use crate::pem;
use crate::problem::{Complaint, Reported};
use crate::reference::{Key, Kind, Need, Table};
use crate::seal::{self, Kek, SealError};
use crate::words::Word;

/// The table.
pub(crate) static TABLE: Table = Table {
    name: "[rotation]",
    about: "Who may replace key rings of the running system (`docs/adr/0087`); without the \
            table nobody.",
    keys: &[Key {
        name: "signer",
        kind: Kind::File,
        need: Need::Required,
        example: "\"signer-public.pem\"",
        meaning: "The Ed25519 public key that updates are signed for, in PEM.",
    }],
};

/// Why there is no update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateError {
    /// The signer's key is no Ed25519 key in PKCS#8 PEM.
    Signer,
    /// Version 0 is the image's.
    Version,
    /// The rings are too large.
    TooLong,
    /// They could not be sealed.
    Seal(SealError),
}

impl std::fmt::Display for UpdateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signer => f.write_str(
                "the signer's key is no Ed25519 key; make one with \
                 openssl genpkey -algorithm ed25519 -out signer.pem",
            ),
            Self::Version => f.write_str("version 0 is the image's own; count from 1"),
            Self::TooLong => write!(f, "the key rings have more than {MAX} bytes"),
            Self::Seal(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for UpdateError {}

/// Reads the table: who may sign updates.
pub(crate) fn read(word: Word<'_>, folder: &Path) -> Result<[u8; 32], Reported> {
    let signer = word.table()?.required("signer")?;
    let file = keyring::contents(signer, folder)?;
    public_key(signer.text()?, &file).map_err(|complaint| signer.complain(complaint))
}

/// The one key of a PEM file.
fn public_key(name: &str, file: &[u8]) -> Result<[u8; 32], Complaint> {
    let key = match pem::sections(name, file)?.as_slice() {
        [section] if section.label == "PUBLIC KEY" => ed25519(&section.decode()?.1),
        _ => None,
    };
    key.ok_or_else(|| {
        Complaint::new(
            format!("{name} is not one Ed25519 public key in PEM"),
            "write it with: openssl pkey -in signer.pem -pubout -out signer-public.pem",
        )
    })
}

/// The key of a SubjectPublicKeyInfo, if it is an Ed25519 key (RFC 8410 §4).
fn ed25519(der: &[u8]) -> Option<[u8; 32]> {
    let mut reader = SliceReader::new(der).ok()?;
    let fields = reader.sequence(|info| {
        let algorithm: Algorithm<'_> = info.decode()?;
        let bits: BitStringRef<'_> = info.decode()?;
        Ok::<_, der::Error>((algorithm, bits))
    });
    let (algorithm, bits) = fields.ok()?;
    reader.finish().ok()?;
    if algorithm.oid != ED25519 || algorithm.parameters.is_some() {
        return None;
    }
    bits.as_bytes()?.try_into().ok()
}

/// An update with these rings as it goes over the line to the key store.
///
/// # Errors
/// [`UpdateError`].
pub fn update(
    rings: &Keyrings,
    version: u64,
    signer: &[u8],
    kek: Option<&Kek>,
) -> Result<Vec<u8>, UpdateError> {
    if version == 0 {
        return Err(UpdateError::Version);
    }
    let key = PrivatePkcs8KeyDer::from_pem_slice(signer).map_err(|_| UpdateError::Signer)?;
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der());
    let key = key.map_err(|_| UpdateError::Signer)?;
    let rings = seal::rings(rings, kek).map_err(UpdateError::Seal)?;
    let update = postcard::to_allocvec(&Update { version, rings });
    let update = update.map_err(|_| UpdateError::TooLong)?;
    let length = u32::try_from(update.len()).ok();
    let length = length.filter(|_| update.len() <= MAX);
    let length = length.ok_or(UpdateError::TooLong)?.to_le_bytes();
    let signature = key.sign(&[CONTEXT, &update].concat());
    Ok([&MAGIC[..], &length, signature.as_ref(), &update].concat())
}
