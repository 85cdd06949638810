//! The two engines stand beside each other: neither names the other, and the rooms below
//! them name none of them.

use std::fs;
use std::path::{Path, PathBuf};

/// Those that may name both: what is above the engines.
const ABOVE: [&str; 4] = ["server.rs", "server", "in_progress.rs", "budget.rs"];

/// The source files under `path`, or itself.
fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    if !path.is_dir() {
        found.push(path.to_path_buf());
        return;
    }
    for entry in fs::read_dir(path).unwrap() {
        sources(&entry.unwrap().path(), found);
    }
}

/// The files among `roots` that name the module `engine`.
fn naming(roots: &[PathBuf], engine: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    roots.iter().for_each(|root| sources(root, &mut files));
    assert!(!files.is_empty());
    let name = format!("crate::{engine}::");
    files.retain(|file| fs::read_to_string(file).unwrap().contains(&name));
    files
}

#[test]
fn neither_engine_names_the_other_and_nothing_below_them_names_one() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let of = |engine: &str| vec![source.join(format!("{engine}.rs")), source.join(engine)];
    assert_eq!(naming(&of("autonomous"), "directed"), [] as [PathBuf; 0]);
    assert_eq!(naming(&of("directed"), "autonomous"), [] as [PathBuf; 0]);
    let below = fs::read_dir(&source).unwrap().map(|entry| entry.unwrap());
    let is_below = |name: &str| {
        !ABOVE.contains(&name) && !name.starts_with("autonomous") && !name.starts_with("directed")
    };
    let below: Vec<_> = below
        .filter(|entry| is_below(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    for engine in ["autonomous", "directed"] {
        assert_eq!(naming(&below, engine), [] as [PathBuf; 0]);
        // The search finds what there is.
        assert!(!naming(&[source.join("in_progress.rs")], engine).is_empty());
    }
}
