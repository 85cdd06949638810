//! `cargo xtask test`.

use std::path::Path;

use anyhow::Result;
use image::command::Step;

use crate::screen::Screen;
use crate::setup;

/// Arguments of `test`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Arguments for `cargo test`, such as `--package qemu`.
    #[arg(last = true, value_name = "ARGUMENTS")]
    cargo: Vec<String>,
}

/// Runs all tests; those in `qemu` build the image and boot it themselves.
pub(crate) fn test(workspace: &Path, screen: &Screen, arguments: &Arguments) -> Result<()> {
    setup::ensure(screen, &setup::EVERYTHING)?;
    screen.step("testing");
    if arguments.cargo.is_empty() {
        model(workspace)?;
        seeds(workspace)?;
    }
    cargo(workspace)
        .args(["test", "--locked", "--no-fail-fast"])
        .args(&arguments.cargo)
        .show()
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
        .env("CARGO_TARGET_DIR", workspace.join("target/fuzz/host"))
        .args(["test", "--locked", "--no-default-features"])
        .args(["--manifest-path", "fuzz/Cargo.toml"])
        .show()
}

/// The cargo that started this program.
pub(crate) fn cargo(workspace: &Path) -> Step {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Step::new(program).current_dir(workspace)
}
