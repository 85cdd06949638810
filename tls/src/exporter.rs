//! Keying material for other protocols (RFC 8446 §7.5, RFC 5705).

#[cfg(feature = "serde")]
use postcard::experimental::max_size::MaxSize;

use crate::secret::Secret;

/// Bytes of the longest secret: a hash, or a master secret of TLS 1.2.
const MAX_SECRET: usize = 48;

/// What the exported keying material of a session comes from.
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize, MaxSize)
)]
pub struct Exporter {
    /// The exporter master secret (RFC 8446 §7.1); TLS 1.2: the master secret.
    secret: Secret<MAX_SECRET>,
    randoms: Option<Randoms>,
}

/// TLS 1.2: the client's random, and the server's.
type Randoms = ([u8; 32], [u8; 32]);

/// Why nothing is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportError {
    /// The label is one that TLS itself derives by.
    Reserved,
    /// Label, context or output are longer than the derivation takes.
    TooLong,
    /// The secret is of another version than the suite.
    Version,
}

impl Exporter {
    /// That of a session of TLS 1.3, by its exporter master secret.
    pub const fn tls13(secret: Secret<MAX_SECRET>) -> Self {
        let randoms = None;
        Self { secret, randoms }
    }

    /// That of a session of TLS 1.2 with an extended master secret (RFC 7627 §5.4), by that
    /// and the randoms of client and server.
    pub const fn tls12(master: Secret<MAX_SECRET>, client: [u8; 32], server: [u8; 32]) -> Self {
        Self {
            secret: master,
            randoms: Some((client, server)),
        }
    }
}

/// Labels by which TLS derives for itself: RFC 5705 §4 and RFC 7627 §4 forbid those of TLS
/// 1.2; those of TLS 1.3 (RFC 8446 §7.1) are nobody else's either.
#[cfg(feature = "crypto")]
const RESERVED: [&[u8]; 22] = [
    b"client finished",
    b"server finished",
    b"master secret",
    b"extended master secret",
    b"key expansion",
    b"ext binder",
    b"res binder",
    b"c e traffic",
    b"e exp master",
    b"c hs traffic",
    b"s hs traffic",
    b"c ap traffic",
    b"s ap traffic",
    b"exp master",
    b"res master",
    b"derived",
    b"finished",
    b"exporter",
    b"resumption",
    b"traffic upd",
    b"key",
    b"iv",
];

#[cfg(feature = "crypto")]
mod derivation {
    use alloc::vec::Vec;

    use super::{ExportError, Exporter, RESERVED, Randoms};
    use crate::hkdf::{empty_hash, expand_label, hash_of};
    use crate::names::Version;
    use crate::schedule12::prf;
    use crate::schedule13::{expand_secret, prk};
    use crate::suite::CipherSuite;

    impl Exporter {
        /// Fills `out` with what a label and a context give in a session of `suite`. In TLS
        /// 1.3 no context is as an empty one.
        ///
        /// # Errors
        /// [`ExportError`]; `out` is as it was, or zero.
        pub fn export(
            &self,
            suite: CipherSuite,
            label: &[u8],
            context: Option<&[u8]>,
            out: &mut [u8],
        ) -> Result<(), ExportError> {
            if RESERVED.contains(&label) {
                return Err(ExportError::Reserved);
            }
            match (suite.version(), &self.randoms) {
                (Version::Tls13, None) => {
                    let derived = self.derive(suite, label, context.unwrap_or_default(), out);
                    derived.ok_or(ExportError::TooLong)
                }
                (Version::Tls12, Some(randoms)) => {
                    self.expand(suite, label, (randoms, context), out)
                }
                _ => Err(ExportError::Version),
            }
        }

        /// RFC 8446 §7.5.
        fn derive(
            &self,
            suite: CipherSuite,
            label: &[u8],
            context: &[u8],
            out: &mut [u8],
        ) -> Option<()> {
            let hash = suite.hash();
            let master = prk(hash, &self.secret);
            let secret = expand_secret(hash, &master, label, empty_hash(hash).as_ref())?;
            let context = hash_of(hash, context);
            expand_label(&prk(hash, &secret), b"exporter", context.as_ref(), out)
        }

