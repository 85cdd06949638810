//! Builds both kernels: `cargo run --example kernel`.

use std::path::Path;

use image::kernel::{Configuration, prefix};

fn main() -> anyhow::Result<()> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()?;
    for configuration in [Configuration::Release, Configuration::Debug] {
        println!("{}", prefix(&workspace, configuration)?.display());
    }
    Ok(())
}
