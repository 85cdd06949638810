//! `cargo xtask test`: three tiers.

use std::env;
use std::path::Path;

use anyhow::{Context, Result};
use image::command::Step;
use serde_json::Value;

use crate::bogo;
use crate::screen::Screen;
use crate::setup::{self, Need};

/// Tests that build an image or start the emulator, or take long on the host: no part of
/// the quick tier.
const SLOW: [(&str, &str); 6] = [
    ("image", "attack"),
    ("image", "bill"),
    ("image", "probes"),
    ("qemu", "counter"),
    ("qemu", "qmp"),
    ("qemu", "system"),
];

/// What the tests read of the environment, and what the long tier says there. Each test
/// tells what its word means.
const LONG: [(&str, &str); 3] = [
    ("HANDOFF_BOOTS", "100"),
    ("HANDOFF_BREAKS", "100"),
    ("HANDOFF_FAILURES", "250"),
];

/// What each tier costs. The first two were measured by the test runner's own times, on
/// two processors without KVM.
const COSTS: &str = "What it costs when everything is built, on two processors without KVM:
  --quick  half a minute of tests; no emulator, no build of an image
  plain    a quarter of an hour on a quiet host, most of an hour on a busy one
  --long   hours: plain, with 200 boots, 600 broken domains and 250 rounds of failures
           (HANDOFF_BOOTS, HANDOFF_BREAKS, HANDOFF_FAILURES; what is set wins)
Fuzzing is apart: cargo xtask fuzz";

/// Arguments of `test`.
#[derive(clap::Args)]
#[command(after_help = COSTS)]
pub(crate) struct Arguments {
    /// Only what needs no image and is fast: the tests of the crates on this machine.
    #[arg(long, conflicts_with_all = ["long", "cargo"])]
    quick: bool,
    /// All tests, and those that repeat something repeat it by the hundred.
    #[arg(long, conflicts_with = "cargo")]
    long: bool,
    /// Arguments for `cargo test`, such as `--package qemu`.
    #[arg(last = true, value_name = "ARGUMENTS")]
    cargo: Vec<String>,
}

/// Runs tests; those in `qemu` and some in `image` build an image and boot it themselves.
pub(crate) fn test(workspace: &Path, screen: &Screen, arguments: &Arguments) -> Result<()> {
    if arguments.quick {
        setup::ensure(screen, &[Need::Build])?;
        screen.step("testing what needs no image");
        return cargo(workspace)
            .args(["test", "--locked", "--no-fail-fast", "--lib", "--bins"])
            .args(fast_tests(workspace)?.iter().flat_map(|t| ["--test", t]))
            .show();
    }
    setup::ensure(screen, &setup::EVERYTHING)?;
    screen.step("testing");
    if arguments.cargo.is_empty() {
        model(workspace)?;
        seeds(workspace)?;
        bogo::all(workspace, screen)?;
    }
    let mut step = cargo(workspace)
        .args(["test", "--locked", "--no-fail-fast"])
        .args(&arguments.cargo);
    for (name, value) in LONG {
        // What the caller says wins.
        if arguments.long && env::var_os(name).is_none() {
            step = step.env(name, value);
        }
    }
    step.show()
}

/// The names of all tests in `tests/` of the default members, but the slow ones.
fn fast_tests(workspace: &Path) -> Result<Vec<String>> {
    let metadata = cargo(workspace)
        .args(["metadata", "--locked", "--no-deps", "--format-version", "1"])
        .output()?;
    fast(&serde_json::from_str(&metadata)?)
}

fn fast(metadata: &Value) -> Result<Vec<String>> {
    let list = |value: &'_ Value, field: &str| {
        let list = value.get(field).and_then(Value::as_array).cloned();
        list.with_context(|| format!("cargo metadata tells no {field}"))
    };
    let text = |value: &Value, field: &str| {
        let text = value.get(field).and_then(Value::as_str);
        text.unwrap_or_default().to_string()
    };
    let members = list(metadata, "workspace_default_members")?;
    let mut names = Vec::new();
    for package in list(metadata, "packages")? {
        if !package.get("id").is_some_and(|id| members.contains(id)) {
            continue;
        }
        let of = text(&package, "name");
        for target in list(&package, "targets")? {
            let name = text(&target, "name");
            let is_test = list(&target, "kind")?.contains(&Value::from("test"));
            if is_test && !SLOW.contains(&(&of, &name)) {
                names.push(name);
            }
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// The rings under every order of loads and stores: `ipc/tests/loom.rs`, built
/// apart from the rest because its flag goes to every crate.
fn model(workspace: &Path) -> Result<()> {
    cargo(workspace)
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", workspace.join("target/loom"))
        .args(["test", "--locked", "--package", "ipc", "--test", "loom"])
        .show()
}

/// The seeds of the fuzz targets, without a fuzzer: a workspace of its own.
fn seeds(workspace: &Path) -> Result<()> {
    cargo(workspace)
        .env("CARGO_TARGET_DIR", workspace.join("target"))
        .args(["test", "--locked", "--no-default-features"])
        .args(["--manifest-path", "fuzz/Cargo.toml"])
        .show()
}

/// The cargo that started this program.
pub(crate) fn cargo(workspace: &Path) -> Step {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Step::new(program).current_dir(workspace)
}

#[cfg(test)]
mod tests {
    use image::workspace;

    use super::*;

    #[test]
    fn the_quick_tier_has_every_test_but_the_slow_ones() {
        let names = fast_tests(&workspace::root().unwrap()).unwrap();
        for fast in ["descriptions", "policy", "requirements", "runner", "files"] {
            assert!(names.iter().any(|name| name == fast), "{fast}: {names:?}");
        }
        for (_, slow) in SLOW {
            assert!(!names.iter().any(|name| name == slow), "{slow}");
        }
    }

    #[test]
    fn a_slow_test_that_is_gone_is_noticed() {
        let root = workspace::root().unwrap();
        for (package, test) in SLOW {
            let file = root.join(package).join("tests").join(test);
            assert!(
                file.is_dir() || file.with_extension("rs").is_file(),
                "{package}: {test}"
            );
        }
    }
}
