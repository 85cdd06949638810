//! The committed seeds, without a fuzzer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test"
)]

use std::fs;
use std::path::PathBuf;

fn folder() -> PathBuf {
    image::workspace::root().unwrap().join("fuzz")
}

#[test]
fn each_target_has_seeds_and_finds_nothing_in_them() {
    for (name, target) in fuzz::TARGETS {
        let folder = folder().join("corpus").join(name);
        let mut seeds = 0;
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{name}: {e}")) {
            target(&fs::read(entry.unwrap().path()).unwrap());
            seeds += 1;
        }
        assert!(seeds > 0, "{name}");
    }
}

/// `HANDOFF_WRITE_SEEDS=1` writes them.
#[test]
fn each_operation_and_each_directive_is_a_committed_seed() {
    for seed in fuzz::seeds::of_samples() {
        let folder = folder().join("corpus").join(seed.target);
        let path = folder.join(format!("seed-{}", seed.name));
        if std::env::var_os("HANDOFF_WRITE_SEEDS").is_some() {
            fs::write(&path, &seed.bytes).unwrap();
        }
        let kept = fs::read(&path).unwrap_or_default();
        let path = path.display();
        assert!(
            kept == seed.bytes,
            "write {path} again: HANDOFF_WRITE_SEEDS=1"
        );
    }
}

#[test]
fn each_target_is_a_program_that_runs_it() {
    for (name, _) in fuzz::TARGETS {
        let path = folder().join(format!("fuzz_targets/{name}.rs"));
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(&format!("fuzz::{name}(data)")), "{name}");
    }
}
