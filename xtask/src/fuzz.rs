//! `cargo xtask fuzz`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use image::command::Step;

use crate::screen::Screen;
use crate::setup::{self, Need};
use crate::test::cargo;

/// The version of `cargo-fuzz` that the command line below is written for.
const VERSION: &str = "0.13.2";

/// Arguments of `fuzz`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The targets; all of them without one.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Regenerate the committed seeds.
    #[arg(long)]
    seeds: bool,
}

/// Feeds each target for a while, politely; stops at the first finding, which
/// stays in `target/fuzz/findings`. What was learned stays in
/// `target/fuzz/corpus` and is where the next run goes on.
pub(crate) fn fuzz(workspace: &Path, screen: &Screen, arguments: &Arguments) -> Result<()> {
    setup::ensure(screen, &[Need::Build])?;
    if arguments.seeds {
        screen.step("seeds");
        return cargo(&workspace.join("fuzz"))
            .env("CARGO_TARGET_DIR", workspace.join("target"))
            .args(["run", "--locked", "--no-default-features"])
            .args(["--example", "seeds"])
            .show();
    }
    let found = nightly(workspace)
        .args(["cargo", "fuzz", "--version"])
        .output()
        .context(
            "the nightly toolchain or cargo-fuzz is missing; fuzz/README.md tells how to get them",
        )?;
    if !found.contains(VERSION) {
        screen.note(&format!(
            "expected cargo-fuzz {VERSION}, found {}",
            found.trim()
        ));
    }
    let list = nightly(workspace)
        .args(["cargo", "fuzz", "list"])
        .output()?;
    let all: Vec<String> = list.lines().map(Into::into).collect();
    let targets = match arguments.targets.is_empty() {
        true => &all,
        false => &arguments.targets,
    };
    if let Some(unknown) = targets.iter().find(|target| !all.contains(target)) {
        bail!(
            "there is no target \"{unknown}\"; there are: {}",
            all.join(", ")
        );
    }
    let folder = workspace.join("target/fuzz");
    for target in targets {
        screen.step(&format!("fuzzing {target} for {} s", arguments.seconds));
        let learned = folder.join("corpus").join(target);
        let findings = folder.join("findings").join(target);
        for folder in [&learned, &findings] {
            fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
        }
        nightly(workspace)
            .args([
                "nice",
                "-n",
                "19",
                "cargo",
                "fuzz",
                "run",
                target,
                "--target-dir",
            ])
            .arg(folder.join("build"))
            .arg(&learned)
            .arg(workspace.join("fuzz/corpus").join(target))
            .arg("--")
            .arg(format!("-max_total_time={}", arguments.seconds))
            .arg(format!("-artifact_prefix={}/", findings.display()))
            .args(["-timeout=20", "-print_final_stats=1", "-verbosity=0"])
            .show()
            .with_context(|| format!("{target} found something, or could not be built"))?;
    }
    Ok(())
}

/// Something in the folder `fuzz` by the nightly toolchain.
fn nightly(workspace: &Path) -> Step {
    Step::new("rustup")
        .args(["run", "nightly"])
        .current_dir(&workspace.join("fuzz"))
}
