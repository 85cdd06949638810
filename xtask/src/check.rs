//! `cargo xtask check`: everything that is not a test.

mod baseline;
mod figures;

use std::path::{Path, PathBuf};

use anyhow::Result;
use image::command::Step;
use image::guest;
use image::kernel::{self, Configuration};
use image::workspace::DESCRIPTION;
use image::{layout, load};

use crate::bench;
use crate::policy;
use crate::screen::{Screen, print};
use crate::setup::{self, Need};
use crate::test::cargo;

/// The version of `cargo-deny` that `deny.toml` is written for.
const DENY_VERSION: &str = "0.20.2";

/// The package of the kernel binding: a library without the feature "guest".
const SEL4: &str = "sel4";

/// Arguments of `check`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    baseline: baseline::Writing,
}

/// Checks; stops at the first that fails.
pub(crate) fn check(workspace: &Path, screen: &Screen, arguments: &Arguments) -> Result<()> {
    setup::ensure(screen, &[Need::Build])?;
    screen.step("capability policy");
    policy::policy(workspace, &policy::PolicyArguments::default())?;
    screen.step("format");
    cargo(workspace).args(["fmt", "--all", "--check"]).show()?;
    screen.step("lints of host programs and libraries");
    cargo(workspace)
        .args([
            "clippy",
            "--locked",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])
        .show()?;
    let prefix = kernel::prefix(workspace, Configuration::Release)?;
    let system = workspace.join(DESCRIPTION);
    let packages = packages(&system)?;
    screen.step("lints of guest programs");
    let step = guest_step(workspace, &prefix, "clippy", &system, &packages);
    step.args(["--bins", "--", "-D", "warnings"]).show()?;
    let measuring = bench::system(workspace)?;
    let step = guest_step(workspace, &prefix, "clippy", &measuring, &["bench".into()]);
    step.args(["--bins", "--", "-D", "warnings"]).show()?;
    screen.step("documentation");
    cargo(workspace)
        .env("RUSTDOCFLAGS", "-D warnings")
        .args(["doc", "--locked", "--no-deps", "--quiet"])
        .show()?;
    let own = [SEL4.to_string(), guest::ROOT.to_string()];
    guest_step(workspace, &prefix, "doc", &system, &own)
        .env("RUSTDOCFLAGS", "-D warnings --cfg handoff_guest")
        .args(["--no-deps", "--lib", "--quiet"])
        .show()?;
    deny(workspace, screen)?;
    screen.step("figures that may only fall");
    let description = load::file(&system)?;
    let figures = figures::collect(workspace, &description)?;
    print(figures::page(&figures));
    let told = baseline::check(workspace, &figures, arguments.baseline)?;
    if let Some(told) = told {
        screen.note(&told);
    }
    Ok(())
}

/// The domains and the root task.
fn packages(system: &Path) -> Result<Vec<String>> {
    let layout = layout::layout(&load::file(system)?);
    let mut packages: Vec<String> = layout.domains.into_iter().map(|d| d.name).collect();
    packages.push(guest::ROOT.to_string());
    Ok(packages)
}

/// The shipped system with everything in it.
const fn whole(description: &Path) -> guest::System<'_> {
    guest::System {
        description,
        memory_mib: None,
        without: &[],
    }
}

fn guest_step(
    workspace: &Path,
    prefix: &Path,
    subcommand: &str,
    system: &Path,
    packages: &[String],
) -> Step {
    let mut step = guest::cargo(workspace, prefix, &whole(system), subcommand);
    for package in packages {
        step = step.args(["--package", package]);
    }
    let features: Vec<String> = packages
        .iter()
        .filter(|package| *package != SEL4)
        .map(|package| format!("{package}/guest"))
        .collect();
    step.args(["--locked", "--profile", "guest", "--features"])
        .arg(features.join(","))
}

/// Licences, sources, duplicate and yanked packages; advisories where their
/// database can be had.
fn deny(workspace: &Path, screen: &Screen) -> Result<()> {
    let program = deny_program(workspace, screen)?;
    let deny = || Step::new(&program).current_dir(workspace);
    screen.step("licences, sources, packages");
    deny()
        .args(["--locked", "check", "bans", "licenses", "sources"])
        .show()?;
    screen.step("advisories");
    let fetched = screen.during("fetching the advisory database", || {
        deny().args(["fetch", "db"]).run()
    });
    match fetched {
        Ok(()) => deny().args(["--locked", "check", "advisories"]).show(),
        Err(_) => {
            screen.failure("advisories were NOT checked: their database can't be reached");
            Ok(())
        }
    }
}

/// `cargo-deny`, installed below `target/tools` when it is not there.
fn deny_program(workspace: &Path, screen: &Screen) -> Result<PathBuf> {
    let tools = workspace.join("target/tools");
    let program = tools.join("bin/cargo-deny");
    let version = Step::new(&program).arg("--version").output();
    if version.is_ok_and(|shown| shown.trim().ends_with(DENY_VERSION)) {
        return Ok(program);
    }
    screen.step("installing cargo-deny (once; takes minutes)");
    cargo(workspace)
        .env_remove("RUSTFLAGS")
        .env("CARGO_TARGET_DIR", tools.join("build"))
        .args([
            "install",
            "cargo-deny",
            "--locked",
            // Unoptimized it takes two seconds instead of one, and half as long to build.
            "--debug",
            "--version",
            DENY_VERSION,
        ])
        .arg("--root")
        .arg(&tools)
        .show()?;
    Ok(program)
}
