//! Private keys: PKCS#8 (RFC 5958), SEC1 (RFC 5915) and PKCS#1 (RFC 8017), all
//! turned into the PKCS#8 that the key store reads.

use der::asn1::{AnyRef, BitStringRef, Null, ObjectIdentifier, OctetStringRef, UintRef};
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};
use ipc::keystore::KeyKind;
use ipc::provision::PrivateKey;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use rustls_pki_types::pem::SectionKind;
use zeroize::Zeroizing;

use crate::asn1::{Algorithm, EC, ED25519, EcPrivateKey, P256, P384, PrivateKeyInfo, RSA, secret};
use crate::pem;
use crate::problem::Complaint;

/// Sections with a private key that is not locked.
pub(crate) const LABELS: [&str; 3] = ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"];
const KINDS: &str = "use ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits";

/// The end-entity certificate's public key (RFC 5280 §4.1.2.7).
#[derive(Clone, Copy)]
pub(crate) struct PublicKey<'a> {
    /// The algorithm; none, where its name is longer than any that is known here.
    pub(crate) algorithm: Option<ObjectIdentifier>,
    /// The named curve, where there is one.
    pub(crate) curve: Option<ObjectIdentifier>,
    /// The key's bits.
    pub(crate) bits: &'a [u8],
}

impl PublicKey<'_> {
    /// Which kind of key it is.
    pub(crate) fn kind(&self) -> Result<KeyKind, Complaint> {
        let is = |algorithm| self.algorithm == Some(algorithm);
        if is(RSA) {
            return match modulus_bits(self.bits) {
                Some(2048..=4096) => Ok(KeyKind::Rsa),
                Some(bits) => Err(Complaint::new(
                    format!("the certificate's RSA key has {bits} bits"),
                    KINDS,
                )),
                None => Err(Complaint::new(
                    "the certificate's RSA key can't be read",
                    KINDS,
                )),
            };
        }
        let kinds = [
            (EC, Some(P256), KeyKind::EcdsaP256),
            (EC, Some(P384), KeyKind::EcdsaP384),
            (ED25519, None, KeyKind::Ed25519),
        ];
        let mut kinds = kinds.into_iter();
        let found = kinds.find(|(algorithm, curve, _)| is(*algorithm) && self.curve == *curve);
        found.map(|(_, _, kind)| kind).ok_or_else(|| {
            Complaint::new(
                "the certificate's key is of a kind that is not supported",
                KINDS,
            )
        })
    }
}

/// Bits of the modulus of an RSAPublicKey (RFC 8017 §A.1.1).
fn modulus_bits(bits: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(bits).ok()?;
    let modulus = reader.sequence(|key| {
        let modulus: UintRef<'_> = key.decode()?;
        key.drain(key.remaining_len())?;
        Ok::<_, der::Error>(modulus)
    });
    // Without leading zeros.
    let modulus = modulus.ok()?.as_bytes();
    let first = modulus.first().filter(|first| **first != 0)?;
    Some(modulus.len() * 8 - usize::try_from(first.leading_zeros()).ok()?)
}

