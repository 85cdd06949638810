//! Which of a peer's certificates a path is looked for among.
//!
//! webpki looks for one depth first, before it checks any signature: it counts its steps, up
//! to 200,000, and reads every intermediate again in each. A peer that sends some hundred
//! certificates with chosen names, and not one valid signature, gets all of that for one
//! message. So few are left here that all steps together are some hundred.

use alloc::vec::Vec;

use rustls::pki_types::CertificateDer;

use crate::certified::{issuer, may_certify, subject};

/// Certificates of a peer besides its own. The longest path that webpki follows has six
/// (`MAX_SUB_CA_COUNT`).
const MOST: usize = 8;

/// Of those, with one name: a key that was certified by two, or again.
const MOST_NAMESAKES: usize = 2;

/// Those that may have issued `first`, or one that has, the nearest first. Only those that
/// may sign certificates (RFC 5280 §6.1.4 (n): keyCertSign); a path does not lead over the
/// others.
pub(crate) fn issuers<'a>(
    first: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'a>],
) -> Vec<CertificateDer<'a>> {
    let mut found: Vec<CertificateDer<'a>> = Vec::new();
    let mut wanted = issuer(first);
    for at in 0..=MOST {
        if let Some(name) = wanted {
            let is_named = |der: &&CertificateDer<'_>| subject(der) == Some(name);
            let is_known = found.iter().any(|der| is_named(&der));
            let namesakes = intermediates.iter().filter(is_named);
            let able = namesakes
                .filter(|der| may_certify(der))
                .take(MOST_NAMESAKES);
            let room = if is_known { 0 } else { MOST - found.len() };
            let able: Vec<_> = able.take(room).cloned().collect();
            found.extend(able);
        }
        let Some(next) = found.get(at) else {
            break;
        };
        wanted = issuer(next);
    }
    found
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

    use super::*;

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    fn named(name: &str) -> rcgen::CertificateParams {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
    }

    fn root(name: &str) -> Issuer {
        Issuer::self_signed(named(name), KeyPair::generate().unwrap()).unwrap()
    }

    fn below(issuer: &Issuer, params: rcgen::CertificateParams) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, issuer).unwrap().der().clone()
    }

    #[test]
    fn a_path_is_found_among_others_in_any_order() {
        let root = root("root");
        let issued = |issuer: &Issuer, name| {
            let key = KeyPair::generate().unwrap();
            Issuer::signed_by(named(name), key, issuer).unwrap()
        };
        let upper = issued(&root, "upper");
        let lower = issued(&upper, "lower");
        let first = below(&lower, named("peer"));
        let mut chain: Vec<_> = (0..300)
            .map(|n| below(&root, named(&n.to_string())))
            .collect();
        chain.insert(7, upper.der().clone());
        chain.insert(200, root.der().clone());
        chain.push(lower.der().clone());
        let expected = [lower.der(), upper.der(), root.der()].map(Clone::clone);
        assert_eq!(issuers(&first, &chain), expected);
    }

    #[test]
    fn of_many_with_chosen_names_few_are_left() {
        // Four levels of names; each certificate of one is issued by all of the next.
        let names = ["1", "2", "3", "4"];
        let levels = names.map(root);
        let mut chain = Vec::new();
        for (name, upper) in names.iter().zip(&levels[1..]) {
            chain.extend((0..58).map(|_| below(upper, named(name))));
        }
        let first = below(&levels[0], named("peer"));
        let left = issuers(&first, &chain);
        assert_eq!(left.len(), 3 * MOST_NAMESAKES);
        // One long row of names is cut.
        let row: Vec<_> = (0..20).map(|n| root(&n.to_string())).collect();
        let chain: Vec<_> = (0..19)
            .map(|n| below(&row[n + 1], named(&n.to_string())))
            .collect();
        let first = below(&row[0], named("peer"));
        assert_eq!(issuers(&first, &chain), chain[..MOST]);
    }

    #[test]
    fn one_that_may_not_sign_certificates_is_no_issuer() {
        let root = root("root");
        let with = |usages: &[KeyUsagePurpose]| {
            let mut params = named("issuer");
            params.key_usages = usages.to_vec();
            params
        };
        let key = KeyPair::generate().unwrap();
        let own = Issuer::signed_by(with(&[]), key, &root).unwrap();
        let first = below(&own, named("peer"));
        let chain = [
            below(&root, with(&[KeyUsagePurpose::DigitalSignature])),
            below(&root, with(&[KeyUsagePurpose::KeyCertSign])),
            own.der().clone(),
            CertificateDer::from(vec![7; 100]),
        ];
        assert_eq!(issuers(&first, &chain), chain[1..3]);
    }
}
