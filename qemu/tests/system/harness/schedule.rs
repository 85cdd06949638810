//! rustls with ears in the key schedule of TLS 1.3 (RFC 8446 §7.1): what
//! `SSLKEYLOGFILE` leaves out, above all the secrets of resumption.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::crypto::hmac::Tag;
use rustls::crypto::tls13::{Hkdf, HkdfExpander, OkmBlock, OutputLengthError};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{CipherSuite, SupportedCipherSuite, Tls13CipherSuite};

/// The secrets that one side of one or more sessions has seen.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<(String, Vec<u8>)>>);

impl Heard {
    /// Those under any of `labels`: of the key schedule (`res master`), or of the
    /// key log (`CLIENT_RANDOM`: the master secret of TLS 1.2).
    pub(crate) fn under(&self, labels: &[&str]) -> Vec<Vec<u8>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = all
            .iter()
            .filter(|(name, _)| labels.contains(&name.as_str()));
        named.map(|(_, secret)| secret.clone()).collect()
    }

    fn hear(&self, label: &[u8], secret: &[u8]) {
        let label = String::from_utf8_lossy(label).into_owned();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((label, secret.to_vec()));
    }
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Heard")
    }
}

impl rustls::KeyLog for Heard {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        self.hear(label.as_bytes(), secret);
    }
}

/// What the process records of the key schedule.
static HEARD: OnceLock<Arc<Heard>> = OnceLock::new();

/// A provider with one suite of each version, and the place where its secrets appear from
/// now on. The key schedule does not name its session: only one test at a time may use
/// it.
pub(crate) fn provider() -> (CryptoProvider, Arc<Heard>) {
    let heard = HEARD.get_or_init(Arc::default);
    heard
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
    let plain = ring::default_provider();
    let find = |wanted| {
        let mut suites = plain.cipher_suites.iter();
        suites.find(|suite| suite.suite() == wanted).copied()
    };
    let tls12 = find(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
    let provider = CryptoProvider {
        cipher_suites: vec![tls13(), tls12.unwrap()],
        ..plain
    };
    (provider, heard.clone())
}

fn tls13() -> SupportedCipherSuite {
    static SUITE: OnceLock<&'static Tls13CipherSuite> = OnceLock::new();
    let suite = ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let plain = suite.tls13().unwrap();
    let suite = SUITE.get_or_init(|| {
        // Once in a process.
        Box::leak(Box::new(Tls13CipherSuite {
            common: rustls::crypto::CipherSuiteCommon {
                suite: plain.common.suite,
                hash_provider: plain.common.hash_provider,
                confidentiality_limit: plain.common.confidentiality_limit,
            },
            hkdf_provider: Box::leak(Box::new(Ears(plain.hkdf_provider))),
            aead_alg: plain.aead_alg,
            quic: None,
        }))
    });
    SupportedCipherSuite::Tls13(suite)
}

struct Ears(&'static dyn Hkdf);

impl Hkdf for Ears {
    fn extract_from_zero_ikm(&self, salt: Option<&[u8]>) -> Box<dyn HkdfExpander> {
        Box::new(Expander(self.0.extract_from_zero_ikm(salt)))
    }

    fn extract_from_secret(&self, salt: Option<&[u8]>, secret: &[u8]) -> Box<dyn HkdfExpander> {
        Box::new(Expander(self.0.extract_from_secret(salt, secret)))
    }

    fn expander_for_okm(&self, okm: &OkmBlock) -> Box<dyn HkdfExpander> {
        Box::new(Expander(self.0.expander_for_okm(okm)))
    }

    fn hmac_sign(&self, key: &OkmBlock, message: &[u8]) -> Tag {
        self.0.hmac_sign(key, message)
    }
}

struct Expander(Box<dyn HkdfExpander>);

impl HkdfExpander for Expander {
    fn expand_slice(&self, info: &[&[u8]], output: &mut [u8]) -> Result<(), OutputLengthError> {
        self.0.expand_slice(info, output)
    }

    fn expand_block(&self, info: &[&[u8]]) -> OkmBlock {
        let block = self.0.expand_block(info);
        // HkdfLabel: length, then a length and the label after "tls13 ", then a
        // length and the context.
        let whole = info.concat();
        let length = usize::from(whole[2]);
        let label = &whole[3 + b"tls13 ".len()..3 + length];
        if let Some(heard) = HEARD.get() {
            heard.hear(label, block.as_ref());
        }
        block
    }

    fn hash_len(&self) -> usize {
        self.0.hash_len()
    }
}
