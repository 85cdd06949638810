//! Writes the seeds of each target to `corpus/`.

use std::fs;

fn main() -> std::io::Result<()> {
    let workspace = image::workspace::root().map_err(std::io::Error::other)?;
    let corpus = workspace.join("fuzz/corpus");
    for seed in fuzz::seeds::all() {
        let folder = corpus.join(seed.target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("seed-{}", seed.name)), &seed.bytes)?;
    }
    Ok(())
}
