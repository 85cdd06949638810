//! A key ring and a configuration to try the system with: a certificate
//! authority of its own, a certificate for `localhost`, a status page, and a
//! forward to a server on the host.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use time::{Duration, OffsetDateTime};

/// How long the certificates are valid.
const VALID: Duration = Duration::days(365);
/// They are renewed when less than this is left.
const KEPT_UNTIL: Duration = Duration::days(1);
/// Clocks differ.
const BACKDATED: Duration = Duration::hours(1);

/// The guest's port of the status page.
pub const STATUS_PORT: u16 = 443;
/// The guest's port that forwards to [`BACKEND`].
pub const FORWARD_PORT: u16 = 444;
/// Port 8080 of the host, as the guest sees it.
pub const BACKEND: &str = "10.0.2.2:8080";

/// Files of the demo.
#[derive(Clone, Debug)]
pub struct Demo {
    /// The configuration.
    pub config: PathBuf,
    /// The certificate authority, for `curl --cacert` and browsers.
    pub authority: PathBuf,
}

/// Makes the demo in `folder`, or keeps what is there while it is valid. The
/// authority's private key is never written: it signs once and is gone.
///
/// # Errors
/// When the files can't be written.
pub fn make(folder: &Path, now: OffsetDateTime) -> io::Result<Demo> {
    let demo = Demo {
        config: folder.join("gateway.toml"),
        authority: folder.join("ca.pem"),
    };
    let text = configuration();
    let current = fs::read_to_string(&demo.config).is_ok_and(|found| found == text);
    if current && demo.authority.is_file() && crate::load(&demo.config, now + KEPT_UNTIL).is_ok() {
        return Ok(demo);
    }
    fs::create_dir_all(folder)?;
    let material = issue(now).map_err(io::Error::other)?;
    write(&demo.authority, 0o644, &material.authority)?;
    write(&folder.join("localhost-chain.pem"), 0o644, &material.chain)?;
    write(&folder.join("localhost-key.pem"), 0o600, &material.key)?;
    write(&demo.config, 0o644, &text)?;
    Ok(demo)
}

fn configuration() -> String {
    let tls = "tls = { role = \"server\", mode = \"autonomous\", keyring = \"localhost\", \
               versions = [\"1.3\", \"1.2\"], alpn = [\"http/1.1\"], client_auth = \"none\", \
               handshake_timeout_ms = 10000 }";
    format!(
        "# Made by `cargo xtask run`; copy it to make your own.\n\
         [network]\n\
         address = \"dhcp\"\n\
         \n\
         [[keyring]]\n\
         label = \"localhost\"\n\
         chain = \"localhost-chain.pem\"\n\
         key = \"localhost-key.pem\"\n\
         \n\
         [[listener]]\n\
         name = \"web\"\n\
         listen = {STATUS_PORT}\n\
         {tls}\n\
         backend = {{ status = true }}\n\
         \n\
         [[listener]]\n\
         name = \"forward\"\n\
         listen = {FORWARD_PORT}\n\
         {tls}\n\
         backend = {{ connect = \"{BACKEND}\" }}\n"
    )
}

struct Material {
    authority: String,
    chain: String,
    key: String,
}

fn issue(now: OffsetDateTime) -> Result<Material, rcgen::Error> {
    let authority_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut authority = CertificateParams::new([])?;
    authority.not_before = now - BACKDATED;
    authority.not_after = now + VALID;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority
        .distinguished_name
        .push(DnType::CommonName, "Handoff demo authority");
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, &authority_key);

    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut leaf = CertificateParams::new(["localhost".to_string()])?;
    leaf.not_before = now - BACKDATED;
    leaf.not_after = now + VALID;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    leaf.subject_alt_names.extend([
        SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ]);
    leaf.distinguished_name
        .push(DnType::CommonName, "localhost");
    let certificate = leaf.signed_by(&key, &issuer)?;
    Ok(Material {
        authority: authority_certificate.pem(),
        chain: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// Replaces a file, with these permissions.
fn write(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options.open(path)?.write_all(text.as_bytes())
}
