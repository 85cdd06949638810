//! Private keys: PKCS#8 (RFC 5958), SEC1 (RFC 5915) and PKCS#1 (RFC 8017), all
//! turned into the PKCS#8 that the key store reads.

use ipc::keystore::KeyKind;
use ipc::provision::PrivateKey;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use rustls_pki_types::pem::{PemObject, SectionKind};
use zeroize::Zeroizing;

use crate::der::{
    BIT_STRING, INTEGER, NULL, OBJECT, OCTET_STRING, Reader, SEQUENCE, context, value,
};
use crate::problem::{Complaint, pem_fault};

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: &[u8] = &[0x2b, 0x81, 4, 0, 34];

const KINDS: &str = "use ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits";

/// The end-entity certificate's public key (RFC 5280 §4.1.2.7).
#[derive(Clone, Copy)]
pub(crate) struct PublicKey<'a> {
    /// DER of the algorithm's object identifier, without tag and length.
    pub(crate) algorithm: &'a [u8],
    /// The same of the named curve, where there is one.
    pub(crate) curve: Option<&'a [u8]>,
    /// The key's bits.
    pub(crate) bits: &'a [u8],
}

impl PublicKey<'_> {
    /// Which kind of key it is.
    pub(crate) fn kind(&self) -> Result<KeyKind, Complaint> {
        match (self.algorithm, self.curve) {
            (EC, Some(P256)) => Ok(KeyKind::EcdsaP256),
            (EC, Some(P384)) => Ok(KeyKind::EcdsaP384),
            (ED25519, None) => Ok(KeyKind::Ed25519),
            (RSA, _) => match modulus_bits(self.bits) {
                Some(2048..=4096) => Ok(KeyKind::Rsa),
                Some(bits) => Err(Complaint::new(
                    format!("the certificate's RSA key has {bits} bits"),
                    KINDS,
                )),
                None => Err(Complaint::new(
                    "the certificate's RSA key can't be read",
                    KINDS,
                )),
            },
            _ => Err(Complaint::new(
                "the certificate's key is of a kind that is not supported",
                KINDS,
            )),
        }
    }
}

/// Bits of the modulus of an RSAPublicKey (RFC 8017 §A.1.1).
fn modulus_bits(bits: &[u8]) -> Option<usize> {
    let mut fields = Reader(Reader(bits).expect(SEQUENCE)?);
    let modulus = fields.expect(INTEGER)?;
    let significant = modulus.iter().position(|byte| *byte != 0)?;
    let first = modulus.get(significant)?;
    let bytes = modulus.len() - significant;
    Some(bytes * 8 - usize::try_from(first.leading_zeros()).ok()?)
}

/// Reads the private key of `pem` and proves that it belongs to `public`.
/// `name` is the file's, for the complaint.
pub(crate) fn read(name: &str, pem: &[u8], public: PublicKey<'_>) -> Result<PrivateKey, Complaint> {
    let kind = public.kind()?;
    let found = find(name, pem)?;
    let secret = Secret::parse(&found).ok_or_else(|| {
        Complaint::new(
            format!("{name} is not a private key that can be read"),
            format!("{KINDS}, in PKCS#8, SEC1 or PKCS#1"),
        )
    })?;
    let pkcs8 = secret.matching(kind, public).ok_or_else(|| {
        Complaint::new(
            format!("{name} is not the key of the chain's first certificate"),
            "put the certificate that was made for this key first in the chain, or name its key",
        )
    })?;
    Ok(PrivateKey {
        kind,
        pkcs8: pkcs8.to_vec(),
    })
}

/// The first private key of a PEM file, with its kind of wrapping.
fn find(name: &str, pem: &[u8]) -> Result<(SectionKind, Zeroizing<Vec<u8>>), Complaint> {
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        let (kind, der) = section.map_err(|error| {
            Complaint::new(
                format!("{name} is not PEM: {}", pem_fault(&error)),
                "export the key as PEM; openssl pkey -in FILE shows whether it is",
            )
        })?;
        let der = Zeroizing::new(der);
        match kind {
            SectionKind::PrivateKey | SectionKind::EcPrivateKey | SectionKind::RsaPrivateKey => {
                return Ok((kind, der));
            }
            _ => {}
        }
    }
    let text = String::from_utf8_lossy(pem);
    if text.contains("ENCRYPTED PRIVATE KEY") {
        return Err(Complaint::new(
            format!("{name} is locked with a passphrase"),
            "unlock it first: openssl pkey -in FILE -out UNLOCKED",
        ));
    }
    Err(Complaint::new(
        format!("{name} has no private key in it"),
        "it must have a section \"PRIVATE KEY\", \"EC PRIVATE KEY\" or \"RSA PRIVATE KEY\"",
    ))
}

