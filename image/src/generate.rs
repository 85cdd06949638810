//! What the domains' programs hold, as types and numbers, made when they are built.
//!
//! A server's `Cargo.toml`, with the script that all of them have in common:
//!
//! ```ignore
//! build = "../image/domain.rs"
//! ```
//!
//! and its `main.rs`:
//!
//! ```ignore
//! sel4::system!();
//!
//! let capabilities = system::Capabilities::take();
//! ```

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::layout::{self, DomainLayout, Layout};
use crate::left_out;
use crate::load;
use crate::workspace;

/// Names another description than `image/system.toml`, for tests.
pub const SYSTEM_VARIABLE: &str = "HANDOFF_SYSTEM";
/// MiB of memory of the machine, in place of what the description says.
pub const MEMORY_VARIABLE: &str = "HANDOFF_MEMORY";

/// Writes `OUT_DIR/system.rs` for the program of the domain of that name. To be called
/// from its build script with the feature `guest`, which brings this crate: the library and
/// its tests are built without the description.
///
/// # Errors
/// When the description is refused, or has no such domain.
pub fn capabilities(domain: &str) -> Result<(), Box<dyn Error>> {
    let (path, layout) = system()?;
    let found = layout.domains.iter().find(|found| found.name == domain);
    let found = found.ok_or_else(|| format!("{}: no domain \"{domain}\"", path.display()))?;
    let out = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: call this from a build script")?;
    fs::write(Path::new(&out).join("system.rs"), source(&layout, found))?;
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
    println!("cargo::rerun-if-env-changed={}", left_out::VARIABLE);
    println!("cargo::rerun-if-env-changed={MEMORY_VARIABLE}");
    let memory = env::var(MEMORY_VARIABLE).ok();
    let memory = memory.filter(|memory| !memory.is_empty());
    let memory = memory.map(|memory| memory.parse()).transpose()?;
    let purposes = left_out::parse(&env::var(left_out::VARIABLE).unwrap_or_default())?;
    let layout = layout::layout(&left_out::without(
        load::file_for(&path, memory)?,
        &purposes,
    )?);
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

/// The numbers of the system and what the domain holds, as Rust source.
pub fn source(layout: &Layout, domain: &DomainLayout) -> String {
    let (mut fields, mut values) = (String::new(), String::new());
    for field in &domain.fields {
        // A String takes what is written to it.
        let _ = writeln!(
            fields,
            "#[doc = {:?}]\npub(crate) {}: {},",
            field.doc, field.name, field.kind
        );
        let _ = writeln!(values, "{}: {},", field.name, field.value);
    }
    let applications: String = layout
        .applications
        .iter()
        .map(|share| format!("ipc::description::{share:?}, "))
        .collect();
    format!(
        "// What the system description says of the domain `{}`.\n\
         /// Its numbers.\n\
         pub(crate) const FACTS: ipc::description::Facts = ipc::description::Facts {{\n\
         heap: {}, channels: &{:?}, signals: &{:?}, applications: &[{applications}],\n\
         handshakes: {},\n}};\n\
         /// What it holds.\n\
         pub(crate) struct Capabilities {{\n{fields}}}\n\
         impl Capabilities {{\n\
         /// All of it, once.\n\
         ///\n\
         /// # Panics\n\
         /// The second time.\n\
         pub(crate) fn take() -> Self {{\n\
         sel4::runtime::take_once();\n\
         Self {{\n{values}}}\n}}\n}}\n",
        domain.name, domain.heap, layout.channels, domain.signals, domain.handshakes,
    )
}
