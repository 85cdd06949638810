//! The keys `crl` and `revocation` of a key ring: its revocation lists (RFC 5280 §5).

use std::path::Path;

use der::asn1::{AnyRef, BitStringRef};
use der::{Reader, SliceReader};
use ipc::provision::{Crls, MAX_CRL};
use ipc::tls::Revocation;
use time::OffsetDateTime;
use webpki::{ALL_VERIFICATION_ALGS, BorrowedCertRevocationList};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::time::ASN1Time;

use crate::chain::{self, day};
use crate::keyring::contents;
use crate::pem;
use crate::problem::{Complaint, Reported};
use crate::reference::{Key, Kind, Need};
use crate::words::{Word, Words, each, if_there};

/// Most files.
const MAX_FILES: usize = 16;
/// Most lists of one ring: the key store counts them in one byte.
const MAX_LISTS: usize = 64;
/// What `revocation` can be.
const REVOCATION: [(&str, Revocation); 2] = [
    ("require", Revocation::Require),
    ("when-known", Revocation::WhenKnown),
];

/// The key `crl`.
pub(crate) const CRL: Key = Key {
    name: "crl",
    kind: Kind::Files { count: MAX_FILES },
    need: Need::Depends("no peer's certificate is looked up"),
    example: "[\"client-ca.crl\"]",
    meaning: "Revocation lists (CRLs) of those in `trust`, in PEM or DER, one for each issuer; \
              in PEM also of those whom they authorised, beside their certificates \
              (`docs/adr/0174`).",
};

/// The key `revocation`.
pub(crate) const WORD: Key = Key {
    name: "revocation",
    kind: Kind::Choice(|| REVOCATION.map(|(name, _)| name).to_vec()),
    need: Need::Depends("`\"require\"`, with `crl`"),
    example: "\"when-known\"",
    meaning: "`\"require\"`: each certificate between a peer and `trust` needs a list of its \
              issuer that is not out of date; `\"when-known\"`: a list that is there counts, \
              however old.",
};

/// What the files have.
#[derive(Default)]
struct Found<'a> {
    /// Lists in DER, by the name of their file and their place in it.
    lists: Vec<(&'a str, usize, Vec<u8>)>,
    /// Issuers that one of the trust anchors authorised.
    issuers: Vec<(&'a str, usize, Vec<u8>)>,
}

/// Reads the two keys of a ring that trusts these.
pub(crate) fn read(
    words: &Words<'_>,
    folder: &Path,
    now: OffsetDateTime,
    trust: &[Vec<u8>],
) -> Result<Crls, Reported> {
    let word = words.optional(WORD.name);
    let revocation = if_there(word, |word| word.choice(&REVOCATION));
    let Some(files) = words.optional(CRL.name) else {
        return match word {
            Some(word) => Err(word.problem(
                "revocation is about lists, and this ring has no crl",
                "add crl = [\"client-ca.crl\"], or take revocation out",
            )),
            None => Ok(Crls::default()),
        };
    };
    if trust.is_empty() {
        return Err(files.problem(
            "crl is about the certificates of peers, and this ring trusts nobody",
            "add trust = \"client-ca.pem\", or take crl out",
        ));
    }
    let found = each(files.one_or_more()?, |file| in_file(file, folder));
    let (mut found, revocation) = (found?, revocation?.unwrap_or_default());
    let mut all = Found::default();
    for file in &mut found {
        all.lists.append(&mut file.lists);
        all.issuers.append(&mut file.issuers);
    }
    if all.lists.len() > MAX_LISTS {
        return Err(files.problem(
            format!("more than {MAX_LISTS} revocation lists"),
            "spread the issuers over several key rings",
        ));
    }
    let checked = check(&all, trust, revocation, ASN1Time::from(now));
    checked.map_err(|complaint| files.complain(complaint))?;
    let lists = all.lists.into_iter().map(|(.., der)| der).collect();
    Ok(Crls { revocation, lists })
}

fn in_file<'a>(file: Word<'a>, folder: &Path) -> Result<Found<'a>, Reported> {
    let (name, bytes) = (file.text()?, contents(file, folder)?);
    decode(name, &bytes).map_err(|complaint| file.complain(complaint))
}

