//! Writes the picture of the system to standard output.

use image::description::{default_path, load};
use image::graph::svg;

fn main() -> anyhow::Result<()> {
    print!("{}", svg(&load(&default_path())?));
    Ok(())
}
