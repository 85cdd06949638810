//! Writes the picture of the system to standard output.

use image::description::load;
use image::graph::svg;
use image::workspace;

fn main() -> anyhow::Result<()> {
    print!("{}", svg(&load(&workspace::description()?)?));
    Ok(())
}