fn decode<'a>(name: &'a str, bytes: &[u8]) -> Result<Found<'a>, Complaint> {
    /// What DER begins with, and no text: SEQUENCE, with a length in more than one byte.
    const DER: [u8; 2] = [0x30, 0x80];
    let mut found = Found::default();
    if let [tag, length, ..] = bytes
        && *tag == DER[0]
        && length & DER[1] != 0
    {
        found.lists.push((name, 0, bytes.to_vec()));
        return Ok(found);
    }
    for section in pem::sections(name, bytes)? {
        let list = match section.label {
            "X509 CRL" => &mut found.lists,
            "CERTIFICATE" => &mut found.issuers,
            _ => {
                section.is_unwanted(&[])?;
                continue;
            }
        };
        list.push((name, list.len(), section.decode()?.1.to_vec()));
    }
    if found.lists.is_empty() {
        return Err(Complaint::new(
            format!("{name} has no revocation list in it"),
            "it must have a section \"X509 CRL\", or be one list in DER",
        ));
    }
    Ok(found)
}

fn check(
    all: &Found<'_>,
    trust: &[Vec<u8>],
    revocation: Revocation,
    now: ASN1Time,
) -> Result<(), Complaint> {
    let mut issuers: Vec<X509Certificate<'_>> = Vec::new();
    for der in trust {
        // They were read before.
        issuers.extend(X509Certificate::from_der(der).map(|(_, anchor)| anchor));
    }
    let anchors = issuers.len();
    for (name, index, der) in &all.issuers {
        issuers.push(chain::Place::new(name, *index).parse(der)?);
    }
    for ((name, index, _), issuer) in all.issuers.iter().zip(issuers.iter().skip(anchors)) {
        let issued = |by: &X509Certificate<'_>| {
            by.subject().as_raw() == issuer.issuer().as_raw()
                && by.as_ref() != issuer.as_ref()
                && issuer.verify_signature(Some(by.public_key())).is_ok()
        };
        if !issuers.iter().any(issued) {
            return Err(Complaint::new(
                format!(
                    "{name}: certificate {} was issued by nobody in trust",
                    index + 1
                ),
                "leave the certificates of those whom one of trust authorised",
            ));
        }
    }
    let mut of_issuers: Vec<(Vec<u8>, bool)> = Vec::new();
    for (name, index, der) in &all.lists {
        let list = List {
            name,
            number: index + 1,
            der,
        };
        let (issuer, is_part) = list.check(&issuers, revocation, now)?;
        // webpki asks the first that may know.
        let is_same = |(other, part): &(Vec<u8>, bool)| *other == issuer && !(is_part && *part);
        if of_issuers.iter().any(is_same) {
            return Err(list.complain(
                "is the second of its issuer",
                "leave the newer one: nobody asks a second",
            ));
        }
        of_issuers.push((issuer, is_part));
    }
    Ok(())
}

/// One list of a file.
struct List<'a> {
    name: &'a str,
    number: usize,
    der: &'a [u8],
}

