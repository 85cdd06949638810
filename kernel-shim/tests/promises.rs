//! What the shim promises of itself, read from its sources.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

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
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&folder);
    assert!(files.len() > 15);
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

#[test]
fn the_shim_depends_on_the_protocols_tls_and_the_kernel_alone() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let text = fs::read_to_string(manifest).unwrap();
    let (_, rest) = text.split_once("\n[dependencies]\n").unwrap();
    let (dependencies, _) = rest.split_once("\n\n").unwrap();
    let names: Vec<_> = dependencies
        .lines()
        .map(|line| line.split(['.', ' ']).next().unwrap())
        .collect();
    assert_eq!(names, ["ipc", "sel4", "tls"]);
    // Of the last, what is in the clear.
    assert!(!dependencies.contains("crypto"));
}
