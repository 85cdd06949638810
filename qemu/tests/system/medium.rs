//! The system as software on a medium (R35).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ring::digest;
use serde_json::Value;

use crate::harness::memory::ROOT;
use crate::harness::{prepared, shipped};

#[test]
fn r35_the_manifest_tells_size_and_digest_of_every_part() {
    let folder = prepared("medium", true);
    let text = fs::read_to_string(folder.join("image/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&text).unwrap();
    let parts = manifest["parts"].as_object().unwrap();
    let named: BTreeSet<&str> = parts.keys().map(String::as_str).collect();
    assert_eq!(
        named,
        BTreeSet::from(["handoff.iso", "kernel.elf", "root.elf"])
    );
    for (name, said) in parts {
        assert_is(&folder.join("image").join(name), said);
    }
    let programs = manifest["programs"].as_object().unwrap();
    let named: BTreeSet<&str> = programs.keys().map(String::as_str).collect();
    let domains: BTreeSet<&str> = shipped::domains().chain([ROOT]).collect();
    assert_eq!(named, domains, "the programs are those of the domains");
    for key in ["BEGIN", "PRIVATE"] {
        assert!(!text.contains(key), "the manifest has key material");
    }
}

#[track_caller]
fn assert_is(file: &Path, said: &Value) {
    let bytes = fs::read(file).unwrap();
    let digest = digest::digest(&digest::SHA256, &bytes);
    let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(said["sha256"], hex.as_str(), "{}", file.display());
    assert_eq!(said["bytes"], bytes.len(), "{}", file.display());
}
