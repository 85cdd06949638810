//! Where the checkout is in which a program was started.
//!
//! A program asks this each time that it runs: a checkout can be copied or moved together
//! with its `target/`, and what was built in the old place must not lead back to it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folder of the package that cargo runs: its build script, its tests, its program.
const PACKAGE: &str = "CARGO_MANIFEST_DIR";
/// What the workspace's folder has and no other; `fuzz/` is a workspace of its own.
const SIGNS: [&str; 2] = ["Cargo.toml", DESCRIPTION];
/// The description of the shipped system, from the workspace's folder.
pub const DESCRIPTION: &str = "image/system.toml";

/// The workspace's folder: where cargo runs a package of it, or else above the current
/// folder.
///
/// # Errors
/// When neither is in a workspace.
pub fn root() -> Result<PathBuf> {
    let start = match env::var_os(PACKAGE) {
        Some(package) => PathBuf::from(package),
        None => env::current_dir().context("the current folder")?,
    };
    above(&start)
}

/// The description of the shipped system.
///
/// # Errors
/// As [`root`].
pub fn description() -> Result<PathBuf> {
    Ok(root()?.join(DESCRIPTION))
}

/// A folder for what a test or a tool leaves; made when it is not there.
///
/// # Errors
/// As [`root`], or the folder can't be made.
pub fn scratch(name: &str) -> Result<PathBuf> {
    let folder = root()?.join("target/tmp").join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

/// Where programs are, from the workspace's folder, whose packages could not be installed
/// beside others.
pub const PROGRAMS: &str = "target/tools/packages/bin";
/// Where the files of those packages are, from the workspace's folder.
pub const UNPACKED: &str = "target/tools/packages/root";

/// What starts the program with this name: that in `PATH`, or else one that is unpacked
/// in this checkout. `None` if there is neither.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let installed = env::split_paths(&folders).map(|folder| folder.join(name));
    let unpacked = root().ok().map(|root| root.join(PROGRAMS).join(name));
    installed.chain(unpacked).find(|program| program.is_file())
}

fn above(start: &Path) -> Result<PathBuf> {
    let found = start
        .ancestors()
        .find(|folder| SIGNS.iter().all(|sign| folder.join(sign).is_file()))
        .with_context(|| {
            format!(
                "{} is in no checkout of this workspace: start it by cargo, or in one",
                start.display()
            )
        })?;
    found
        .canonicalize()
        .with_context(|| found.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_found_from_every_folder_in_it() {
        let root = root().unwrap();
        for inside in ["", "image", "image/src/policy", "examples/echo", "fuzz"] {
            assert_eq!(above(&root.join(inside)).unwrap(), root, "{inside}");
        }
    }

    #[test]
    fn a_program_is_found_in_the_path_and_one_that_nobody_has_is_not() {
        assert!(program("sh").unwrap().is_absolute());
        assert_eq!(program("no-such-program-anywhere"), None);
    }

    #[test]
    fn a_folder_outside_of_every_workspace_is_refused() {
        let error = above(Path::new("/")).unwrap_err().to_string();
        assert!(error.starts_with("/ is in no checkout"), "{error}");
    }
}
