//! What the shim promises of itself, read from its sources.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

/// Cargo names the package when it runs the test; no place is built in.
fn package() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").unwrap().into()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(sources(&path)),
            false => found.push(path),
        }
    }
    found
}

#[test]
fn r03_the_shim_names_no_type_that_holds_a_secret() {
    let folder = package();
    let mut files = sources(&folder.join("src"));
    files.extend(sources(&folder.join("director/src")));
    assert!(files.len() > 35);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for name in [
            "tls::secret",
            "tls::protection",
            "tls::schedule",
            "Secret<",
            "TrafficKey",
            "PrivateKey",
            "Keyrings",
            "ring::",
            "rustls",
            "zeroize",
        ] {
            assert!(!text.contains(name), "{name} in {}", file.display());
        }
    }
}

/// The crates that a crate below this folder depends on.
fn dependencies(folder: &str) -> Vec<String> {
    let folder = package().join(folder);
    let text = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let (_, rest) = text.split_once("\n[dependencies]\n").unwrap();
    let (dependencies, _) = rest.split_once("\n\n").unwrap_or((rest, ""));
    // Of `tls`, what is in the clear.
    assert!(!dependencies.contains("crypto"));
    let name = |line: &str| line.split(['.', ' ']).next().unwrap().to_owned();
    dependencies.lines().map(name).collect()
}

#[test]
fn the_shim_depends_on_the_protocols_and_the_kernel_alone() {
    assert_eq!(dependencies("."), ["ipc", "sel4"]);
}

#[test]
fn the_director_depends_on_the_protocols_tls_and_the_kernel_alone() {
    assert_eq!(dependencies("director"), ["ipc", "sel4", "tls"]);
}
