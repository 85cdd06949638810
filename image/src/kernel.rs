//! The seL4 kernel: found, built and installed.
//!
//! The embedded default is the seL4 5.0.0 source inside the package `sel4-sys`,
//! which `Cargo.lock` pins with its checksum and which is never compiled as a
//! crate. It is built by its own Makefile into a prefix with the layout of a
//! standard seL4 install:
//!
//! ```text
//! bin/kernel.elf
//! libsel4/include/           headers, generated headers, interface XML
//! support/                   what the kernel was built with
//! ```
//!
//! The environment variable `SEL4_PREFIX` names another install and wins.

mod headers;
mod source;

pub use source::{LICENCE, PACKAGE, VERSION};

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::Step;

/// Which of the two kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Configuration {
    /// Prints nothing, has no debug system calls.
    Release,
    /// Prints on COM1 and checks its own assertions.
    Debug,
}

impl Configuration {
    /// The name of its folder below `target/sel4-prefix`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Debug => "debug",
        }
    }
}

/// Counts changes of how the kernel is built, so that an old build is not kept.
const RECIPE: u32 = 3;

/// Warnings of the kernel's Makefile without "error", and without the one that
/// newer compilers give for packed members (all of them checked upstream).
const WARNINGS: &str = "WARNINGS=all strict-prototypes missing-prototypes \
    nested-externs missing-declarations undef pointer-arith no-nonnull \
    no-address-of-packed-member";

/// A header that is read before each file of the kernel. It declares the kernel
/// stack once more, aligned to its size: `docs/adr/0031` says why.
const STACK: (&str, &str) = (
    "kernel_stack.h",
    "#ifndef __ASSEMBLER__\n\
     extern char kernel_stack_alloc[1][4096] __attribute__((aligned(4096)));\n\
     #endif\n",
);

/// The folder of the kernel to use, built first when that is needed.
///
/// # Errors
/// When `SEL4_PREFIX` names no install, a tool is missing, or the build fails;
/// the error carries the end of the build's output.
pub fn prefix(workspace: &Path, configuration: Configuration) -> Result<PathBuf> {
    if let Some(prefix) = std::env::var_os("SEL4_PREFIX") {
        let prefix = PathBuf::from(prefix);
        if !prefix.join("bin/kernel.elf").is_file() {
            bail!(
                "SEL4_PREFIX={}: no bin/kernel.elf there; name a seL4 install, or unset it for the embedded kernel",
                prefix.display()
            );
        }
        return Ok(prefix);
    }
    let prefix = default_prefix(workspace, configuration);
    let stamp = stamp(configuration)?;
    // Two builds at once would tread on each other; the lock ends with `_lock`.
    let builds = workspace.join("target/sel4-build");
    fs::create_dir_all(&builds)?;
    let _lock = fs::File::create(builds.join("lock"))?;
    _lock.lock()?;
    let stamp_file = prefix.join("support/stamp");
    if fs::read_to_string(&stamp_file).is_ok_and(|found| found == stamp) {
        return Ok(prefix);
    }
    build(workspace, configuration, &prefix)
        .with_context(|| format!("building the {} kernel", configuration.name()))?;
    fs::write(&stamp_file, stamp)?;
    Ok(prefix)
}

/// Where the embedded kernel is installed.
pub fn default_prefix(workspace: &Path, configuration: Configuration) -> PathBuf {
    workspace
        .join("target/sel4-prefix")
        .join(configuration.name())
}

fn stamp(configuration: Configuration) -> Result<String> {
    let compiler = Step::new("gcc").arg("-dumpfullversion").output()?;
    Ok(format!(
        "sel4-sys {}\nrecipe {RECIPE}\nconfiguration {}\ngcc {}\n",
        VERSION,
        configuration.name(),
        compiler.trim()
    ))
}

/// The kernel must keep its stack in a page of its own.
fn check_stack(kernel: &Path) -> Result<()> {
    let symbols = Step::new("nm").arg(kernel).output()?;
    let mut stack = symbols
        .lines()
        .filter(|line| line.ends_with(" kernel_stack_alloc"));
    let aligned = stack.next().is_some_and(|line| {
        line.split_whitespace()
            .next()
            .is_some_and(|address| address.ends_with("000"))
    });
    if !aligned {
        bail!("{}: the kernel stack is not aligned", kernel.display());
    }
    Ok(())
}

fn build(workspace: &Path, configuration: Configuration, prefix: &Path) -> Result<()> {
    eprintln!("kernel: building seL4 5.0.0 ({})", configuration.name());
    let python = source::python(workspace)?;
    let folder = workspace
        .join("target/sel4-build")
        .join(configuration.name());
    let source = source::copy(workspace, &folder, configuration)?;
    let build = folder.join("build");
    fs::create_dir_all(&build)?;
    let (stack, declaration) = STACK;
    fs::write(folder.join(stack), declaration)?;
    // Relative paths only: the build's place must not reach the bytes.
    let mut make = Step::new("make")
        .current_dir(&build)
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .env("PATH", source::path_with(&python)?)
        .env("LC_ALL", "C")
        .env(
            "CFLAGS",
            format!(
                "-ffile-prefix-map={}=. -include ../{stack}",
                folder.display()
            ),
        )
        .args(["-s", "-f", "../src/Makefile"])
        .args(["SOURCE_ROOT=../src", "ARCH=x86", "PLAT=pc99"])
        .args(["SEL4_ARCH=x86_64", "PYTHON=python", "FASTPATH=1"])
        .args(["CIRCULAR_INCLUDES=true", WARNINGS]);
    if configuration == Configuration::Debug {
        make = make.arg("DEBUG=1");
    }
    make.run()?;
    check_stack(&build.join("kernel.elf"))?;
    let staged = folder.join("prefix");
    if staged.exists() {
        fs::remove_dir_all(&staged)?;
    }
    fs::create_dir_all(staged.join("bin"))?;
    fs::create_dir_all(staged.join("support"))?;
    fs::copy(build.join("kernel.elf"), staged.join("bin/kernel.elf"))?;
    headers::install(&source, &build, &python, &staged)?;
    if prefix.exists() {
        fs::remove_dir_all(prefix)?;
    }
    if let Some(parent) = prefix.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::rename(&staged, prefix).context("moving the finished kernel into place")
}
