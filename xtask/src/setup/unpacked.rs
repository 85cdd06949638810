//! Packages that can't be installed beside what is there: unpacked below `target/`, where
//! they change nothing of the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use image::command::Step;
use image::workspace::PROGRAMS;

use super::apt;

/// Unpacks `packages` in the checkout at `workspace`, so that `image::workspace::program`
/// finds `programs`. What they need of libraries is among the packages or installed; what
/// they read beside their program is found by its place (QEMU does so).
pub(super) fn unpack<'a>(
    workspace: &Path,
    packages: &[String],
    programs: impl Iterator<Item = &'a str>,
) -> Result<()> {
    let bin = workspace.join(PROGRAMS);
    let folder = bin.parent().context("the folder of unpacked packages")?;
    let archives = folder.join("archives");
    // What a broken attempt left. What was unpacked before stays: others may use it.
    let _ = fs::remove_dir_all(&archives);
    fs::create_dir_all(&archives)?;
    // As root alone: apt's own user can't write here.
    apt("download")
        .args(["--quiet", "--option", "APT::Sandbox::User=root"])
        .args(packages)
        .current_dir(&archives)
        .show()?;
    let root = folder.join("root");
    for archive in fs::read_dir(&archives)? {
        let archive = archive?.path();
        Step::new("dpkg-deb")
            .arg("--extract")
            .arg(&archive)
            .arg(&root)
            .run()?;
    }
    fs::remove_dir_all(&archives)?;
    fs::create_dir_all(&bin)?;
    for program in programs {
        let file = bin.join(program);
        fs::write(&file, starter(program))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// A script that starts an unpacked program with its libraries, wherever the checkout is.
fn starter(program: &str) -> String {
    format!(
        "#!/bin/sh\n\
         # Made by `cargo xtask setup`.\n\
         root=$(CDPATH= cd -- \"$(dirname -- \"$0\")/../root\" && pwd)\n\
         libraries=$(uname -m)-linux-gnu\n\
         LD_LIBRARY_PATH=$root/usr/lib/$libraries:$root/lib/$libraries\n\
         export LD_LIBRARY_PATH\n\
         exec \"$root/usr/bin/{program}\" \"$@\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unpacked_program_gets_its_arguments_and_finds_its_libraries() {
        let folder = image::workspace::scratch("unpacked here").unwrap();
        for inside in ["bin", "root/usr/bin"] {
            fs::create_dir_all(folder.join(inside)).unwrap();
        }
        let put = |file: &str, text: &str| {
            let file = folder.join(file);
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
            file
        };
        put(
            "root/usr/bin/tells",
            "#!/bin/sh\nprintf '%s|' \"$LD_LIBRARY_PATH\" \"$@\"\n",
        );
        let starter = put("bin/tells", &starter("tells"));
        let told = Step::new(starter).args(["a b", "c"]).output().unwrap();
        let (libraries, arguments) = told.split_once('|').unwrap();
        assert_eq!(arguments, "a b|c|");
        let root = folder.join("root/usr/lib");
        assert!(libraries.starts_with(root.to_str().unwrap()), "{libraries}");
    }
}
