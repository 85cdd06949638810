//! Writes the picture of the system to standard output.

use image::graph::svg;
use image::load;
use image::workspace;

fn main() -> anyhow::Result<()> {
    print!("{}", svg(&load::file(&workspace::description()?)?));
    Ok(())
}
