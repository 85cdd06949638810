//! Certificates and keys of the hostile suite, made for each run: a server's, and a
//! client's of the size that costs the gateway most.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SanType,
};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{CipherSuite, ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

const VALID: Duration = Duration::days(2);
const BACKDATED: Duration = Duration::hours(1);
/// Names in the client's certificate, of [`NAME_LENGTH`] bytes each: some 4 KB.
const NAMES: usize = 16;
const NAME_LENGTH: usize = 220;
/// The longest label of a DNS name (RFC 1035 §2.3.4).
const LABEL: usize = 63;

/// Levels of names in the chain that leads nowhere, and certificates of each name.
const LEVELS: usize = 4;
const NAMESAKES: usize = 58;

/// What a client shows of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Shown {
    #[default]
    Nothing,
    /// A certificate of 4 KB.
    Large,
    /// A chain in which each of many certificates may have been issued by each of many
    /// others, and that leads to no trust anchor.
    Tangle,
}

/// What the clients have.
pub(in crate::bench) struct Material {
    roots: Arc<RootCertStore>,
    client: CertificateDer<'static>,
    client_key: PrivatePkcs8KeyDer<'static>,
    tangle: Vec<CertificateDer<'static>>,
    tangle_key: PrivatePkcs8KeyDer<'static>,
}

impl Material {
    /// Makes it, and writes into `folder` what the gateway's configuration names.
    pub(in crate::bench) fn make(folder: &Path) -> Result<Self> {
        let usage = ExtendedKeyUsagePurpose::ServerAuth;
        let (servers, authority) = authority("Hostile suite, servers")?;
        let (server, key) = issue(&["localhost".to_string()], usage, &servers)?;
        write(folder, "web-chain.pem", &server.pem())?;
        write(folder, "web-key.pem", &key.serialize_pem())?;
        let (clients, clients_authority) = self::authority("Hostile suite, clients")?;
        write(folder, "clients-ca.pem", &clients_authority.pem())?;
        let names: Vec<_> = (0..NAMES).map(long_name).collect();
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        let (client, client_key) = issue(&names, usage, &clients)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone())?;
        let (tangle, tangle_key) = tangle()?;
        Ok(Self {
            tangle,
            tangle_key: PrivatePkcs8KeyDer::from(tangle_key.serialize_der()),
            roots: Arc::new(roots),
            client: client.der().clone(),
            client_key: PrivatePkcs8KeyDer::from(client_key.serialize_der()),
        })
    }

    /// Whom clients trust.
    pub(in crate::bench) fn roots(&self) -> Arc<RootCertStore> {
        self.roots.clone()
    }

    /// A client's configuration for one version. The suites are those with ChaCha20-Poly1305, which the suite can
    /// seal records with itself, if `is_sealed`.
    pub(super) fn client(
        &self,
        version: &'static SupportedProtocolVersion,
        is_sealed: bool,
        shown: Shown,
    ) -> Result<Arc<ClientConfig>> {
        let mut provider: CryptoProvider = ring::default_provider();
        if is_sealed {
            provider.cipher_suites.retain(|suite| {
                matches!(
                    suite.suite(),
                    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
                        | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
                )
            });
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])?
            .with_root_certificates(self.roots.clone());
        let key = |key: &PrivatePkcs8KeyDer<'static>| PrivateKeyDer::Pkcs8(key.clone_key());
        let mut config = match shown {
            Shown::Nothing => builder.with_no_client_auth(),
            Shown::Large => {
                let chain = vec![self.client.clone()];
                builder.with_client_auth_cert(chain, key(&self.client_key))?
            }
            Shown::Tangle => {
                builder.with_client_auth_cert(self.tangle.clone(), key(&self.tangle_key))?
            }
        };
        // Every handshake is a full one.
        config.resumption = Resumption::disabled();
        config.enable_secret_extraction = true;
        Ok(Arc::new(config))
    }

    /// The size of the client's certificate in bytes.
    #[cfg(test)]
    fn client_length(&self) -> usize {
        self.client.len()
    }
}

fn long_name(number: usize) -> String {
    let mut name = format!("n{number}");
    while name.len() < NAME_LENGTH {
        let left = NAME_LENGTH - name.len() - 1;
        name.push('.');
        name.extend(std::iter::repeat_n('a', left.clamp(1, LABEL)));
    }
    name
}

fn authority(name: &str) -> Result<(Issuer<'static, KeyPair>, rcgen::Certificate)> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut parameters = valid(CertificateParams::new([])?);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let common = DnType::CommonName;
    parameters.distinguished_name.push(common, name);
    let certificate = parameters.self_signed(&key)?;
    Ok((Issuer::new(parameters, key), certificate))
}

fn tangle() -> Result<(Vec<CertificateDer<'static>>, KeyPair)> {
    let name = |level: usize| -> Result<CertificateParams> {
        let mut parameters = valid(CertificateParams::new([])?);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name = DistinguishedName::new();
        let common = DnType::CommonName;
        parameters
            .distinguished_name
            .push(common, level.to_string());
        Ok(parameters)
    };
    let issuer = |level| -> Result<_> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        Ok(Issuer::new(name(level)?, key))
    };
    let usage = ExtendedKeyUsagePurpose::ClientAuth;
    let (first, key) = issue(&["tangle".to_string()], usage, &issuer(1)?)?;
    let mut chain = vec![first.der().clone()];
    for level in 1..LEVELS {
        let (by, own) = (issuer(level + 1)?, KeyPair::generate_for(&PKCS_ED25519)?);
        for _ in 0..NAMESAKES {
            chain.push(name(level)?.signed_by(&own, &by)?.der().clone());
        }
    }
    Ok((chain, key))
}

fn issue(
    names: &[String],
    usage: ExtendedKeyUsagePurpose,
    by: &Issuer<'static, KeyPair>,
) -> Result<(rcgen::Certificate, KeyPair)> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut leaf = valid(CertificateParams::new(names)?);
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![usage];
    leaf.distinguished_name.push(DnType::CommonName, "leaf");
    leaf.subject_alt_names
        .push(SanType::IpAddress([127, 0, 0, 1].into()));
    let certificate = leaf.signed_by(&key, by)?;
    Ok((certificate, key))
}

fn valid(mut parameters: CertificateParams) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    parameters.not_before = now - BACKDATED;
    parameters.not_after = now + VALID;
    parameters
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let file = folder.join(name);
    fs::write(&file, text).with_context(|| format!("writing {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_show_is_as_large_as_it_may_be() {
        let folder = std::env::temp_dir().join(format!("hostile-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let material = Material::make(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let length = material.client_length();
        assert!((3600..=4096).contains(&length), "{length}");
        // A Certificate message holds the other chain, and hardly more.
        let tangle: usize = material.tangle.iter().map(|one| one.len() + 5).sum();
        assert!((44 * 1024..64 * 1024 - 16).contains(&tangle), "{tangle}");
    }
}
