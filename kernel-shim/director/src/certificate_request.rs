//! CertificateRequest, as a client reads it.

use ipc::bounded::List;
use ipc::keystore::KeyKind;
use ipc::segment::{MAX_RINGS, Place, Segment};
use ipc::tls::Schemes;
use tls::codec::Reader;
use tls::names::{ECDSA_SIGN, RSA_SIGN};
use tls::{ExtensionType, Scheme, Version};

use crate::negotiation::{Config, Proof};
use crate::numbers::known;
use crate::script::{ILLEGAL, INTERNAL, Input, MISSING, Progress, Refusal};
use crate::template::place;

/// How this side can authenticate, of what a request accepts.
pub(crate) struct Offers {
    /// By the rings' places.
    proofs: List<Proof, MAX_RINGS>,
    /// The names of those who should have issued the certificate.
    authorities: Option<Place>,
}

/// Which ring is shown: the first that one of the authorities issued (RFC 8446 §4.4.2.3, RFC
/// 5246 §7.4.6), or else the first of all, and the server decides. Over: that one.
#[derive(Debug)]
pub(crate) struct Choice(List<Proof, MAX_RINGS>);

impl Choice {
    /// Asks the offload component, if there is a choice.
    pub(crate) fn begin(offers: Offers) -> Progress<Self, Option<Proof>> {
        match (offers.authorities, offers.proofs.len()) {
            (Some(authorities), 2..) => {
                Progress::Next(Self(offers.proofs), Segment::FindIssued { authorities })
            }
            _ => Progress::Over(offers.proofs.first().copied()),
        }
    }

    pub(crate) fn next(self, input: Input<'_>) -> Result<Progress<Self, Option<Proof>>, Refusal> {
        let Input::Named(issued) = input else {
            return Err(INTERNAL);
        };
        let is_issued = |proof: &&Proof| issued.get(usize::from(proof.ring)) == Some(&true);
        let chosen = self.0.iter().find(is_issued).or(self.0.first());
        Ok(Progress::Over(chosen.copied()))
    }
}

/// A request of TLS 1.3 (RFC 8446 §4.3.2).
pub(crate) fn tls13(body: &[u8], config: &Config) -> Result<Offers, Refusal> {
    let mut body = Reader::new(body);
    if !body.vec8()?.is_empty() {
        return Err(ILLEGAL);
    }
    let mut extensions = body.vec16()?;
    body.end()?;
    let mut schemes: Option<Schemes> = None;
    let mut authorities = None;
    while let Some((kind, mut content)) = extensions.next_extension()? {
        if kind == ExtensionType::CERTIFICATE_AUTHORITIES {
            authorities = Some(names(content)?);
        } else if kind == ExtensionType::SIGNATURE_ALGORITHMS {
            let mut list = content.filled16()?;
            content.end()?;
            schemes = Some(known(&mut list, Scheme::from_number)?);
        }
    }
    Ok(Offers {
        proofs: config.proofs(&schemes.ok_or(MISSING)?, Version::Tls13),
        authorities,
    })
}

/// One of TLS 1.2 (RFC 5246 §7.4.4): types, schemes, authorities.
pub(crate) fn tls12(body: &[u8], config: &Config) -> Result<Offers, Refusal> {
    let mut body = Reader::new(body);
    let types = body.vec8()?.rest();
    let mut list = body.filled16()?;
    let names = body.vec16()?;
    body.end()?;
    let is_accepted = |scheme: &Scheme| types.contains(&certificate_type(KeyKind::of(*scheme)));
    let schemes: Schemes = known(&mut list, |number| {
        Scheme::from_number(number).filter(is_accepted)
    })?;
    Ok(Offers {
        proofs: config.proofs(&schemes, Version::Tls12),
        authorities: match names.is_empty() {
            true => None,
            false => Some(place(&names)?),
        },
    })
}

