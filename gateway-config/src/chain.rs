//! Certificate files: chains and trust anchors.

use der::asn1::ObjectIdentifier;
use time::OffsetDateTime;
use tls::Role;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::KeyUsage;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Version;

use crate::key::{self, PublicKey};
use crate::pem;
use crate::problem::Complaint;

/// Most certificates of one list: the key store counts them in one byte.
const MAX_CERTIFICATES: usize = 16;
/// Largest certificate: the key store gives them out by a 16-bit offset.
const MAX_DER: usize = 16 * 1024;

/// The certificates of a PEM file, each valid at `now`.
pub(crate) fn read(
    name: &str,
    file: &[u8],
    now: OffsetDateTime,
) -> Result<Vec<Vec<u8>>, Complaint> {
    let mut list = Vec::new();
    for section in pem::sections(name, file)? {
        match section.label {
            "CERTIFICATE" => list.push(section.decode()?.1.to_vec()),
            // Many keep both in one file.
            _ => section.is_unwanted(&key::LABELS)?,
        }
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

/// Refuses a chain that many peers, browsers and webpki among them, do not accept of an
/// end in `role`.
///
/// # Errors
/// What is wrong with it, and what to do, without the file's name.
pub(crate) fn check_use(chain: &[Vec<u8>], role: Role) -> Result<(), Complaint> {
    let mut certificates = chain
        .iter()
        .filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1));
    let Some(first) = certificates.next() else {
        return Ok(());
    };
    let unfit = |what: &str, remedy: &str| Err(Complaint::new(what, remedy));
    if first.version() != X509Version::V3 {
        return unfit(
            "its certificate is none of version 3, which many peers refuse",
            "have it issued again, with extensions (RFC 5280 §4.1.2.1)",
        );
    }
    if is_authority(&first) {
        return unfit(
            "its first certificate is that of an authority (basicConstraints CA:TRUE), which many peers refuse",
            "put the certificate that was issued for this key first, with CA:FALSE; \
             openssl req -x509 makes such a one with -addext basicConstraints=CA:FALSE",
        );
    }
    if !key_usage(&first).is_none_or(|usage| usage.digital_signature()) {
        return unfit(
            "its certificate's keyUsage is without digitalSignature",
            "have it issued with digitalSignature, which handshakes sign with",
        );
    }
    let purposes = first.extended_key_usage().ok().flatten();
    let purposes = purposes.map(|extension| extension.value);
    let (serves, name) = match role {
        Role::Server => (
            purposes.is_none_or(|p| p.any || p.server_auth),
            "serverAuth",
        ),
        Role::Client => (
            purposes.is_none_or(|p| p.any || p.client_auth),
            "clientAuth",
        ),
    };
    if !serves {
        return unfit(
            &format!("its certificate's extendedKeyUsage is without {name}"),
            &format!("have it issued with {name}, which peers ask for"),
        );
    }
    let names = first.subject_alternative_name().ok().flatten();
    if role == Role::Server && names.is_none_or(|names| names.value.general_names.is_empty()) {
        return unfit(
            "its certificate has no subjectAltName",
            "have it issued with one; most clients read no commonName (RFC 9525)",
        );
    }
    for (index, issuer) in certificates.enumerate() {
        let number = index + 2;
        // An old root, which peers skip.
        let is_root = issuer.version() == X509Version::V1 && issuer.issuer() == issuer.subject();
        if is_root {
            continue;
        }
        if !is_authority(&issuer) || !key_usage(&issuer).is_none_or(|u| u.key_cert_sign()) {
            return unfit(
                &format!("certificate {number} of its chain is no authority's"),
                "leave out what issued nothing; an authority's certificate has CA:TRUE and, \
                 with a keyUsage, keyCertSign",
            );
        }
    }
    Ok(())
}

fn is_authority(certificate: &X509Certificate<'_>) -> bool {
    let constraints = certificate.basic_constraints().ok().flatten();
    constraints.is_some_and(|extension| extension.value.ca)
}

pub(crate) fn key_usage(certificate: &X509Certificate<'_>) -> Option<KeyUsage> {
    let usage = certificate.key_usage().ok().flatten()?;
    Some(*usage.value)
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

/// One certificate of a file.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    name: &'a str,
    index: usize,
}

impl<'n> Place<'n> {
    pub(crate) const fn new(name: &'n str, index: usize) -> Self {
        Self { name, index }
    }

    pub(crate) fn parse<'a>(&self, der: &'a [u8]) -> Result<X509Certificate<'a>, Complaint> {
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

pub(crate) fn day(time: ASN1Time) -> time::Date {
    time.to_datetime().date()
}
