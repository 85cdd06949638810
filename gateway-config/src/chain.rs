//! Certificate files: chains and trust anchors.

use der::asn1::ObjectIdentifier;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{Error, PemObject};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::key::PublicKey;
use crate::problem::{Complaint, pem_fault};

/// Most certificates of one list: the key store counts them in one byte.
const MAX_CERTIFICATES: usize = 16;
/// Largest certificate: the key store gives them out by a 16-bit offset.
const MAX_DER: usize = 16 * 1024;

/// The certificates of a PEM file, each valid at `now`.
pub(crate) fn read(name: &str, pem: &[u8], now: OffsetDateTime) -> Result<Vec<Vec<u8>>, Complaint> {
    let mut list = Vec::new();
    for section in CertificateDer::pem_slice_iter(pem) {
        let der = section.map_err(|error| not_pem(name, &error))?;
        list.push(der.to_vec());
    }
    if list.is_empty() {
        return Err(Complaint::new(
            format!("{name} has no certificate in it"),
            "it must have at least one section \"CERTIFICATE\"",
        ));
    }
    if list.len() > MAX_CERTIFICATES {
        return Err(Complaint::new(
            format!("{name} has {} certificates", list.len()),
            format!("leave {MAX_CERTIFICATES} at most"),
        ));
    }
    for (index, der) in list.iter().enumerate() {
        let place = Place { name, index };
        let certificate = place.parse(der)?;
        place.check_time(&certificate, now)?;
    }
    Ok(list)
}

/// Refuses a chain in which a certificate was not issued by the next one.
pub(crate) fn check_order(name: &str, chain: &[Vec<u8>]) -> Result<(), Complaint> {
    let certificates = chain
        .iter()
        .enumerate()
        .map(|(index, der)| Place { name, index }.parse(der))
        .collect::<Result<Vec<_>, _>>()?;
    let pairs = certificates.iter().zip(certificates.iter().skip(1));
    for (index, (certificate, issuer)) in pairs.enumerate() {
        let signed = certificate.verify_signature(Some(issuer.public_key()));
        // A signature of a kind that can't be checked here is left to the client.
        if certificate.issuer() != issuer.subject()
            || matches!(signed, Err(X509Error::SignatureVerificationError))
        {
            return Err(Complaint::new(
                format!(
                    "{name}: certificate {} did not issue certificate {}",
                    index + 2,
                    index + 1
                ),
                "put the server's certificate first, then each one's issuer",
            ));
        }
    }
    Ok(())
}

/// When a certificate begins to be valid, in seconds since 1970; `None` before.
pub(crate) fn valid_from(der: &[u8]) -> Option<u64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let from = certificate.validity().not_before;
    u64::try_from(from.timestamp()).ok()
}

/// Gives the public key of a certificate to `with`.
pub(crate) fn with_public_key<T>(
    name: &str,
    der: &[u8],
    with: impl FnOnce(PublicKey<'_>) -> T,
) -> Result<T, Complaint> {
    let certificate = Place { name, index: 0 }.parse(der)?;
    let info = certificate.public_key();
    let curve = info.algorithm.parameters.as_ref();
    let algorithm = info.algorithm.algorithm.as_bytes();
    Ok(with(PublicKey {
        algorithm: ObjectIdentifier::from_bytes(algorithm).ok(),
        // Not every algorithm's parameters are an object identifier.
        curve: curve
            .filter(|any| any.header.tag() == x509_parser::asn1_rs::Tag::Oid)
            .and_then(|any| ObjectIdentifier::from_bytes(any.data).ok()),
        bits: info.subject_public_key.data.as_ref(),
    }))
}

fn not_pem(name: &str, error: &Error) -> Complaint {
    Complaint::new(
        format!("{name} is not PEM: {}", pem_fault(error)),
        "export it as PEM; openssl x509 -in FILE -text shows whether it is",
    )
}

/// One certificate of a file.
#[derive(Clone, Copy)]
struct Place<'a> {
    name: &'a str,
    index: usize,
}

impl Place<'_> {
    fn parse<'a>(&self, der: &'a [u8]) -> Result<X509Certificate<'a>, Complaint> {
        let name = self.name;
        let number = self.index + 1;
        if der.len() > MAX_DER {
            return Err(Complaint::new(
                format!("{name}: certificate {number} has {} bytes", der.len()),
                format!("use one of at most {MAX_DER} bytes"),
            ));
        }
        match X509Certificate::from_der(der) {
            Ok(([], certificate)) => Ok(certificate),
            _ => Err(Complaint::new(
                format!("{name}: certificate {number} can't be read"),
                "openssl x509 -in FILE -text tells more; export it again",
            )),
        }
    }

    fn check_time(
        &self,
        certificate: &X509Certificate<'_>,
        now: OffsetDateTime,
    ) -> Result<(), Complaint> {
        let validity = certificate.validity();
        let now = ASN1Time::from(now);
        let number = self.index + 1;
        if now < validity.not_before {
            return Err(Complaint::new(
                format!(
                    "{}: certificate {number} is not valid before {}",
                    self.name,
                    day(validity.not_before)
                ),
                "wait, set this machine's clock, or use one that is valid now",
            ));
        }
        if now > validity.not_after {
            return Err(Complaint::new(
                format!(
                    "{}: certificate {number} expired on {}",
                    self.name,
                    day(validity.not_after)
                ),
                "renew it, or set this machine's clock",
            ));
        }
        Ok(())
    }
}

fn day(time: ASN1Time) -> time::Date {
    time.to_datetime().date()
}
