//! Certificates and keys of the tests, made for each run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    RevokedCertParams, SanType, SerialNumber,
};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::{Duration, OffsetDateTime};

/// Key rings of servers, by label. `alpha` and `beta` answer to the names
/// `alpha.test` and `beta.test`, the rest to `localhost` and 127.0.0.1.
pub(crate) const SERVERS: [&str; 6] = ["p256", "p384", "ed25519", "rsa2048", "alpha", "beta"];

const VALID: Duration = Duration::days(2);
const BACKDATED: Duration = Duration::hours(1);

/// Those whom their authorities revoke, with the serial numbers of their certificates: a
/// server, a client, and a client that is revoked in a later list alone.
const REVOKED: [(&str, u64); 3] = [("withdrawn", 1001), ("revoked", 1002), ("leaver", 1003)];

/// A folder with `ca.pem`, `clients-ca.pem`, and for each server and for `client` and
/// `stranger` (who is not trusted) a chain and a key. `ca.crl`, `clients-ca.crl` and, later,
/// `clients-later.crl` say who is revoked.
pub(crate) struct Material {
    folder: PathBuf,
}

impl Material {
    /// Makes it.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let material = Self {
            folder: folder.to_path_buf(),
        };
        let servers = Authority::make("Servers")?;
        fs::write(material.authority(), &servers.pem)?;
        for label in SERVERS {
            let name = match label {
                "alpha" | "beta" => format!("{label}.test"),
                _ => "localhost".to_string(),
            };
            material.issue(label, &name, &servers, ExtendedKeyUsagePurpose::ServerAuth)?;
        }
        let clients = Authority::make("Clients")?;
        fs::write(folder.join("clients-ca.pem"), &clients.pem)?;
        material.issue(
            "client",
            "client.test",
            &clients,
            ExtendedKeyUsagePurpose::ClientAuth,
        )?;
        material.issue_for(
            "expired",
            "localhost",
            &servers,
            ExtendedKeyUsagePurpose::ServerAuth,
            BACKDATED / 2,
        )?;
        material.issue(
            "withdrawn",
            "localhost",
            &servers,
            ExtendedKeyUsagePurpose::ServerAuth,
        )?;
        for label in ["revoked", "leaver"] {
            let usage = ExtendedKeyUsagePurpose::ClientAuth;
            material.issue(label, "client.test", &clients, usage)?;
        }
        for (file, by, labels) in [
            ("ca.crl", &servers, &["withdrawn"][..]),
            ("clients-ca.crl", &clients, &["revoked"]),
            ("clients-later.crl", &clients, &["revoked", "leaver"]),
        ] {
            fs::write(folder.join(file), by.revoke(labels)?)?;
        }
        let strangers = Authority::make("Strangers")?;
        material.issue(
            "stranger",
            "client.test",
            &strangers,
            ExtendedKeyUsagePurpose::ClientAuth,
        )?;
        Ok(material)
    }

    /// The file of the authority that issued the servers' chains.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The file of the authority that issued the clients' chains.
    pub(crate) fn clients_authority(&self) -> PathBuf {
        self.folder.join("clients-ca.pem")
    }

    /// The file of a chain.
    pub(crate) fn chain_file(&self, label: &str) -> PathBuf {
        self.folder.join(format!("{label}-chain.pem"))
    }

    /// The file of a private key, PKCS#8.
    pub(crate) fn key_file(&self, label: &str) -> PathBuf {
        self.folder.join(format!("{label}-key.pem"))
    }

    /// A chain.
    pub(crate) fn chain(&self, label: &str) -> Vec<CertificateDer<'static>> {
        let pem = fs::read(self.chain_file(label)).unwrap();
        CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .unwrap()
    }

    /// A private key.
    pub(crate) fn key(&self, label: &str) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_file(self.key_file(label)).unwrap()
    }

    /// Who is trusted to name servers.
    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(self.authority()).unwrap();
        roots.add(authority).unwrap();
        roots
    }

    fn issue(
        &self,
        label: &str,
        name: &str,
        by: &Authority,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<()> {
        self.issue_for(label, name, by, usage, BACKDATED + VALID)
    }

    /// Issues a chain that is valid for so long from an hour ago.
    fn issue_for(
        &self,
        label: &str,
        name: &str,
        by: &Authority,
        usage: ExtendedKeyUsagePurpose,
        valid: Duration,
    ) -> Result<()> {
        let key = self.generate(label)?;
        let mut leaf = validity(CertificateParams::new([name.to_string()])?);
        leaf.not_after = leaf.not_before + valid;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if label == "rsa2048" {
            // For static RSA.
            leaf.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        leaf.extended_key_usages = vec![usage];
        leaf.distinguished_name.push(DnType::CommonName, label);
        let number = REVOKED.iter().find(|(revoked, _)| *revoked == label);
        leaf.serial_number = number.map(|(_, number)| SerialNumber::from(*number));
        if name == "localhost" {
            leaf.subject_alt_names
                .push(SanType::IpAddress([127, 0, 0, 1].into()));
        }
        let certificate = leaf.signed_by(&key, &by.issuer)?;
        fs::write(self.chain_file(label), certificate.pem())?;
        if !matches!(label, "ed25519" | "rsa2048") {
            fs::write(self.key_file(label), key.serialize_pem())?;
        }
        Ok(())
    }

    fn generate(&self, label: &str) -> Result<KeyPair> {
        let algorithm = match label {
            "p384" => &PKCS_ECDSA_P384_SHA384,
            "ed25519" => {
                // OpenSSL and GnuTLS read keys of version 1 (RFC 5208) alone.
                let pem = openssl_key(&self.key_file(label), &["ED25519"])?;
                return Ok(KeyPair::from_pem_and_sign_algo(&pem, &PKCS_ED25519)?);
            }
            "rsa2048" => {
                let bits = ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
                let pem = openssl_key(&self.key_file(label), &bits)?;
                return Ok(KeyPair::from_pem_and_sign_algo(&pem, &PKCS_RSA_SHA256)?);
            }
            _ => &PKCS_ECDSA_P256_SHA256,
        };
        Ok(KeyPair::generate_for(algorithm)?)
    }
}

/// A key that OpenSSL makes: ring makes none with RSA.
fn openssl_key(file: &Path, algorithm: &[&str]) -> Result<String> {
    let status = Command::new("openssl")
        .args(["genpkey", "-quiet", "-out"])
        .arg(file)
        .arg("-algorithm")
        .args(algorithm)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("openssl can't be started; is it installed?")?;
    ensure!(status.success(), "openssl genpkey: {status}");
    Ok(fs::read_to_string(file)?)
}

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn make(name: &str) -> Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = validity(CertificateParams::new([])?);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// Its revocation list, in PEM.
    fn revoke(&self, labels: &[&str]) -> Result<String> {
        let now = OffsetDateTime::now_utc();
        let revoked = REVOKED.iter().filter(|(label, _)| labels.contains(label));
        let list = CertificateRevocationListParams {
            this_update: now - BACKDATED,
            next_update: now + VALID,
            crl_number: SerialNumber::from(labels.len() as u64),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .map(|(_, number)| RevokedCertParams {
                    serial_number: SerialNumber::from(*number),
                    revocation_time: now - BACKDATED,
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }
}

fn validity(mut params: CertificateParams) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BACKDATED;
    params.not_after = now + VALID;
    params
}
