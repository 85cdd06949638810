//! System packages: which are missing, and how they get there.

mod unpacked;

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Result;
use image::command::Step;
use image::workspace;

use crate::screen::Screen;

/// What a package is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Building kernel and image.
    Build,
    /// Making the bootable disc.
    Disc,
    /// Running the image.
    Run,
    /// Networks of their own, for tests and attackers.
    Network,
    /// Testing it.
    Test,
    /// BoringSSL's protocol tests.
    Bogo,
}

/// All needs.
pub(crate) const EVERYTHING: [Need; 6] = [
    Need::Build,
    Need::Disc,
    Need::Run,
    Need::Network,
    Need::Test,
    Need::Bogo,
];

/// How the presence of a package is seen.
enum Sign {
    /// A program in `PATH`.
    Program(&'static str),
    /// A folder or file.
    Path(&'static str),
    /// A Python module that can be imported.
    Module(&'static str),
    /// A file of a package that is unpacked in the checkout.
    Unpacked(&'static str),
}

/// Debian's name of a package, what it is needed for, and its sign.
const PACKAGES: [(&str, Need, Sign); 23] = [
    ("gcc", Need::Build, Sign::Program("gcc")),
    ("make", Need::Build, Sign::Program("make")),
    ("binutils", Need::Build, Sign::Program("objcopy")),
    ("python3-venv", Need::Build, Sign::Module("ensurepip")),
    ("libxml2-utils", Need::Build, Sign::Program("xmllint")),
    (
        "grub-pc-bin",
        Need::Disc,
        Sign::Path("/usr/lib/grub/i386-pc"),
    ),
    ("grub-common", Need::Disc, Sign::Program("grub-mkrescue")),
    ("xorriso", Need::Disc, Sign::Program("xorriso")),
    ("mtools", Need::Disc, Sign::Program("mformat")),
    (
        "qemu-system-x86",
        Need::Run,
        Sign::Program("qemu-system-x86_64"),
    ),
    ("gnutls-bin", Need::Test, Sign::Program("gnutls-cli")),
    ("openssl", Need::Test, Sign::Program("openssl")),
    ("iproute2", Need::Network, Sign::Program("ip")),
    ("curl", Need::Test, Sign::Program("curl")),
    ("chromium", Need::Test, Sign::Program("chromium")),
    ("libnss3-tools", Need::Test, Sign::Program("certutil")),
    ("prometheus", Need::Test, Sign::Program("promtool")),
    (
        "libvirt0",
        Need::Test,
        Sign::Unpacked("usr/share/libvirt/schemas/domain.rng"),
    ),
    ("systemd", Need::Test, Sign::Program("systemd-analyze")),
    ("openssl", Need::Bogo, Sign::Program("openssl")),
    (
        "golang-golang-x-crypto-dev",
        Need::Bogo,
        Sign::Path("/usr/share/gocode/src/golang.org/x/crypto"),
    ),
    (
        "golang-golang-x-sys-dev",
        Need::Bogo,
        Sign::Path("/usr/share/gocode/src/golang.org/x/sys"),
    ),
    (
        "golang-golang-x-term-dev",
        Need::Bogo,
        Sign::Path("/usr/share/gocode/src/golang.org/x/term"),
    ),
];

/// Packages that start a service when they are installed, or of which only files are
/// wanted. They need nothing of other packages, and are unpacked in the checkout.
const UNPACKED: [&str; 2] = ["prometheus", "libvirt0"];

/// Packages are missing and can't be installed here.
#[derive(Debug)]
pub(crate) struct Missing(Vec<&'static str>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.join(" ");
        write!(
            f,
            "system packages are missing: {names}\n  on Debian or Ubuntu: sudo apt-get install {names}\n  \
             elsewhere: install what has the same programs, then try again"
        )
    }
}

impl std::error::Error for Missing {}

/// Sees to it that the packages for `needs` are there: as root on Debian they
/// are installed.
///
/// # Errors
/// [`Missing`], or what the installation says.
pub(crate) fn ensure(screen: &Screen, needs: &[Need]) -> Result<()> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    if !(is_root() && is_debian()) {
        return Err(Missing(missing).into());
    }
    screen.step(&format!(
        "installing system packages: {}",
        missing.join(" ")
    ));
    apt("update").arg("--quiet").show()?;
    let (mut beside, mut installed) = (Vec::new(), Vec::new());
    let (services, missing): (Vec<_>, Vec<_>) = missing
        .into_iter()
        .partition(|name| UNPACKED.contains(name));
    if !services.is_empty() {
        let names: Vec<_> = services.iter().map(ToString::to_string).collect();
        let programs = services.iter().flat_map(|name| programs(name));
        unpacked::unpack(&workspace::root()?, &names, programs)?;
    }
    for name in missing {
        match plan(&[name])?.removed.is_empty() {
            true => installed.push(name),
            false => beside.push(name),
        }
    }
    if !installed.is_empty() {
        let upgraded = plan(&installed)?.upgraded.join(" ");
        if !upgraded.is_empty() {
            screen.note(&format!("they need newer versions of: {upgraded}"));
        }
        // No other package goes, and none is upgraded that is not needed.
        let others = ["--no-remove", "--no-upgrade"];
        install().args(others).args(&installed).show()?;
    }
    if !beside.is_empty() {
        let Plan {
            removed,
            added,
            upgraded,
        } = plan(&beside)?;
        screen.note(&format!(
            "{} can't be installed without removing {}: unpacked in this checkout alone",
            beside.join(" "),
            removed.join(" ")
        ));
        let programs = beside.iter().flat_map(|name| programs(name));
        let needed = [added, upgraded].concat();
        unpacked::unpack(&workspace::root()?, &needed, programs)?;
    }
    let missing = self::missing(needs);
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Missing(missing).into())
    }
}