/// A private key without its wrapping.
enum Secret<'a> {
    /// The scalar, and the curve if the wrapping names it.
    Ec(&'a [u8], Option<&'a [u8]>),
    /// The seed.
    Ed25519(&'a [u8]),
    /// RSAPrivateKey of PKCS#1.
    Rsa(&'a [u8]),
}

impl<'a> Secret<'a> {
    fn parse((kind, der): &'a (SectionKind, Zeroizing<Vec<u8>>)) -> Option<Self> {
        match kind {
            SectionKind::RsaPrivateKey => Some(Self::Rsa(der)),
            SectionKind::EcPrivateKey => Self::sec1(der, None),
            _ => Self::pkcs8(der),
        }
    }

    fn pkcs8(der: &'a [u8]) -> Option<Self> {
        let mut fields = Reader(Reader(der).expect(SEQUENCE)?);
        fields.expect(INTEGER)?;
        let mut algorithm = Reader(fields.expect(SEQUENCE)?);
        let inner = fields.expect(OCTET_STRING)?;
        match algorithm.expect(OBJECT)? {
            RSA => Some(Self::Rsa(inner)),
            ED25519 => Some(Self::Ed25519(Reader(inner).expect(OCTET_STRING)?)),
            EC => Self::sec1(inner, algorithm.expect(OBJECT)),
            _ => None,
        }
    }

    fn sec1(der: &'a [u8], curve: Option<&'a [u8]>) -> Option<Self> {
        let mut fields = Reader(Reader(der).expect(SEQUENCE)?);
        fields.expect(INTEGER)?;
        let scalar = fields.expect(OCTET_STRING)?;
        let named = fields
            .expect(context(0))
            .and_then(|named| Reader(named).expect(OBJECT));
        Some(Self::Ec(scalar, curve.or(named)))
    }

    /// PKCS#8 of this key, if it is the one of `public`.
    fn matching(&self, kind: KeyKind, public: PublicKey<'_>) -> Option<Zeroizing<Vec<u8>>> {
        match (self, kind) {
            (Self::Ec(scalar, curve), KeyKind::EcdsaP256 | KeyKind::EcdsaP384) => {
                let algorithm = if kind == KeyKind::EcdsaP256 {
                    &signature::ECDSA_P256_SHA256_ASN1_SIGNING
                } else {
                    &signature::ECDSA_P384_SHA384_ASN1_SIGNING
                };
                if curve.is_some_and(|curve| Some(curve) != public.curve) {
                    return None;
                }
                let random = SystemRandom::new();
                // Refuses a scalar that does not lead to these bits.
                EcdsaKeyPair::from_private_key_and_public_key(
                    algorithm,
                    scalar,
                    public.bits,
                    &random,
                )
                .ok()?;
                let bits = value(BIT_STRING, &[&[0], public.bits]);
                let inner = value(
                    SEQUENCE,
                    &[
                        &value(INTEGER, &[&[1]]),
                        &value(OCTET_STRING, &[scalar]),
                        &value(context(1), &[&bits]),
                    ],
                );
                Some(wrap(EC, &value(OBJECT, &[public.curve?]), &inner))
            }
            (Self::Ed25519(seed), KeyKind::Ed25519) => {
                Ed25519KeyPair::from_seed_and_public_key(seed, public.bits).ok()?;
                Some(wrap(ED25519, &[], &value(OCTET_STRING, &[seed])))
            }
            (Self::Rsa(inner), KeyKind::Rsa) => {
                let pair = RsaKeyPair::from_der(inner).ok()?;
                if signature::KeyPair::public_key(&pair).as_ref() != public.bits {
                    return None;
                }
                Some(wrap(RSA, &value(NULL, &[]), inner))
            }
            _ => None,
        }
    }
}

/// A PrivateKeyInfo (RFC 5958 §2, version 1).
fn wrap(algorithm: &[u8], parameters: &[u8], inner: &[u8]) -> Zeroizing<Vec<u8>> {
    let identifier = value(SEQUENCE, &[&value(OBJECT, &[algorithm]), parameters]);
    value(
        SEQUENCE,
        &[
            &value(INTEGER, &[&[0]]),
            &identifier,
            &value(OCTET_STRING, &[inner]),
        ],
    )
}
