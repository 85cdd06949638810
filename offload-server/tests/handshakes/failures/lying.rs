//! Finished messages that are sealed well, and wrong.

use rustls::crypto::hmac::Tag;
use rustls::crypto::tls12::Prf;
use rustls::crypto::tls13::{Hkdf, HkdfExpander, OkmBlock};
use rustls::crypto::{ActiveKeyExchange, CipherSuiteCommon, CryptoProvider, ring as provider};
use rustls::{CipherSuite, SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};

/// A provider of one suite of each version whose Finished messages are wrong: in
/// TLS 1.3 that of the `turn`th MAC of a handshake, in TLS 1.2 that of this label.
pub fn lying(turn: usize, label: &'static [u8]) -> CryptoProvider {
    let plain = provider::default_provider();
    let find = |wanted| {
        let mut suites = plain.cipher_suites.iter();
        suites
            .find(|suite| suite.suite() == wanted)
            .copied()
            .unwrap()
    };
    let (suite13, suite12) = (
        find(CipherSuite::TLS13_AES_128_GCM_SHA256),
        find(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    );
    let (SupportedCipherSuite::Tls13(suite13), SupportedCipherSuite::Tls12(suite12)) =
        (suite13, suite12)
    else {
        panic!("suites of other versions");
    };
    let common = |common: &CipherSuiteCommon| CipherSuiteCommon {
        suite: common.suite,
        hash_provider: common.hash_provider,
        confidentiality_limit: common.confidentiality_limit,
    };
    // A few in a process.
    let liar13 = Box::leak(Box::new(Tls13CipherSuite {
        common: common(&suite13.common),
        hkdf_provider: Box::leak(Box::new(LyingHkdf(suite13.hkdf_provider, turn))),
        aead_alg: suite13.aead_alg,
        quic: None,
    }));
    let liar12 = Box::leak(Box::new(Tls12CipherSuite {
        common: common(&suite12.common),
        prf_provider: Box::leak(Box::new(LyingPrf(suite12.prf_provider, label))),
        kx: suite12.kx,
        sign: suite12.sign,
        aead_alg: suite12.aead_alg,
    }));
    CryptoProvider {
        cipher_suites: vec![
            SupportedCipherSuite::Tls13(liar13),
            SupportedCipherSuite::Tls12(liar12),
        ],
        ..plain
    }
}

struct LyingHkdf(&'static dyn Hkdf, usize);

thread_local! {
    /// MACs since the handshake's begin.
    pub static MACS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl Hkdf for LyingHkdf {
    fn extract_from_zero_ikm(&self, salt: Option<&[u8]>) -> Box<dyn HkdfExpander> {
        self.0.extract_from_zero_ikm(salt)
    }

    fn extract_from_secret(&self, salt: Option<&[u8]>, secret: &[u8]) -> Box<dyn HkdfExpander> {
        self.0.extract_from_secret(salt, secret)
    }

    fn expander_for_okm(&self, okm: &OkmBlock) -> Box<dyn HkdfExpander> {
        self.0.expander_for_okm(okm)
    }

    fn hmac_sign(&self, key: &OkmBlock, message: &[u8]) -> Tag {
        let mac = self.0.hmac_sign(key, message);
        let turn = MACS.get() + 1;
        MACS.set(turn);
        if turn != self.1 {
            return mac;
        }
        let mut wrong = mac.as_ref().to_vec();
        super::change_last(&mut wrong);
        Tag::new(&wrong)
    }
}

struct LyingPrf(&'static dyn Prf, &'static [u8]);

impl Prf for LyingPrf {
    fn for_key_exchange(
        &self,
        output: &mut [u8; 48],
        kx: Box<dyn ActiveKeyExchange>,
        peer_pub_key: &[u8],
        label: &[u8],
        seed: &[u8],
    ) -> Result<(), rustls::Error> {
        self.0
            .for_key_exchange(output, kx, peer_pub_key, label, seed)
    }

    fn for_secret(&self, output: &mut [u8], secret: &[u8], label: &[u8], seed: &[u8]) {
        self.0.for_secret(output, secret, label, seed);
        if label == self.1 {
            super::change_last(output);
        }
    }
}
