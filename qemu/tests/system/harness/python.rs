//! Environments of Python: one with OpenSSL's bindings, which bring an OpenSSL of today with
//! them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use image::workspace;

/// Pinned, with all that they need.
const PACKAGES: [&str; 5] = [
    "cffi==2.1.1",
    "cryptography==50.0.2",
    "pycparser==3.12",
    "pyOpenSSL==26.4.0",
    "typing_extensions==4.16.0",
];

/// What it runs: a client, or a server.
pub(crate) const MODERN_OPENSSL: &str = include_str!("modern_openssl.py");

/// The interpreter.
pub(crate) fn interpreter() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        environment("openssl-venv", &PACKAGES)
            .unwrap()
            .join("python")
    })
}

/// The folder of programs of the environment `target/tools/NAME` with these packages, which
/// is made when it is not there.
pub(super) fn environment(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = workspace::root()?.join("target/tools").join(name);
    let programs = folder.join("bin");
    let python = programs.join("python");
    let stamp = folder.join("packages");
    let wanted = packages.join("\n");
    if python.exists() && fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(programs);
    }
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&folder);
    done(venv).context("python3 with its venv module is needed (Debian: python3-venv)")?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps"])
        .arg("--disable-pip-version-check")
        .args(packages);
    done(pip)?;
    fs::write(stamp, wanted)?;
    Ok(programs)
}

/// Runs it to a good end.
pub(super) fn done(mut command: Command) -> Result<()> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}
