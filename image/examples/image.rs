//! Builds the whole image into `target/image`: `cargo run --example image`,
//! with "debug" for the kernel that prints, "disc" for the bootable disc too.

use std::path::Path;

use image::kernel::Configuration;
use image::pack::{Options, build};

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let has = |word: &str| words.iter().any(|given| given == word);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()?;
    let image = build(&Options {
        out: workspace.join("target/image"),
        workspace,
        system: std::env::var_os("HANDOFF_SYSTEM").map(Into::into),
        configuration: if has("debug") {
            Configuration::Debug
        } else {
            Configuration::Release
        },
        provisions: Default::default(),
        features: Vec::new(),
        disc: has("disc"),
    })?;
    println!("{}\n{}", image.kernel.display(), image.root.display());
    Ok(())
}
