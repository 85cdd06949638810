//! `cargo xtask rotate`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use gateway_config::{Kek, update};
use ipc::provision::Keyrings;
use ipc::provision::update::{ACCEPTED, REFUSED};
use zeroize::Zeroizing;

use crate::build;
use crate::run::Refused;
use crate::screen::{Screen, print_line};

/// How long the key store may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of `rotate`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A configuration with the new chains and keys, under the labels that the
    /// running system has.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only this key ring, not all; can be repeated.
    #[arg(long, value_name = "LABEL")]
    ring: Vec<String>,
    /// Counts updates; must be above that of the one in use.
    #[arg(long, value_name = "NUMBER")]
    version: u64,
    /// The signer's private key: Ed25519, PKCS#8 PEM.
    #[arg(long, value_name = "FILE")]
    signer: PathBuf,
    /// The key that opens the running system's key rings, if those are sealed.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The socket that leads to the key store's serial line.
    #[arg(long, value_name = "SOCKET")]
    line: PathBuf,
}

/// Replaces key rings of a running system.
pub(crate) fn rotate(workspace: &Path, screen: &Screen, arguments: &Arguments) -> Result<()> {
    let mut config = build::configuration(workspace, Some(&arguments.config))?.config;
    let Keyrings(rings) = &mut config.keyrings;
    for label in &arguments.ring {
        if !rings.iter().any(|ring| *ring.label == **label) {
            bail!(Refused(format!(
                "--ring {label}: no key ring of the configuration has that label"
            )));
        }
    }
    rings.retain(|ring| {
        let mut asked = arguments.ring.iter();
        arguments.ring.is_empty() || asked.any(|label| *ring.label == **label)
    });
    let kek = match &arguments.key {
        Some(file) => Some(Kek::from_bytes(&read(file)?).context("--key")?),
        None => None,
    };
    let signer = read(&arguments.signer)?;
    let bytes = update(&config.keyrings, arguments.version, &signer, kek.as_ref())?;
    let answer = screen.during("replacing key rings", || send(&arguments.line, &bytes))?;
    match answer.strip_prefix(ACCEPTED) {
        Some(version) => {
            print_line(format_args!("key rings in use: {}", version.trim()));
            Ok(())
        }
        None => {
            let reason = answer.strip_prefix(REFUSED).unwrap_or(&answer);
            let hint = match kek {
                Some(_) => "",
                None => "; without --key FILE the update was not sealed",
            };
            bail!("the key store refused it: {}{hint}", reason.trim_end())
        }
    }
}

fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let bytes = fs::read(file).with_context(|| file.display().to_string())?;
    Ok(Zeroizing::new(bytes))
}

/// Sends an update; the key store's answer.
fn send(line: &Path, update: &[u8]) -> Result<String> {
    let context = || format!("{}: is the system running?", line.display());
    let mut socket = UnixStream::connect(line).with_context(context)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(update).with_context(context)?;
    let mut answer = String::new();
    BufReader::new(socket)
        .read_line(&mut answer)
        .context("the key store does not answer")?;
    Ok(answer)
}