/// Reads the private key of a file and proves that it belongs to `public`.
/// `name` is the file's, for the complaint.
pub(crate) fn read(
    name: &str,
    file: &[u8],
    public: PublicKey<'_>,
) -> Result<PrivateKey, Complaint> {
    let kind = public.kind()?;
    let found = find(name, file)?;
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

/// The private key of a PEM file, with its kind of wrapping.
fn find(name: &str, file: &[u8]) -> Result<(SectionKind, Zeroizing<Vec<u8>>), Complaint> {
    let mut found = None;
    for section in pem::sections(name, file)? {
        if section.label == "ENCRYPTED PRIVATE KEY" {
            return Err(section.complain(
                "it is locked with a passphrase",
                "unlock it first: openssl pkey -in FILE -out UNLOCKED",
            ));
        }
        if !LABELS.contains(&section.label) {
            // Many keep both in one file.
            section.is_unwanted(&["CERTIFICATE"])?;
        } else if found.is_some() {
            return Err(section.complain(
                "a second private key",
                "leave the one that belongs to the chain's first certificate",
            ));
        } else {
            found = Some(section.decode()?);
        }
    }
    found.ok_or_else(|| {
        Complaint::new(
            format!("{name} has no private key in it"),
            "it must have a section \"PRIVATE KEY\", \"EC PRIVATE KEY\" or \"RSA PRIVATE KEY\"",
        )
    })
}

/// A private key without its wrapping.
enum Secret<'a> {
    /// The scalar, and the curve if the wrapping names it.
    Ec(&'a [u8], Option<ObjectIdentifier>),
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

    /// PrivateKeyInfo; what may come after the key is of no use here.
    fn pkcs8(der: &'a [u8]) -> Option<Self> {
        let mut reader = SliceReader::new(der).ok()?;
        let fields = reader.sequence(|info| {
            let _version: UintRef<'_> = info.decode()?;
            let algorithm: Algorithm<'_> = info.decode()?;
            let key: &OctetStringRef = info.decode()?;
            info.drain(info.remaining_len())?;
            Ok::<_, der::Error>((algorithm, key.as_bytes()))
        });
        let (algorithm, inner) = fields.ok()?;
        if algorithm.oid == RSA {
            return Some(Self::Rsa(inner));
        }
        if algorithm.oid == ED25519 {
            // CurvePrivateKey (RFC 8410 §7).
            let mut reader = SliceReader::new(inner).ok()?;
            let seed: &OctetStringRef = reader.decode().ok()?;
            return Some(Self::Ed25519(seed.as_bytes()));
        }
        if algorithm.oid == EC {
            return Self::sec1(inner, algorithm.curve());
        }
        None
    }

    /// ECPrivateKey; the curve may be named in it, or outside.
    fn sec1(der: &'a [u8], curve: Option<ObjectIdentifier>) -> Option<Self> {
        const CURVE: Tag = Tag::ContextSpecific {
            constructed: true,
            number: TagNumber(0),
        };
        let mut reader = SliceReader::new(der).ok()?;
        let fields = reader.sequence(|key| {
            let _version: UintRef<'_> = key.decode()?;
            let scalar: &OctetStringRef = key.decode()?;
            let mut named = None;
            while !key.is_finished() {
                let more: AnyRef<'_> = key.decode()?;
                if more.tag() == CURVE {
                    named = ObjectIdentifier::from_der(more.value()).ok();
                }
            }
            Ok::<_, der::Error>((scalar.as_bytes(), named))
        });
        let (scalar, named) = fields.ok()?;
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
                let inner = secret(&EcPrivateKey {
                    version: 1,
                    scalar: OctetStringRef::new(scalar).ok()?,
                    public: BitStringRef::from_bytes(public.bits).ok()?,
                })?;
                wrap(EC, Some(AnyRef::from(&public.curve?)), &inner)
            }
            (Self::Ed25519(seed), KeyKind::Ed25519) => {
                Ed25519KeyPair::from_seed_and_public_key(seed, public.bits).ok()?;
                let inner = secret(&OctetStringRef::new(seed).ok()?)?;
                wrap(ED25519, None, &inner)
            }
            (Self::Rsa(inner), KeyKind::Rsa) => {
                let pair = RsaKeyPair::from_der(inner).ok()?;
                if signature::KeyPair::public_key(&pair).as_ref() != public.bits {
                    return None;
                }
                wrap(RSA, Some(Null.into()), inner)
            }
            _ => None,
        }
    }
}

/// What the key store reads.
fn wrap(
    oid: ObjectIdentifier,
    parameters: Option<AnyRef<'_>>,
    inner: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    secret(&PrivateKeyInfo {
        version: 0,
        algorithm: Algorithm { oid, parameters },
        key: OctetStringRef::new(inner).ok()?,
    })
}
