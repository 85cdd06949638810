//! Constants for the servers' programs, made when they are built.
//!
//! A server's `build.rs`:
//!
//! ```ignore
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     println!("cargo::rerun-if-changed=build.rs");
//!     #[cfg(feature = "guest")]
//!     image::generate::constants("keystore-server")?;
//!     Ok(())
//! }
//! ```
//!
//! and its `main.rs`:
//!
//! ```ignore
//! mod system {
//!     include!(concat!(env!("OUT_DIR"), "/system.rs"));
//! }
//! ```

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::layout::{self, DomainLayout, Layout};
use crate::load;
use crate::workspace;

/// Names another description than `image/system.toml`, for tests.
pub const SYSTEM_VARIABLE: &str = "HANDOFF_SYSTEM";

/// Writes `OUT_DIR/system.rs` for the program of the domain of that name. To be called
/// from its `build.rs` with the feature `guest`, which brings this crate: the library and
/// its tests are built without the description.
///
/// # Errors
/// When the description is refused, or has no such domain.
pub fn constants(domain: &str) -> Result<(), Box<dyn Error>> {
    let (path, layout) = system()?;
    let found = layout.domains.iter().find(|found| found.name == domain);
    let found = found.ok_or_else(|| format!("{}: no domain \"{domain}\"", path.display()))?;
    let out = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: call this from a build.rs")?;
    fs::write(Path::new(&out).join("system.rs"), source(found))?;
    Ok(())
}

/// The system that the programs are built for, and where its description is. To be called
/// from a build script, which runs again when the description is another.
///
/// # Errors
/// There is no description, or it is refused.
pub fn system() -> Result<(PathBuf, Layout)> {
    println!("cargo::rerun-if-env-changed={SYSTEM_VARIABLE}");
    let named = env::var_os(SYSTEM_VARIABLE);
    let path = named.map_or_else(workspace::description, |path| Ok(path.into()))?;
    println!("cargo::rerun-if-changed={}", watched(&path)?.display());
    let layout = layout::layout(&load::file(&path)?);
    Ok((path, layout))
}

/// The path from the package, where there is one: a copy of the checkout then watches the
/// file in the copy.
fn watched(path: &Path) -> Result<PathBuf> {
    let root = workspace::root()?;
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let package = package.unwrap_or_default().canonicalize()?;
    Ok(
        match (path.strip_prefix(&root), package.strip_prefix(&root)) {
            (Ok(inside), Ok(package)) => {
                let up: PathBuf = package.components().map(|_| Path::new("..")).collect();
                up.join(inside)
            }
            _ => path.to_path_buf(),
        },
    )
}

/// The constants of one domain, as Rust source.
pub fn source(domain: &DomainLayout) -> String {
    let mut text = format!(
        "// Constants of the domain `{}`, out of the system description.\n",
        domain.name
    );
    for constant in &domain.constants {
        // A String takes what is written to it.
        let _ = writeln!(
            text,
            "#[doc = {:?}]\n#[allow(dead_code)]\npub(crate) const {}: {} = {};",
            constant.doc, constant.name, constant.kind, constant.value
        );
    }
    text
}