/// Where the names are. RFC 8446 §4.2.4: there is one at least, and none of them is empty.
pub(crate) fn names(mut content: Reader<'_>) -> Result<Place, Refusal> {
    let mut list = content.filled16()?;
    let place = place(&list)?;
    while !list.is_empty() {
        list.filled16()?;
    }
    content.end()?;
    Ok(place)
}

const fn certificate_type(kind: KeyKind) -> u8 {
    match kind {
        KeyKind::Rsa => RSA_SIGN,
        // RFC 8422 §5.5: EdDSA keys too.
        KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::Ed25519 => ECDSA_SIGN,
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;

    use ipc::control::Parameters;
    use ipc::tls::PeerAuthentication;

    use super::*;
    use crate::script::DECODE;

    /// What a client with a key of `kind` answers to a CertificateRequest of
    /// `types` and `schemes`, without authorities.
    fn answer(kind: Option<KeyKind>, types: &[u8], schemes: &[u16]) -> Option<Scheme> {
        let proof = answer_of(&config(kind), types, schemes);
        proof.map(|proof| proof.scheme)
    }

    fn answer_of(config: &Config, types: &[u8], schemes: &[u16]) -> Option<Proof> {
        let mut body = vec![u8::try_from(types.len()).unwrap()];
        body.extend(types);
        body.extend(u16::try_from(2 * schemes.len()).unwrap().to_be_bytes());
        body.extend(schemes.iter().flat_map(|scheme| scheme.to_be_bytes()));
        body.extend([0, 0]);
        let offers = tls12(&body, config).ok().unwrap();
        offers.proofs.first().copied()
    }

    fn config(kind: Option<KeyKind>) -> Config {
        let parameters = Parameters {
            versions: List::from_items([Version::Tls12]).unwrap(),
            suites: List::new(),
            allow_static_rsa: false,
            peer_schemes: List::new(),
            groups: List::new(),
            keyrings: List::new(),
            peer_authentication: PeerAuthentication::None,
            server_name: None,
            alpn: List::new(),
            segment_size: 1400,
            resumption: false,
            expose_keys: false,
        };
        Config {
            parameters: Box::new(parameters),
            rings: List::from_items([kind]).unwrap(),
            schemes: List::new(),
            authorities: List::new(),
            staples: List::new(),
            session_id: [7; 32],
        }
    }

    #[test]
    fn r24_a_key_is_shown_whose_type_and_scheme_are_both_accepted() {
        let p256 = Some(KeyKind::EcdsaP256);
        let ecdsa = Some(Scheme::EcdsaSecp256r1Sha256);
        assert_eq!(
            answer(p256, &[RSA_SIGN, ECDSA_SIGN], &[0x0401, 0x0403]),
            ecdsa
        );
        assert_eq!(answer(p256, &[RSA_SIGN], &[0x0401, 0x0403]), None);
        assert_eq!(answer(p256, &[ECDSA_SIGN], &[0x0401]), None);
        assert_eq!(answer(p256, &[], &[0x0403]), None);
        assert_eq!(answer(None, &[ECDSA_SIGN], &[0x0403]), None);
        let ed25519 = answer(Some(KeyKind::Ed25519), &[ECDSA_SIGN], &[0x0807]);
        assert_eq!(ed25519, Some(Scheme::Ed25519));
        let rsa = answer(Some(KeyKind::Rsa), &[RSA_SIGN], &[0x0401, 0x0401]);
        assert_eq!(rsa, Some(Scheme::RsaPkcs1Sha256));
    }

    #[test]
    fn the_first_ring_is_shown_whose_key_signs_as_the_server_wants() {
        let mut config = config(None);
        let kinds = [None, Some(KeyKind::Rsa), Some(KeyKind::EcdsaP256)];
        config.rings = List::from_items(kinds).unwrap();
        let rsa = [Scheme::RsaPkcs1Sha384, Scheme::RsaPkcs1Sha256];
        let of_rsa = List::from_items(rsa).unwrap();
        config.schemes = List::from_items([List::new(), of_rsa, List::new()]).unwrap();
        let types = [RSA_SIGN, ECDSA_SIGN];
        let shown = |schemes: &[u16]| {
            let proof = answer_of(&config, &types, schemes)?;
            Some((proof.ring, proof.scheme))
        };
        let all = [0x0403, 0x0401, 0x0501, 0x0804];
        assert_eq!(shown(&all), Some((1, Scheme::RsaPkcs1Sha384)));
        assert_eq!(shown(&all[..2]), Some((1, Scheme::RsaPkcs1Sha256)));
        // Its key could, and is not to.
        let ecdsa = Some((2, Scheme::EcdsaSecp256r1Sha256));
        assert_eq!(shown(&[0x0804, 0x0403]), ecdsa);
        assert_eq!(shown(&[0x0804]), None);
    }

    #[test]
    fn a_certificate_request_that_can_not_be_parsed_is_refused() {
        for body in [
            &[][..],
            &[2, 1],
            &[1, 64, 0, 2, 4],
            &[1, 64, 0, 1, 4, 0, 0],
            &[1, 64, 0, 2, 4, 3],
            &[1, 64, 0, 2, 4, 3, 0, 0, 0],
            // Nothing would be accepted.
            &[1, 64, 0, 0, 0, 0],
        ] {
            assert!(tls12(body, &config(None)).is_err(), "{body:?}");
        }
    }

    #[test]
    fn an_empty_list_in_a_request_of_tls_1_3_is_a_decode_error() {
        let request = |extensions: &[u8]| {
            let length = u8::try_from(extensions.len()).unwrap();
            let body = [&[0, 0, length], extensions].concat();
            tls13(&body, &config(None)).err()
        };
        let schemes = [0, 13, 0, 4, 0, 2, 4, 3];
        let with = |more: &[u8]| request(&[&schemes, more].concat());
        assert_eq!(with(&[]), None);
        assert_eq!(with(&[0, 47, 0, 5, 0, 3, 0, 1, 7]), None);
        for wrong in [
            &[0, 47, 0, 2, 0, 0][..],
            &[0, 47, 0, 4, 0, 2, 0, 0],
            &[0, 47, 0, 6, 0, 3, 0, 1, 7, 9],
        ] {
            assert_eq!(with(wrong), Some(DECODE), "{wrong:?}");
        }
        assert_eq!(request(&[0, 13, 0, 2, 0, 0]), Some(DECODE));
    }

    #[test]
    fn a_ring_that_one_of_the_authorities_issued_goes_before_the_first() {
        let mut config = config(None);
        let kinds = [KeyKind::Rsa, KeyKind::EcdsaP256, KeyKind::EcdsaP256];
        config.rings = List::from_items(kinds.map(Some)).unwrap();
        // Of TLS 1.3, with the names at 16.
        let body = [
            &[0, 0, 17][..],
            &[0, 13, 0, 4, 0, 2, 4, 3],
            &[0, 47, 0, 5, 0, 3, 0, 1, 7],
        ]
        .concat();
        let begin = |config: &Config| Choice::begin(tls13(&body, config).ok().unwrap());
        let chosen = |issued: &[bool]| {
            let Progress::Next(choice, Segment::FindIssued { authorities }) = begin(&config) else {
                panic!("nothing is asked");
            };
            assert_eq!((authorities.offset, authorities.length), (17, 3));
            match choice.next(Input::Named(issued)) {
                Ok(Progress::Over(proof)) => proof.unwrap().ring,
                _ => panic!("no choice"),
            }
        };
        assert_eq!(chosen(&[true, false, true]), 2);
        assert_eq!(chosen(&[false, true, true]), 1);
        assert_eq!(chosen(&[true, false, false]), 1);
        // Where there is one, it is shown to any server.
        config.rings = List::from_items([None, Some(KeyKind::EcdsaP256)]).unwrap();
        match begin(&config) {
            Progress::Over(proof) => assert_eq!(proof.unwrap().ring, 1),
            Progress::Next(..) => panic!("nothing is to be asked"),
        }
    }
}
