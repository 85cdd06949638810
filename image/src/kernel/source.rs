//! The kernel's source and the Python that its generators need.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Configuration;
use crate::command::{Step, copy_tree};

/// The package that carries the kernel's source.
pub const PACKAGE: &str = "sel4-sys";

/// The licences of the kernel and of libsel4 in it (`LICENSE_GPLv2.txt`,
/// `LICENSE_BSD2.txt`); those that the package states are of its Rust part, which
/// is never compiled.
pub const LICENCE: &str = "GPL-2.0-only AND BSD-2-Clause";

/// The version of the package `sel4-sys` that carries seL4 5.0.0.
pub const VERSION: &str = "0.0.28";

/// Python packages of the generators, pinned.
const PACKAGES: [&str; 3] = ["ply==3.11", "six==1.17.0", "Tempita==0.6.0"];

/// The configuration header that ships with the source, relative to it.
const AUTOCONF: &str = "include/plat/pc99/autoconf.h";

/// Options taken out of the shipped configuration; `docs/adr/0011` says why.
const REMOVED: [&str; 6] = [
    "CONFIG_X2APIC",
    "CONFIG_HUGE_PAGE",
    "CONFIG_SUPPORT_PCID",
    "CONFIG_TIMER_TICK_MS",
    "CONFIG_ROOT_CNODE_SIZE_BITS",
    "CONFIG_BUILDSYS_USE_CCACHE",
];

/// Options put in their place.
const ADDED: [(&str, &str); 3] = [
    ("CONFIG_XAPIC", "1"),
    ("CONFIG_TIMER_TICK_MS", "10"),
    ("CONFIG_ROOT_CNODE_SIZE_BITS", "15"),
];

/// A Python with the generators' packages: `target/sel4-venv/bin/python`,
/// made when it is not there.
pub(super) fn python(workspace: &Path) -> Result<PathBuf> {
    let folder = workspace.join("target/sel4-venv");
    let python = folder.join("bin/python");
    let stamp = folder.join("packages");
    let wanted = PACKAGES.join("\n");
    if python.exists() && fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    eprintln!("kernel: making a Python environment for its generators");
    Step::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&folder)
        .run()
        .context("python3 with its venv module is needed (Debian: python3-venv)")?;
    Step::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--no-deps"])
        .arg("--disable-pip-version-check")
        .args(PACKAGES)
        .run()?;
    fs::write(stamp, wanted)?;
    Ok(python)
}

/// `PATH` with the Python's folder first: some generators are started through
/// their `#!/usr/bin/env python` line.
pub(super) fn path_with(python: &Path) -> Result<OsString> {
    let mut folders = Vec::new();
    folders.extend(python.parent().map(Path::to_path_buf));
    folders.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    Ok(std::env::join_paths(folders)?)
}

/// Copies the source below `folder` and puts our configuration in its place.
/// No C source is changed.
pub(super) fn copy(
    workspace: &Path,
    folder: &Path,
    configuration: Configuration,
) -> Result<PathBuf> {
    let found = find(workspace)?;
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let source = folder.join("src");
    copy_tree(&found, &source)?;
    let autoconf = source.join(AUTOCONF);
    let shipped = fs::read_to_string(&autoconf)?;
    fs::write(&autoconf, configure(&shipped, configuration))?;
    Ok(source)
}

/// The `seL4` folder of the package, through `cargo metadata`: cargo has
/// checked it against the lock file.
fn find(workspace: &Path) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Step::new(cargo)
        .current_dir(workspace)
        .args(["metadata", "--format-version", "1", "--locked"])
        .output()?;
    let metadata: serde_json::Value = serde_json::from_str(&output)?;
    let text = |package: &serde_json::Value, field: &str| {
        let value = package.get(field).and_then(serde_json::Value::as_str);
        value.unwrap_or_default().to_string()
    };
    let manifest = metadata
        .get("packages")
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten()
        .find(|package| text(package, "name") == PACKAGE && text(package, "version") == VERSION)
        .map(|package| text(package, "manifest_path"));
    let Some(manifest) = manifest else {
        bail!("sel4-sys {VERSION} is not in the dependency graph of this workspace");
    };
    let folder = Path::new(&manifest).with_file_name("seL4");
    if !folder.join("Makefile").is_file() {
        bail!("{}: no seL4 source there", folder.display());
    }
    Ok(folder)
}

fn configure(shipped: &str, configuration: Configuration) -> String {
    let debug: &[(&str, &str)] = &[
        ("CONFIG_PRINTING", "1"),
        ("CONFIG_DEBUG_BUILD", "1"),
        ("CONFIG_USER_STACK_TRACE_LENGTH", "16"),
    ];
    let mut text = String::new();
    for line in shipped.lines() {
        let option = line
            .strip_prefix("#define ")
            .and_then(|rest| rest.split_whitespace().next());
        let removed = option.is_some_and(|option| {
            REMOVED.contains(&option)
                || (configuration == Configuration::Debug && option == "CONFIG_VERIFICATION_BUILD")
        });
        if !removed {
            text.push_str(line);
            text.push('\n');
        }
    }
    let extra = match configuration {
        Configuration::Release => &[],
        Configuration::Debug => debug,
    };
    for (option, value) in ADDED.iter().chain(extra) {
        text.push_str(&format!("#define {option} {value}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_replaces_what_the_emulator_lacks() {
        let shipped = "#define CONFIG_X2APIC 1\n#define CONFIG_FXSAVE 1\n";
        let release = configure(shipped, Configuration::Release);
        assert!(!release.contains("CONFIG_X2APIC"));
        assert!(release.contains("#define CONFIG_FXSAVE 1\n"));
        assert!(release.contains("#define CONFIG_XAPIC 1\n"));
        assert!(!release.contains("CONFIG_PRINTING"));
    }

    #[test]
    fn the_debug_kernel_prints_and_is_no_verification_build() {
        let shipped = "#define CONFIG_VERIFICATION_BUILD 1\n";
        let debug = configure(shipped, Configuration::Debug);
        assert!(debug.contains("#define CONFIG_PRINTING 1\n"));
        assert!(!debug.contains("VERIFICATION"));
    }
}