impl List<'_> {
    fn complain(&self, what: &str, remedy: &str) -> Complaint {
        let (name, number) = (self.name, self.number);
        Complaint::new(format!("{name}: revocation list {number} {what}"), remedy)
    }

    /// Its issuer's name, and whether it is for a part of its certificates.
    fn check(
        &self,
        issuers: &[X509Certificate<'_>],
        revocation: Revocation,
        now: ASN1Time,
    ) -> Result<(Vec<u8>, bool), Complaint> {
        if self.der.len() > MAX_CRL {
            return Err(self.complain(
                &format!("has {} bytes", self.der.len()),
                &format!("leave {MAX_CRL} at most: its issuer can part it"),
            ));
        }
        // As the offload component will.
        let read = BorrowedCertRevocationList::from_der(self.der);
        let entries = read.and_then(|list| list.into_iter().try_for_each(|entry| entry.map(drop)));
        let parsed = CertificateRevocationList::from_der(self.der);
        let (Ok(()), Ok((rest, list))) = (&entries, parsed) else {
            use webpki::Error::{
                UnsupportedCrlVersion, UnsupportedDeltaCrl, UnsupportedIndirectCrl,
            };
            return Err(match entries {
                Err(UnsupportedDeltaCrl) => {
                    self.complain("is a delta list", "get the full list of its issuer")
                }
                Err(UnsupportedIndirectCrl) => self.complain(
                    "is an indirect list",
                    "get the list that the issuer itself signs",
                ),
                Err(UnsupportedCrlVersion) => self.complain(
                    "is none of version 2",
                    "have it issued again, with extensions (RFC 5280 §5.1.2.1)",
                ),
                _ => self.complain(
                    "can't be read",
                    "openssl crl -in FILE -text tells more; get it again",
                ),
            });
        };
        if !rest.is_empty() {
            return Err(self.complain("is followed by something else", "get it again"));
        }
        let named = issuers
            .iter()
            .filter(|issuer| issuer.subject().as_raw() == list.issuer().as_raw());
        let named: Vec<_> = named.collect();
        if named.is_empty() {
            return Err(self.complain(
                "is of an issuer that is not in trust",
                "put the issuer's certificate there, or beside the list if one of trust \
                 authorised it; openssl crl -in FILE -noout -issuer tells its name",
            ));
        }
        let Some(issuer) = named.into_iter().find(|issuer| self.is_signed_by(issuer)) else {
            return Err(self.complain(
                "is not signed with the key of its issuer, or by an algorithm that is not known",
                "get the list that goes with the issuer's certificate; signatures are by ECDSA, \
                 Ed25519, or RSA of 2048 bits and more, with SHA-256 and longer",
            ));
        };
        if chain::key_usage(issuer).is_some_and(|usage| !usage.crl_sign()) {
            return Err(self.complain(
                "is signed with a key that may not sign such (keyUsage without cRLSign)",
                "have the issuer's certificate issued again, with cRLSign",
            ));
        }
        if now < list.last_update() {
            return Err(self.complain(
                &format!("is not valid before {}", day(list.last_update())),
                "wait, set this machine's clock, or use one that is valid now",
            ));
        }
        let due = list.next_update().filter(|due| *due <= now);
        if let (Revocation::Require, Some(due)) = (revocation, due) {
            return Err(self.complain(
                &format!("is out of date since {}", day(due)),
                "get the next one, or write revocation = \"when-known\"",
            ));
        }
        // RFC 5280 §5.2.5.
        let part = x509_parser::oid_registry::OID_X509_EXT_ISSUER_DISTRIBUTION_POINT;
        let is_part = list.extensions().iter().any(|found| found.oid == part);
        Ok((list.issuer().as_raw().to_vec(), is_part))
    }

    /// By an algorithm that the offload component has.
    fn is_signed_by(&self, issuer: &X509Certificate<'_>) -> bool {
        let signed = || {
            let mut reader = SliceReader::new(self.der).ok()?;
            let parts = reader.sequence(|parts| {
                let signed = parts.tlv_bytes()?;
                Ok::<_, der::Error>((signed, algorithm_and_bits(parts)?))
            });
            let mut reader = SliceReader::new(issuer.public_key().raw).ok()?;
            let key = reader.sequence(algorithm_and_bits);
            Some((parts.ok()?, key.ok()?))
        };
        let Some(((message, (algorithm, signature)), (kind, key))) = signed() else {
            return false;
        };
        ALL_VERIFICATION_ALGS
            .iter()
            .filter(|known| known.signature_alg_id().as_ref() == algorithm)
            .filter(|known| known.public_key_alg_id().as_ref() == kind)
            .any(|known| known.verify_signature(key, message, signature).is_ok())
    }
}

/// An AlgorithmIdentifier without its header, and the bits after it.
fn algorithm_and_bits<'a>(parts: &mut impl Reader<'a>) -> Result<(&'a [u8], &'a [u8]), der::Error> {
    let algorithm: AnyRef<'a> = parts.decode()?;
    let bits: BitStringRef<'a> = parts.decode()?;
    Ok((algorithm.value(), bits.raw_bytes()))
}
