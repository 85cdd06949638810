//! `cargo xtask completions` and `cargo xtask man`: what shells and manuals are told of
//! the commands, out of the types that read them.

use std::fs;
use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;

/// What the completions are for: a shell completes by its first word, so that
/// `alias xtask="cargo xtask"` is needed with them.
const ALIAS: &str = "xtask";

/// Arguments of `completions`.
#[derive(clap::Args)]
pub(crate) struct CompletionsArguments {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Arguments of `man`.
#[derive(clap::Args)]
pub(crate) struct ManArguments {
    /// Write a page for each command there too; without it the first page is printed.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prints what a shell needs to complete the commands of `C`.
pub(crate) fn completions<C: CommandFactory>(arguments: &CompletionsArguments) {
    let mut command = C::command();
    clap_complete::generate(arguments.shell, &mut command, ALIAS, &mut io::stdout());
}

/// Prints the manual page of `C`, or writes those of all its commands.
///
/// # Errors
/// The pages can't be written.
pub(crate) fn man<C: CommandFactory>(arguments: &ManArguments) -> Result<()> {
    let command = C::command().name("cargo-xtask");
    match &arguments.out {
        None => clap_mangen::Man::new(command).render(&mut io::stdout())?,
        Some(folder) => {
            let context = || folder.display().to_string();
            fs::create_dir_all(folder).with_context(context)?;
            clap_mangen::generate_to(command, folder).with_context(context)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Command;
    use image::workspace;

    use super::*;
    use crate::Arguments;

    fn names() -> Vec<String> {
        let command = Arguments::command();
        let names = command.get_subcommands().map(Command::get_name);
        names.map(str::to_string).collect()
    }

    #[test]
    fn the_commands_are_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn each_shell_completes_every_command() {
        for shell in [
            Shell::Bash,
            Shell::Zsh,
            Shell::Fish,
            Shell::PowerShell,
            Shell::Elvish,
        ] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), ALIAS, &mut text);
            let text = String::from_utf8(text).unwrap();
            for name in names() {
                assert!(text.contains(&name), "{shell}: {name}");
            }
        }
    }

    #[test]
    fn each_command_has_a_manual_page_and_the_first_has_the_exit_codes() {
        let folder = workspace::scratch("manual").unwrap();
        let out = Some(folder.clone());
        man::<Arguments>(&ManArguments { out }).unwrap();
        let first = fs::read_to_string(folder.join("cargo-xtask.1")).unwrap();
        assert!(first.contains("system packages are missing"), "{first}");
        for name in names() {
            let page = folder.join(format!("cargo-xtask-{name}.1"));
            let page = fs::read_to_string(&page);
            let page = page.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(page.contains(".SH SYNOPSIS"), "{name}: {page}");
        }
    }

    #[test]
    fn the_version_is_the_workspaces() {
        let version = Arguments::command().render_version();
        assert_eq!(
            version.trim(),
            format!("cargo xtask {}", env!("CARGO_PKG_VERSION"))
        );
    }
}
