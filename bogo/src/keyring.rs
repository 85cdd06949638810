//! The runner's files as a key ring.

use std::fs;

use anyhow::{Context, Result, bail};
use ipc::bounded::{List, Text};
use ipc::keystore::KeyKind;
use ipc::provision::{Crls, Keyring, PrivateKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tls::Role;

use crate::exclusions::Excluded;
use crate::flags::{Credential, Settings};

/// Identifiers of keys in PKCS#8 (RFC 8017 §A.1, RFC 5480 §2.1.1.1, RFC 8410 §3), DER.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// An authority that signed nothing, for tests that name none.
const NOBODY: &[u8] = include_bytes!("../nobody.pem");
/// They stand in so many bytes at the start.
const HEAD: usize = 32;
/// An RSA key with a modulus of 2048 bits has more bytes than this, a shorter one fewer.
const SHORT_RSA: usize = 1000;

/// The key ring of a credential, or why it can't be had.
pub(crate) fn keyring(
    label: &str,
    credential: &Credential,
    settings: &Settings,
) -> Result<Result<Keyring, Excluded>> {
    let (mut chain, mut key) = (Vec::new(), None);
    if let (Some(certificate), Some(path)) = (&credential.certificate, &credential.key) {
        let der = PrivatePkcs8KeyDer::from_pem_file(path).with_context(|| path.clone())?;
        let kind = match kind(der.secret_pkcs8_der()) {
            Ok(kind) => kind,
            Err(excluded) => return Ok(Err(excluded)),
        };
        chain = certificates(certificate)?;
        key = Some(PrivateKey {
            kind,
            pkcs8: PrivateKeyDer::from(der).secret_der().to_vec(),
        });
    }
    let nobody = || anyhow::Ok(vec![CertificateDer::from_pem_slice(NOBODY)?.to_vec()]);
    let trust = match &settings.trust {
        _ if settings.trusts_nobody => nobody()?,
        Some(path) => certificates(path)?,
        // Whoever asks for certificates has to trust somebody.
        None => match chain.last() {
            Some(own) => vec![own.clone()],
            None => nobody()?,
        },
    };
    let Ok(label) = Text::from_text(label) else {
        bail!("a label of {} bytes", label.len());
    };
    let Ok(schemes) = List::from_items(credential.schemes.iter().copied()) else {
        bail!("{} signature schemes", credential.schemes.len());
    };
    Ok(Ok(Keyring {
        label,
        roles: vec![Role::Server, Role::Client],
        decrypts: key.as_ref().is_some_and(|key| key.kind == KeyKind::Rsa),
        schemes,
        key,
        chain,
        trust,
        crls: Crls::default(),
        ocsp: credential.ocsp.clone(),
    }))
}

fn kind(pkcs8: &[u8]) -> Result<KeyKind, Excluded> {
    let head = pkcs8.get(..HEAD).unwrap_or(pkcs8);
    let has = |id: &[u8]| head.windows(id.len()).any(|window| window == id);
    if has(RSA) && pkcs8.len() < SHORT_RSA {
        return Err(Excluded::new("policy", "an RSA key below 2048 bits"));
    }
    let kinds = [
        (RSA, KeyKind::Rsa),
        (P256, KeyKind::EcdsaP256),
        (P384, KeyKind::EcdsaP384),
        (ED25519, KeyKind::Ed25519),
    ];
    let found = kinds.into_iter().find(|(id, _)| has(id));
    found.map(|(_, kind)| kind).ok_or_else(|| {
        Excluded::new(
            "primitive",
            "a key that is not P-256, P-384, Ed25519 or RSA",
        )
    })
}

pub(crate) fn certificates(path: &str) -> Result<Vec<Vec<u8>>> {
    let pem = fs::read(path).with_context(|| path.to_string())?;
    CertificateDer::pem_slice_iter(&pem)
        .map(|certificate| Ok(certificate?.to_vec()))
        .collect::<Result<_>>()
        .with_context(|| path.to_string())
}
