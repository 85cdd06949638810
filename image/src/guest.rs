//! The programs of the domains and of the root task: built with cargo for a
//! machine without an operating system, and checked.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::command::Step;
use crate::description::Purpose;
use crate::elf::Program;
use crate::generate::{MEMORY_VARIABLE, SYSTEM_VARIABLE};
use crate::left_out;

/// The target whose prebuilt libraries the programs use. It is not this
/// system's: no system call of Linux is ever made. It is chosen because `ring`
/// picks its fast assembly by it.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Flags of the compiler for programs without an operating system.
const RUSTFLAGS: [&str; 10] = [
    "--cfg=handoff_guest",
    "-Crelocation-model=static",
    "-Ctarget-feature=+crt-static",
    "-Cpanic=abort",
    "-Cforce-unwind-tables=no",
    "-Clink-arg=-nostartfiles",
    "-Clink-arg=-nostdlib",
    "-Clink-arg=-static",
    "-Clink-arg=-no-pie",
    "-Clink-arg=-Wl,--build-id=none,-z,max-page-size=4096,-z,noexecstack,--no-eh-frame-hdr",
];

/// The same for the C parts of crates.
const CFLAGS: &str = "-fno-stack-protector -ffreestanding -U_FORTIFY_SOURCE -DNDEBUG";

/// The package of the root task.
pub const ROOT: &str = "init";

/// Environment and arguments of cargo for guest programs: for a build, and for
/// a check with clippy: for this system.
pub fn cargo(workspace: &Path, prefix: &Path, system: &System<'_>, subcommand: &str) -> Step {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let flags = RUSTFLAGS.join("\u{1f}");
    // The build's place must not reach the bytes.
    let mut remap = format!("--remap-path-prefix={}=handoff", workspace.display());
    if let Some(home) = cargo_home() {
        remap += &format!("\u{1f}--remap-path-prefix={}=cargo", home.display());
    }
    Step::new(program)
        .current_dir(workspace)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR")
        .env("CARGO_ENCODED_RUSTFLAGS", format!("{flags}\u{1f}{remap}"))
        .env("CFLAGS_x86_64_unknown_linux_gnu", CFLAGS)
        .env("SEL4_PREFIX", prefix)
        .env(SYSTEM_VARIABLE, system.description)
        .env(MEMORY_VARIABLE, system.memory())
        .env(left_out::VARIABLE, names(system.without).join(" "))
        .args([subcommand, "--target", TARGET, "--target-dir"])
        .arg(target_folder(workspace, system))
}

/// Where cargo keeps the sources of packages.
fn cargo_home() -> Option<PathBuf> {
    let set = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    set.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cargo")))
}

fn names(purposes: &[Purpose]) -> Vec<&'static str> {
    purposes.iter().map(|purpose| purpose.name()).collect()
}

/// One for each description, memory, and what is left out of it: its constants are in every
/// program, so one folder for all would rebuild all of them at each change from one to
/// another.
fn target_folder(workspace: &Path, system: &System<'_>) -> PathBuf {
    let beside = system.description.parent().and_then(Path::file_name);
    let mut name = match beside.and_then(OsStr::to_str) {
        None | Some("image") => "target/guest".to_string(),
        Some(other) => format!("target/guest-{other}"),
    };
    if let Some(mib) = system.memory_mib {
        name += &format!("-{mib}");
    }
    for purpose in names(system.without) {
        name += &format!("-without-{purpose}");
    }
    workspace.join(name)
}

/// What programs are built for.
#[derive(Clone, Copy, Debug)]
pub struct System<'a> {
    /// The system description.
    pub description: &'a Path,
    /// MiB of memory of the machine; `None` for what the description says.
    pub memory_mib: Option<u32>,
    /// What the image is without.
    pub without: &'a [Purpose],
}

impl System<'_> {
    /// As [`MEMORY_VARIABLE`] has it.
    fn memory(&self) -> String {
        self.memory_mib
            .map_or_else(String::new, |mib| mib.to_string())
    }
}

/// What to build.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The workspace's folder.
    pub workspace: &'a Path,
    /// The kernel's install.
    pub prefix: &'a Path,
    /// What the programs are for.
    pub system: System<'a>,
    /// Packages; each has a binary of the same name.
    pub packages: &'a BTreeSet<String>,
    /// Features of packages besides "guest", as `package/feature`.
    pub features: &'a [String],
}

/// Builds the programs of the domains and of the root task; by package.
///
/// # Errors
/// When cargo fails (it shows why on standard error), or a program would not
/// run without an operating system.
pub fn build(request: &Request<'_>) -> Result<BTreeMap<String, Vec<u8>>> {
    let packages: Vec<&str> = request
        .packages
        .iter()
        .map(String::as_str)
        .chain([ROOT])
        .collect();
    let mut features: Vec<String> = packages.iter().map(|p| format!("{p}/guest")).collect();
    features.extend_from_slice(request.features);
    let system = &request.system;
    let mut step = cargo(request.workspace, request.prefix, system, "build")
        .args(["--profile", "guest", "--features"])
        .arg(features.join(","));
    for package in &packages {
        step = step.args(["--package", package, "--bin", package]);
    }
    let folder = target_folder(request.workspace, system);
    // Until they are read: another build, with other features, writes over them.
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join("programs.lock"))?;
    lock.lock().context("waiting for another build")?;
    step.show().context("building the guest programs")?;
    let folder = folder.join(TARGET).join("guest");
    let mut programs = BTreeMap::new();
    for package in packages {
        let path = folder.join(package);
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        check(&path, &bytes).with_context(|| format!("program {package}"))?;
        programs.insert(package.to_string(), bytes);
    }
    Ok(programs)
}

/// A program must stand alone, and make system calls only the way the binding
/// does: between `mov r14, rsp` and `mov rsp, r14`.
fn check(path: &Path, bytes: &[u8]) -> Result<()> {
    let undefined = Program::parse(bytes)?.undefined_symbols()?;
    ensure!(
        undefined.is_empty(),
        "names symbols that nobody defines: {}",
        undefined.join(", ")
    );
    let listing = Step::new("objdump")
        .args(["--disassemble", "--no-show-raw-insn", "--no-addresses"])
        .arg(path)
        .output()?;
    let mut before = "";
    for line in listing.lines().map(str::trim) {
        ensure!(
            !line.starts_with("syscall")
                && !line.starts_with("sysenter")
                && !line.starts_with("int ")
                || before.starts_with("mov") && before.ends_with("%rsp,%r14"),
            "makes a system call outside the seL4 binding, after \"{before}\""
        );
        before = line;
    }
    Ok(())
}
