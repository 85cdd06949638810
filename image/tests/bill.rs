//! The image's bill of materials, and that the same sources give the same bytes.
#![expect(clippy::unwrap_used, reason = "what fails here is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use gateway_config::demo;
use image::bill;
use image::kernel::Configuration;
use image::pack::{self, Options};
use image::workspace;
use serde_json::Value;
use time::OffsetDateTime;

fn workspace() -> PathBuf {
    workspace::root().unwrap()
}

fn made() -> Value {
    let linked = bill::linked(&workspace(), "keystore-server").unwrap();
    let programs = BTreeMap::from([("keystore-server".to_string(), linked)]);
    serde_json::from_str(&bill::bill(&workspace(), &programs).unwrap()).unwrap()
}

fn component<'a>(bill: &'a Value, reference: &str) -> &'a Value {
    let all = bill["components"].as_array().unwrap();
    let found = all.iter().find(|one| one["bom-ref"] == reference);
    found.unwrap_or_else(|| panic!("no {reference} in {bill:#}"))
}

#[test]
fn r35_the_bill_lists_each_linked_crate_with_licence_and_checksum() {
    let bill = made();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    let ring = component(&bill, "pkg:cargo/ring@0.17.14");
    assert_eq!(ring["licenses"][0]["expression"], "Apache-2.0 AND ISC");
    let lock = fs::read_to_string(workspace().join("Cargo.lock")).unwrap();
    for one in bill["components"].as_array().unwrap() {
        if one["type"] == "application" {
            continue;
        }
        assert!(
            !one["licenses"][0]["expression"]
                .as_str()
                .unwrap()
                .is_empty(),
            "{one}"
        );
        if let Some(checksum) = one["hashes"][0]["content"].as_str() {
            assert!(
                lock.contains(&format!("checksum = \"{checksum}\"")),
                "{one}"
            );
        } else {
            let name = one["name"].as_str().unwrap();
            assert!(["getrandom", "ipc", "sel4", "tls"].contains(&name), "{one}");
            assert!(one["purl"].is_null(), "no registry has it: {one}");
        }
    }
    let depends = &bill["dependencies"][0]["dependsOn"];
    assert!(
        depends
            .as_array()
            .unwrap()
            .contains(&Value::from("pkg:cargo/ring@0.17.14"))
    );
}

#[test]
fn r35_the_bill_lists_the_kernel_with_its_own_licence() {
    let bill = made();
    let kernel = component(&bill, "pkg:cargo/sel4-sys@0.0.28");
    assert_eq!(kernel["type"], "operating-system");
    assert_eq!(
        kernel["licenses"][0]["expression"],
        "GPL-2.0-only AND BSD-2-Clause"
    );
    assert!(kernel["hashes"][0]["content"].is_string());
}

#[test]
fn r35_the_bill_has_no_host_tool_and_no_place_in_it() {
    let text = made().to_string();
    for host in ["/clap@", "/serde_derive@", "/syn@", "/toml@"] {
        assert!(!text.contains(host), "{host}");
    }
    assert!(!text.contains(workspace().to_str().unwrap()));
}

/// The same demo key ring, two folders, two moments.
#[test]
fn r35_the_same_sources_give_the_same_bytes() {
    let out = workspace().join("target/test-images/reproduced");
    let now = OffsetDateTime::now_utc();
    fs::create_dir_all(&out).unwrap();
    let demo = demo::make(&out.join("demo"), now).unwrap();
    let config = gateway_config::load(&demo.config, now).unwrap();
    let build = |folder: &str| {
        let folder = out.join(folder);
        pack::build(&Options {
            workspace: workspace(),
            out: folder.clone(),
            system: None,
            memory_mib: None,
            without: Vec::new(),
            configuration: Configuration::Release,
            provisions: config.provisions().unwrap(),
            features: Vec::new(),
            disc: true,
            restart: None,
            rekey_after: None,
        })
        .unwrap();
        folder
    };
    let first = build("one");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let second = build("another/below");
    for part in [
        "kernel.elf",
        "root.elf",
        "handoff.iso",
        "manifest.json",
        bill::FILE,
    ] {
        let bytes = fs::read(first.join(part)).unwrap();
        assert!(!bytes.is_empty());
        assert!(
            bytes == fs::read(second.join(part)).unwrap(),
            "{part} differs"
        );
    }
}
