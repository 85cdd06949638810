//! Builds the whole image into `target/image`: `cargo run --example image`,
//! with "debug" for the kernel that prints, "disc" for the bootable disc too,
//! `name=file` for boot-time data.

use std::fs;

use image::kernel::Configuration;
use image::pack::{Options, build};
use image::plan::Provisions;
use image::workspace;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let has = |word: &str| words.iter().any(|given| given == word);
    let workspace = workspace::root()?;
    let mut provisions = Provisions::new();
    for (name, file) in words.iter().filter_map(|word| word.split_once('=')) {
        provisions.insert(name.to_string(), fs::read(file)?);
    }
    let image = build(&Options {
        out: workspace.join("target/image"),
        workspace,
        system: std::env::var_os("HANDOFF_SYSTEM").map(Into::into),
        memory_mib: None,
        without: Vec::new(),
        configuration: if has("debug") {
            Configuration::Debug
        } else {
            Configuration::Release
        },
        provisions,
        features: Vec::new(),
        disc: has("disc"),
        restart: None,
        rekey_after: None,
    })?;
    println!("{}\n{}", image.kernel.display(), image.root.display());
    Ok(())
}
