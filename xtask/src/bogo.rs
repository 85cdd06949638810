//! `cargo xtask bogo`: BoringSSL's protocol tests.

mod reasons;
mod report;
mod runner;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use image::command::Step;

use crate::screen::{Screen, print};
use crate::setup::{self, Need};
use crate::test::cargo;
use report::{Mode, Report};

/// Arguments of `bogo`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// One mode alone.
    #[arg(long, value_name = "MODE")]
    mode: Option<Which>,
    /// Names of tests, with `*` for any part; all of them without one.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Write the counts as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the tables of docs/conformance.md again, from a run of all tests.
    #[arg(long, conflicts_with_all = ["mode", "names"])]
    write: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    Directed,
    Autonomous,
}

/// Runs the tests, and compares what fails with what is known to.
pub(crate) fn bogo(workspace: &Path, screen: &Screen, arguments: &Arguments) -> Result<()> {
    let modes: &[Mode] = match arguments.mode {
        None => &[Mode::Directed, Mode::Autonomous],
        Some(Which::Directed) => &[Mode::Directed],
        Some(Which::Autonomous) => &[Mode::Autonomous],
    };
    let report = run(workspace, screen, modes, &arguments.names)?;
    print(report.table());
    if let Some(file) = &arguments.json {
        fs::write(file, report.json()).with_context(|| file.display().to_string())?;
    }
    if arguments.write {
        report.write_document(&workspace.join("docs/conformance.md"))?;
    }
    report.judge(screen)
}

/// All tests in both modes, for `cargo xtask test`.
pub(crate) fn all(workspace: &Path, screen: &Screen) -> Result<()> {
    let report = run(workspace, screen, &[Mode::Directed, Mode::Autonomous], &[])?;
    print(report.table());
    report.judge(screen)
}

fn run(workspace: &Path, screen: &Screen, modes: &[Mode], names: &[String]) -> Result<Report> {
    setup::ensure(screen, &[Need::Build, Need::Bogo])?;
    let folder = workspace.join("target/bogo");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let runner = runner::build(screen, &folder)?;
    screen.step("building the shim");
    cargo(workspace)
        .args(["build", "--locked", "--package", "bogo", "--bin", "bogo"])
        .show()?;
    let mut report = Report::new(&workspace.join("bogo/config.json"))?;
    for mode in modes {
        screen.step(&format!("BoGo, {} mode", mode.name()));
        let results = run_mode(workspace, &folder, &runner, *mode, names)?;
        report.add(*mode, &results, &folder.join("reports"))?;
        fs::remove_dir_all(folder.join("reports")).ok();
    }
    Ok(report)
}

/// Runs one mode; returns the file of its results.
fn run_mode(
    workspace: &Path,
    folder: &Path,
    runner: &Path,
    mode: Mode,
    names: &[String],
) -> Result<PathBuf> {
    let (results, reports) = (folder.join("results.json"), folder.join("reports"));
    fs::remove_file(&results).ok();
    fs::remove_dir_all(&reports).ok();
    fs::create_dir_all(&reports).with_context(|| reports.display().to_string())?;
    let mode = mode.name();
    let mut step = Step::new(runner)
        .current_dir(folder)
        .arg("-shim-path")
        .arg(workspace.join("target/debug/bogo"))
        .arg("-shim-config")
        .arg(report::runner_config(workspace, folder)?)
        .arg(format!("-shim-extra-flags=-handoff-mode;{mode}"))
        .arg("-transcript-dir")
        .arg(&reports)
        .arg("-json-output")
        .arg(&results)
        .args(["-pipe", "-allow-unimplemented", "-idle-timeout", "20s"])
        // Most of them wait for a while.
        .args(["-num-workers", "16"]);
    if !names.is_empty() {
        step = step.arg("-test").arg(names.join(";"));
    }
    // It ends with an error when a test fails; what failed is in its results.
    let said = step.run();
    if !results.is_file() {
        said?;
        bail!("the runner left no results");
    }
    Ok(results)
}
