//! Starting other programs, with an error that says what was started and how it exited.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// How many lines of a failed program's output its error shows.
const SHOWN_LINES: usize = 40;

/// One program with its arguments.
#[derive(Debug)]
pub struct Step(Command);

impl Step {
    /// A step that starts `program`.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        Self(command)
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.0.arg(arg);
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.0.args(args);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Removes an environment variable.
    #[must_use]
    pub fn env_remove(mut self, name: &str) -> Self {
        self.0.env_remove(name);
        self
    }

    /// Sets the folder that the program starts in.
    #[must_use]
    pub fn current_dir(mut self, folder: &Path) -> Self {
        self.0.current_dir(folder);
        self
    }

    /// Runs it to its end, quietly.
    ///
    /// # Errors
    /// When it can't be started or does not succeed; with the end of its output.
    pub fn run(self) -> Result<()> {
        self.output().map(drop)
    }

    /// Runs it to its end and returns its standard output.
    ///
    /// # Errors
    /// When it can't be started or does not succeed; with the end of its output.
    pub fn output(mut self) -> Result<String> {
        let program = self.0.get_program().to_string_lossy().into_owned();
        let output = self
            .0
            .output()
            .with_context(|| format!("{program}: can't be started; is it installed?"))?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            let lines: Vec<&str> = stdout.lines().chain(stderr.lines()).collect();
            let shown = lines.get(lines.len().saturating_sub(SHOWN_LINES)..);
            bail!(
                "{:?}: {}\n{}",
                self.0,
                output.status,
                shown.unwrap_or_default().join("\n")
            );
        }
        Ok(stdout)
    }

    /// Runs it to its end with its output shown to the person at the terminal.
    ///
    /// # Errors
    /// When it can't be started or does not succeed.
    pub fn show(mut self) -> Result<()> {
        let program = self.0.get_program().to_string_lossy().into_owned();
        let status = self
            .0
            .status()
            .with_context(|| format!("{program}: can't be started; is it installed?"))?;
        if !status.success() {
            bail!("{program}: {status}");
        }
        Ok(())
    }
}

/// Copies a folder and everything in it; files become writable.
///
/// # Errors
/// Whatever the file system says.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let entries = fs::read_dir(from).with_context(|| format!("reading {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            // Not fs::copy: it would keep a read-only mode.
            fs::write(&target, fs::read(entry.path())?)?;
            #[cfg(unix)]
            copy_executable_bit(&entry.path(), &target)?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn copy_executable_bit(from: &Path, to: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if fs::metadata(from)?.permissions().mode() & 0o100 != 0 {
        fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
