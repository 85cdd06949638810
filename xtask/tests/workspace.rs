//! The list of crates in the workspace's `Cargo.toml`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test that finds less fails"
)]

use std::fs;

use image::workspace;
use toml::Table;

/// Programs of the guest without a library for the host.
const GUEST: [&str; 4] = ["bench", "image/hostile", "image/probe", "sel4"];

#[test]
fn every_crate_that_the_host_builds_is_a_default_member() {
    let path = workspace::root().unwrap().join("Cargo.toml");
    let manifest: Table = fs::read_to_string(path).unwrap().parse().unwrap();
    let list = |name: &str| -> Vec<String> {
        let members = manifest["workspace"][name].as_array().unwrap().iter();
        let member = |member: &toml::Value| member.as_str().unwrap().to_string();
        members.map(member).collect()
    };
    let mut expected = list("members");
    expected.retain(|member| !GUEST.contains(&member.as_str()));
    assert_eq!(list("default-members"), expected);
}
