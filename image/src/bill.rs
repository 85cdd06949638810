//! The bill of materials: every crate that is linked into a program of the image,
//! and the kernel, with licence and checksum, as CycloneDX 1.5 JSON.
//!
//! It carries no time and no serial number: the same sources give the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::command::Step;
use crate::guest::TARGET;
use crate::kernel::{LICENCE, PACKAGE, VERSION};

/// The name of its file in an image's folder.
pub const FILE: &str = "sbom.cdx.json";

/// One crate in one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// An SPDX expression.
    pub licence: String,
}

/// The crates that are linked into the program of `package`, itself left out.
///
/// # Errors
/// cargo fails, or prints something else than crates.
pub fn linked(workspace: &Path, package: &str) -> Result<BTreeSet<Crate>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let listing = Step::new(cargo)
        .current_dir(workspace)
        .args(["tree", "--locked", "--target", TARGET, "--package", package])
        .args(["--features", &format!("{package}/guest")])
        .args(["--edges", "normal,no-proc-macro", "--prefix", "none"])
        .args(["--no-dedupe", "--format", "{p}|{l}"])
        .output()?;
    let crates: Result<BTreeSet<Crate>> = listing.lines().map(parse).collect();
    let others = crates?.into_iter().filter(|one| one.name != package);
    Ok(others.collect())
}

/// A line of `cargo tree`: `name vVERSION (place)|licence`.
fn parse(line: &str) -> Result<Crate> {
    let read = || {
        let (package, licence) = line.split_once('|')?;
        let mut words = package.split_whitespace();
        let name = words.next()?.to_string();
        let version = words.next()?.strip_prefix('v')?.to_string();
        // The old way to write a choice is no SPDX expression.
        let licence = licence.trim().replace('/', " OR ");
        Some(Crate {
            name,
            version,
            licence,
        })
    };
    read().with_context(|| format!("cargo tree prints \"{line}\""))
}

/// The bill of `programs`: the crates of each, as [`linked`] tells them.
///
/// # Errors
/// The lock file can't be read, or a crate of a registry has no checksum.
pub fn bill(workspace: &Path, programs: &BTreeMap<String, BTreeSet<Crate>>) -> Result<String> {
    let lock = fs::read_to_string(workspace.join("Cargo.lock"))?;
    let checksums = checksums(&lock)?;
    let mut all: BTreeSet<Crate> = programs.values().flatten().cloned().collect();
    all.insert(Crate {
        name: PACKAGE.to_string(),
        version: VERSION.to_string(),
        licence: LICENCE.to_string(),
    });
    let mut components = Vec::new();
    for one in &all {
        let checksum = checksums.get(&(one.name.clone(), one.version.clone()));
        components.push(component(
            one,
            checksum.context("not in Cargo.lock")?.as_deref(),
        )?);
    }
    let mut dependencies = Vec::new();
    for (program, crates) in programs {
        let refer = |one: &Crate| Ok(reference(one, checksum(&checksums, one)?));
        let crates: Result<Vec<String>> = crates.iter().map(refer).collect();
        dependencies.push(json!({ "ref": format!("program:{program}"), "dependsOn": crates? }));
        components.push(json!({
            "type": "application",
            "bom-ref": format!("program:{program}"),
            "name": program,
        }));
    }
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": {
            "type": "firmware",
            "bom-ref": "image",
            "name": "handoff",
            "version": env!("CARGO_PKG_VERSION"),
        }},
        "components": components,
        "dependencies": dependencies,
    });
    Ok(serde_json::to_string_pretty(&bill)? + "\n")
}

/// A crate without a checksum is this workspace's own, whatever crate of a
/// registry has its name: it replaces that one.
fn reference(one: &Crate, checksum: Option<&str>) -> String {
    match checksum {
        Some(_) => format!("pkg:cargo/{}@{}", one.name, one.version),
        None => format!("workspace:{}", one.name),
    }
}

fn checksum<'a>(checksums: &'a Checksums, one: &Crate) -> Result<Option<&'a str>> {
    let found = checksums.get(&(one.name.clone(), one.version.clone()));
    let found = found.with_context(|| format!("{} is not in Cargo.lock", one.name));
    found.map(Option::as_deref)
}

fn component(one: &Crate, checksum: Option<&str>) -> Result<Value> {
    ensure!(!one.licence.is_empty(), "{}: no licence", one.name);
    let kernel = one.name == PACKAGE;
    let reference = reference(one, checksum);
    let mut value = json!({
        "type": if kernel { "operating-system" } else { "library" },
        "bom-ref": reference,
        "name": if kernel { "seL4, in sel4-sys" } else { &one.name },
        "version": one.version,
        "licenses": [{ "expression": one.licence }],
    });
    if let (Some(checksum), Some(fields)) = (checksum, value.as_object_mut()) {
        let hashes = json!([{ "alg": "SHA-256", "content": checksum }]);
        fields.insert("hashes".to_string(), hashes);
        fields.insert("purl".to_string(), json!(reference));
    }
    Ok(value)
}

/// Checksums by name and version; `None` for crates of the workspace.
type Checksums = BTreeMap<(String, String), Option<String>>;

/// The checksums of a lock file.
fn checksums(lock: &str) -> Result<Checksums> {
    let lock: toml::Table = toml::from_str(lock)?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let packages = packages.context("Cargo.lock lists no package")?;
    let mut list = BTreeMap::new();
    for package in packages {
        let text = |field: &str| package.get(field).and_then(toml::Value::as_str);
        let (name, version) = (text("name"), text("version"));
        let key = name
            .zip(version)
            .context("Cargo.lock: a package without a name")?;
        let checksum = text("checksum").map(str::to_string);
        ensure!(
            checksum.is_some() || text("source").is_none(),
            "{}: no checksum in Cargo.lock",
            key.0
        );
        list.insert((key.0.to_string(), key.1.to_string()), checksum);
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_cargo_tree_is_a_crate_without_its_place() {
        let read = parse("sel4 v0.1.0 (/some/where/sel4)|MIT OR Apache-2.0").unwrap();
        assert_eq!(
            (read.name.as_str(), read.version.as_str()),
            ("sel4", "0.1.0")
        );
        assert_eq!(read.licence, "MIT OR Apache-2.0");
        assert!(parse("something else").is_err());
    }

    #[test]
    fn a_registry_crate_without_a_checksum_is_refused() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry\"\n";
        let error = checksums(lock).unwrap_err().to_string();
        assert_eq!(error, "a: no checksum in Cargo.lock");
    }

    #[test]
    fn a_crate_without_a_licence_is_refused() {
        let one = Crate {
            name: "a".to_string(),
            version: "1.0.0".to_string(),
            licence: String::new(),
        };
        assert!(component(&one, None).is_err());
    }
}