        /// RFC 5705 §4.
        fn expand(
            &self,
            suite: CipherSuite,
            label: &[u8],
            ((client, server), context): (&Randoms, Option<&[u8]>),
            out: &mut [u8],
        ) -> Result<(), ExportError> {
            let mut seed = Vec::new();
            seed.extend_from_slice(client);
            seed.extend_from_slice(server);
            if let Some(context) = context {
                let length = u16::try_from(context.len()).map_err(|_| ExportError::TooLong)?;
                seed.extend_from_slice(&length.to_be_bytes());
                seed.extend_from_slice(context);
            }
            prf(suite.hash(), self.secret.expose(), label, &seed, out);
            Ok(())
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::secret::Secret;
        use crate::suite::Hash;

        // TLS 1.3 is held against rustls in `offload-server`, and both versions against
        // BoringSSL's runner in `bogo`.

        const TLS12: CipherSuite = CipherSuite::EcdheRsaAes128GcmSha256;
        const TLS13: CipherSuite = CipherSuite::Aes256GcmSha384;

        fn secret() -> Secret<48> {
            Secret::from_slice(&[7; 48]).unwrap()
        }

        fn tls12() -> Exporter {
            Exporter::tls12(secret(), [1; 32], [2; 32])
        }

        #[test]
        fn in_tls_1_2_the_seed_is_the_client_s_random_then_the_server_s_then_the_context() {
            let randoms = [[1; 32], [2; 32]].concat();
            for (context, seed) in [
                (None, randoms.clone()),
                (Some(&b""[..]), [&randoms[..], &[0, 0]].concat()),
                (Some(b"abc"), [&randoms[..], &[0, 3], b"abc"].concat()),
            ] {
                let (mut made, mut expected) = ([0; 100], [0; 100]);
                prf(
                    Hash::Sha256,
                    &[7; 48],
                    b"EXPORTER-test",
                    &seed,
                    &mut expected,
                );
                let label = b"EXPORTER-test";
                assert_eq!(tls12().export(TLS12, label, context, &mut made), Ok(()));
                assert_eq!(made, expected);
            }
        }

        #[test]
        fn in_tls_1_3_no_context_is_an_empty_one_and_the_length_counts() {
            let exporter = Exporter::tls13(secret());
            let export = |context, length| {
                let mut out = vec![0; length];
                let done = exporter.export(TLS13, b"EXPORTER-test", context, &mut out);
                assert_eq!(done, Ok(()));
                out
            };
            assert_eq!(export(None, 32), export(Some(b""), 32));
            assert_ne!(export(None, 32), export(Some(b"c"), 32));
            assert_ne!(export(None, 32), export(None, 33)[..32]);
        }

        #[test]
        fn what_tls_derives_by_itself_is_not_exported() {
            for label in RESERVED {
                for (exporter, suite) in [(tls12(), TLS12), (Exporter::tls13(secret()), TLS13)] {
                    let mut out = [0; 16];
                    let refused = exporter.export(suite, label, None, &mut out);
                    assert_eq!(refused, Err(ExportError::Reserved));
                    assert_eq!(out, [0; 16]);
                }
            }
        }

        #[test]
        fn a_secret_of_the_other_version_exports_nothing() {
            let mut out = [0; 16];
            for (exporter, suite) in [(tls12(), TLS13), (Exporter::tls13(secret()), TLS12)] {
                let refused = exporter.export(suite, b"EXPORTER-test", None, &mut out);
                assert_eq!(refused, Err(ExportError::Version));
            }
            let long = Exporter::tls13(secret()).export(TLS13, &[b'a'; 250], None, &mut out);
            assert_eq!(long, Err(ExportError::TooLong));
        }
    }
}