fn apt(command: &str) -> Step {
    Step::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .arg(command)
}

fn install() -> Step {
    apt("install").args(["--yes", "--quiet", "--no-install-recommends"])
}

/// The programs by which a package is seen.
fn programs(package: &str) -> Vec<&'static str> {
    let own = PACKAGES.iter().filter(|(name, _, _)| *name == package);
    own.filter_map(|(_, _, sign)| match sign {
        Sign::Program(name) => Some(*name),
        Sign::Path(_) | Sign::Module(_) | Sign::Unpacked(_) => None,
    })
    .collect()
}

/// What an installation would do with other packages.
#[derive(Default)]
struct Plan {
    removed: Vec<String>,
    upgraded: Vec<String>,
    added: Vec<String>,
}

fn plan(names: &[&str]) -> Result<Plan> {
    let planned = install().arg("--simulate").args(names).output()?;
    Ok(changes(&planned))
}

/// What `apt-get --simulate` says: `Remv NAME …`, `Inst NAME [OLD VERSION] …`, and
/// `Inst NAME (VERSION …)`.
fn changes(planned: &str) -> Plan {
    let mut plan = Plan::default();
    for line in planned.lines() {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("Remv"), Some(name), _) => plan.removed.push(name.to_string()),
            (Some("Inst"), Some(name), Some(old)) if old.starts_with('[') => {
                plan.upgraded.push(name.to_string());
            }
            (Some("Inst"), Some(name), _) => plan.added.push(name.to_string()),
            _ => {}
        }
    }
    plan
}

fn missing(needs: &[Need]) -> Vec<&'static str> {
    PACKAGES
        .iter()
        .filter(|(_, need, sign)| needs.contains(need) && !is_there(sign))
        .map(|(name, _, _)| *name)
        .fold(Vec::new(), |mut names, name| {
            if !names.contains(&name) {
                names.push(name);
            }
            names
        })
}

fn is_there(sign: &Sign) -> bool {
    match sign {
        Sign::Program(name) => workspace::program(name).is_some(),
        Sign::Path(path) => Path::new(path).exists(),
        Sign::Unpacked(path) => {
            let root = workspace::root();
            root.is_ok_and(|root| root.join(workspace::UNPACKED).join(path).exists())
        }
        Sign::Module(name) => Step::new("python3")
            .args(["-c", &format!("import venv, {name}")])
            .run()
            .is_ok(),
    }
}

/// `/proc/self` belongs to the effective user.
fn is_root() -> bool {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::uid(&match fs::metadata("/proc/self") {
        Ok(metadata) => metadata,
        Err(_) => return false,
    }) == 0;
    #[cfg(not(unix))]
    false
}

/// Debian, or what calls itself like it (os-release(5)).
fn is_debian() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    names_debian(&release)
}

fn names_debian(release: &str) -> bool {
    release
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(key, _)| matches!(*key, "ID" | "ID_LIKE"))
        .flat_map(|(_, value)| value.trim_matches('"').split(' '))
        .any(|name| name == "debian")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_and_its_like_are_recognised() {
        assert!(names_debian("NAME=x\nID=debian\n"));
        assert!(names_debian("ID=ubuntu\nID_LIKE=debian\n"));
        assert!(names_debian("ID=mint\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!names_debian("ID=fedora\nHOME=\"https://debian\"\n"));
    }

    #[test]
    fn missing_packages_are_shown_with_the_command() {
        let shown = Missing(vec!["xorriso", "mtools"]).to_string();
        assert!(shown.contains("sudo apt-get install xorriso mtools\n"));
    }

    #[test]
    fn what_an_installation_would_remove_or_upgrade_is_found() {
        let planned = "Reading package lists...\nRemv qemu-utils [1:7.2] [seabios ]\n\
                       Inst qemu-system-x86 (1:7.2 Debian:12 [amd64])\n\
                       Inst libc6 [2.36-9] (2.36-10 Debian:12 [amd64])\nConf libc6 (2.36-10)\n";
        let plan = changes(planned);
        assert_eq!(plan.removed, ["qemu-utils"]);
        assert_eq!(plan.upgraded, ["libc6"]);
        assert_eq!(plan.added, ["qemu-system-x86"]);
    }

    #[test]
    fn a_program_that_nobody_has_is_seen_to_be_missing() {
        assert!(!is_there(&Sign::Program("no-such-program-anywhere")));
        assert!(is_there(&Sign::Program("sh")));
    }
}
