//! The key `ocsp` of a key ring: what an OCSP responder says of its certificate (RFC 6960).

use std::path::Path;

use der::asn1::{AnyRef, GeneralizedTime, ObjectIdentifier, OctetStringRef};
use der::{Decode, Sequence, TagNumber, Tagged};
use ipc::provision::MAX_OCSP;
use ring::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::asn1::Algorithm;
use crate::chain::day;
use crate::keyring::contents;
use crate::problem::{Complaint, Reported};
use crate::reference::{Key, Kind, Need};
use crate::words::{Words, if_there};

/// id-pkix-ocsp-basic (RFC 6960 §4.2.1).
const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
/// What certificates are named by (RFC 3279 §2.1, RFC 5754 §2.2).
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
/// OCSPResponseStatus successful.
const SUCCESSFUL: &[u8] = &[0];

/// The key.
pub(crate) const OCSP: Key = Key {
    name: "ocsp",
    kind: Kind::File,
    need: Need::Depends("no client gets an OCSP response"),
    example: "\"web.ocsp\"",
    meaning: "What the OCSP responder of the issuer says of the first certificate of `chain`, \
              in DER: clients that ask for it get it with the certificate (`docs/adr/0180`).",
};

/// Reads the key, of a ring with this chain.
pub(crate) fn read(
    words: &Words<'_>,
    folder: &Path,
    now: OffsetDateTime,
    chain: &[Vec<u8>],
) -> Result<Option<Vec<u8>>, Reported> {
    if_there(words.optional(OCSP.name), |word| {
        let (name, bytes) = (word.text()?, contents(word, folder)?);
        let Some(first) = chain.first() else {
            return Err(word.problem(
                "ocsp is about the certificate of the ring, and it has none",
                "add chain and key, or take ocsp out",
            ));
        };
        let issuer = chain.get(1).map(Vec::as_slice);
        check(&bytes, first, issuer, now.into()).map_err(|(what, remedy)| {
            word.complain(Complaint::new(
                format!("{name}: the OCSP response {what}"),
                remedy,
            ))
        })?;
        Ok(bytes.to_vec())
    })
}

/// What is wrong, and what to do.
type Fault = (String, String);

fn unfit<T>(what: impl Into<String>, remedy: impl Into<String>) -> Result<T, Fault> {
    Err((what.into(), remedy.into()))
}

fn check(
    response: &[u8],
    certificate: &[u8],
    issuer: Option<&[u8]>,
    now: ASN1Time,
) -> Result<(), Fault> {
    if response.len() > MAX_OCSP {
        return unfit(
            format!("has {} bytes", response.len()),
            format!("name one OCSP response in DER, of at most {MAX_OCSP} bytes"),
        );
    }
    let Ok(read) = Response::from_der(response) else {
        return unfit(
            "can't be read",
            "get one in DER, with: openssl ocsp -issuer ISSUER -cert CERTIFICATE -url URL -respout FILE",
        );
    };
    if read.status.value() != SUCCESSFUL {
        return unfit(
            "says that the responder had no answer",
            "ask it again; openssl ocsp -respin FILE -text -noverify tells more",
        );
    }
    let found = with_single(&read, certificate, issuer, |single| {
        check_single(single, now)
    });
    found.unwrap_or_else(|| {
        unfit(
            "is not about the first certificate of the chain",
            "ask the responder about that certificate and its issuer",
        )
    })
}

fn check_single(single: &Single<'_>, now: ASN1Time) -> Result<(), Fault> {
    // RFC 6960 §4.2.1: good, revoked and unknown are 0, 1 and 2.
    if single.status.tag().number() != TagNumber(0) {
        return unfit(
            "does not say that the certificate is good",
            "have the certificate issued again, if it is revoked",
        );
    }
    let time = |time: GeneralizedTime| {
        let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok()?;
        ASN1Time::from_timestamp(seconds).ok()
    };
    let (from, due) = (time(single.this_update), single.next_update.and_then(time));
    if let Some(from) = from.filter(|from| now < *from) {
        return unfit(
            format!("is not valid before {}", day(from)),
            "wait, set this machine's clock, or use one that is valid now",
        );
    }
    match due.filter(|due| *due <= now) {
        Some(due) => unfit(
            format!("is out of date since {}", day(due)),
            "get the next one of the responder",
        ),
        None => Ok(()),
    }
}

/// What of `response` is about the certificate.
fn with_single<R>(
    response: &Response<'_>,
    certificate: &[u8],
    issuer: Option<&[u8]>,
    look: impl FnOnce(&Single<'_>) -> R,
) -> Option<R> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let issuer = issuer.and_then(|der| Some(X509Certificate::from_der(der).ok()?.1));
    let bytes = response
        .bytes
        .as_ref()
        .filter(|bytes| bytes.kind == BASIC)?;
    let basic = Basic::from_der(bytes.response.as_bytes()).ok()?;
    let is_it = |single: &&Single<'_>| {
        let id = &single.certificate;
        let is_hash_of = |hash: &OctetStringRef, of: &[u8]| {
            let algorithm = match id.hash.oid {
                SHA1 => &SHA1_FOR_LEGACY_USE_ONLY,
                SHA_256 => &SHA256,
                // By its number alone.
                _ => return true,
            };
            digest::digest(algorithm, of).as_ref() == hash.as_bytes()
        };
        let has_key = |issuer: &X509Certificate<'_>| {
            is_hash_of(id.issuer_key, &issuer.public_key().subject_public_key.data)
        };
        id.serial.value() == certificate.raw_serial()
            && is_hash_of(id.issuer_name, certificate.issuer().as_raw())
            && issuer.as_ref().is_none_or(has_key)
    };
    basic.data.responses.iter().find(is_it).map(look)
}

/// OCSPResponse.
#[derive(Sequence)]
struct Response<'a> {
    /// ENUMERATED.
    status: AnyRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    bytes: Option<Bytes<'a>>,
}

/// ResponseBytes.
#[derive(Sequence)]
struct Bytes<'a> {
    kind: ObjectIdentifier,
    response: &'a OctetStringRef,
}

/// BasicOCSPResponse. Whether the signature is one of the issuer's is for clients to say.
#[derive(Sequence)]
struct Basic<'a> {
    data: Data<'a>,
    algorithm: AnyRef<'a>,
    signature: AnyRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    certificates: Option<AnyRef<'a>>,
}

/// ResponseData, of version 1.
#[derive(Sequence)]
struct Data<'a> {
    responder: AnyRef<'a>,
    produced: GeneralizedTime,
    responses: Vec<Single<'a>>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<AnyRef<'a>>,
}

/// SingleResponse.
#[derive(Sequence)]
struct Single<'a> {
    certificate: CertId<'a>,
    status: AnyRef<'a>,
    this_update: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    next_update: Option<GeneralizedTime>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<AnyRef<'a>>,
}

/// CertID.
#[derive(Sequence)]
struct CertId<'a> {
    hash: Algorithm<'a>,
    issuer_name: &'a OctetStringRef,
    issuer_key: &'a OctetStringRef,
    serial: AnyRef<'a>,
}
