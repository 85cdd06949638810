//! Who a validated certificate belongs to, in bounded form (R10).

use alloc::string::{String, ToString};
use core::net::IpAddr;

use ipc::bounded::{Blob, Text};
use ipc::control::{MAX_COMMON_NAME, MAX_NAMES, MAX_SUBJECT, PeerIdentity};
use ipc::record::MAX_PEER_CERTIFICATE;
use ring::digest;
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// A peer's end-entity certificate and what it says of its owner.
#[derive(Default)]
pub(crate) struct Peer {
    /// `None` when the peer showed no certificate.
    pub(crate) identity: Option<PeerIdentity>,
    /// DER; empty without one, and of one that is longer than is kept.
    pub(crate) certificate: Blob<MAX_PEER_CERTIFICATE>,
}

impl Peer {
    /// Of a chain that was validated, end entity first; `None` and the empty
    /// chain are a peer that showed none.
    /// Of a certificate that is longer than is kept, the rest is told all the same.
    pub(crate) fn of(chain: Option<&[CertificateDer<'_>]>) -> Self {
        let Some(certificate) = chain.and_then(<[_]>::first) else {
            return Self::default();
        };
        let kept = Blob::from_slice(certificate).unwrap_or_default();
        let mut fingerprint = [0; 32];
        let digest = digest::digest(&digest::SHA256, certificate);
        for (to, from) in fingerprint.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        let (subject, common_name, names) = described(certificate);
        let identity = PeerIdentity {
            fingerprint,
            certificate_len: u16::try_from(kept.len()).unwrap_or_default(),
            subject,
            common_name,
            names,
        };
        Self {
            identity: Some(identity),
            certificate: kept,
        }
    }
}

type Described = (Text<MAX_SUBJECT>, Text<MAX_COMMON_NAME>, Text<MAX_NAMES>);

/// Subject, common name and alternative names. What does not fit, and all of a
/// certificate that webpki reads and this reader does not, is left out: never
/// cut in the middle of a name.
fn described(certificate: &CertificateDer<'_>) -> Described {
    let Ok(parsed) = Certificate::from_der(certificate) else {
        return Described::default();
    };
    let tbs = parsed.tbs_certificate();
    let subject = Text::from_text(&tbs.subject().to_string()).unwrap_or_default();
    let common_name = tbs
        .subject()
        .common_name()
        .ok()
        .flatten()
        .and_then(|name| Text::from_text(&name.value()).ok())
        .unwrap_or_default();
    let mut names = String::new();
    if let Ok(Some((_, SubjectAltName(list)))) = tbs.get_extension::<SubjectAltName>() {
        for name in list.iter().filter_map(written) {
            let separator = usize::from(!names.is_empty());
            if names.len() + separator + name.len() > MAX_NAMES {
                break;
            }
            if separator == 1 {
                names.push(' ');
            }
            names.push_str(&name);
        }
    }
    (
        subject,
        common_name,
        Text::from_text(&names).unwrap_or_default(),
    )
}

/// A name with its kind, as OpenSSL writes kinds. A name with anything but
/// visible ASCII in it could pass for two: it is left out.
fn written(name: &GeneralName) -> Option<String> {
    let (kind, text) = match name {
        GeneralName::DnsName(name) => ("DNS:", name.as_str().to_string()),
        GeneralName::Rfc822Name(name) => ("email:", name.as_str().to_string()),
        GeneralName::UniformResourceIdentifier(name) => ("URI:", name.as_str().to_string()),
        GeneralName::IpAddress(octets) => ("IP:", address(octets.as_bytes())?.to_string()),
        _ => return None,
    };
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then(|| String::from(kind) + &text)
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(common_name: &str, names: Vec<SanType>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Example");
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    #[test]
    fn r10_subject_and_names_of_a_certificate_are_told() {
        let names = vec![
            dns("client.test"),
            SanType::IpAddress([10, 0, 2, 2].into()),
            SanType::URI("spiffe://test/one".try_into().unwrap()),
        ];
        let der = certificate("client, the first", names);
        let peer = Peer::of(Some(core::slice::from_ref(&der)));
        let identity = peer.identity.unwrap();
        assert_eq!(&*identity.subject, "O=Example,CN=client\\, the first");
        assert_eq!(&*identity.common_name, "client, the first");
        assert_eq!(
            &*identity.names,
            "DNS:client.test IP:10.0.2.2 URI:spiffe://test/one"
        );
        assert_eq!(&peer.certificate[..], &der[..]);
    }

    #[test]
    fn a_name_that_could_pass_for_two_is_left_out() {
        let names = vec![
            SanType::URI("x: DNS:admin.test".try_into().unwrap()),
            dns("client.test"),
        ];
        let peer = Peer::of(Some(&[certificate("c", names)]));
        assert_eq!(&*peer.identity.unwrap().names, "DNS:client.test");
    }

    #[test]
    fn names_that_do_not_fit_are_left_out_whole() {
        let long = "x".repeat(60);
        let names = (0..4).map(|n| dns(&format!("{n}.{long}.test"))).collect();
        let peer = Peer::of(Some(&[certificate("c", names)]));
        let identity = peer.identity.unwrap();
        assert_eq!(
            &*identity.names,
            format!("DNS:0.{long}.test DNS:1.{long}.test")
        );
    }

    #[test]
    fn a_certificate_that_can_not_be_read_has_a_fingerprint_and_no_names() {
        let identity = Peer::of(Some(&[CertificateDer::from(vec![7; 100])])).identity;
        let identity = identity.unwrap();
        assert_eq!((identity.subject.len(), identity.names.len()), (0, 0));
        assert_eq!(identity.certificate_len, 100);
    }

    #[test]
    fn a_certificate_that_is_longer_than_is_kept_is_told_and_not_kept() {
        for (length, kept) in [
            (MAX_PEER_CERTIFICATE, true),
            (MAX_PEER_CERTIFICATE + 1, false),
        ] {
            let names = vec![dns("client.test")];
            let mut der = certificate("c", names).to_vec();
            // Bytes after it are not read here, and make it longer.
            der.resize(length, 0);
            let peer = Peer::of(Some(&[CertificateDer::from(der)]));
            let identity = peer.identity.unwrap();
            let expected = if kept { length } else { 0 };
            assert_eq!(usize::from(identity.certificate_len), expected);
            assert_eq!(peer.certificate.len(), expected);
            assert_ne!(identity.fingerprint, [0; 32]);
        }
    }
}
