//! `cargo xtask config`: what a configuration can say, and whether one is good.

mod reference;
mod schema;

use std::path::{Path, PathBuf};

use anyhow::Result;
use gateway_config::{Problems, load};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::run::Refused;
use crate::screen::{print, print_line};

/// Arguments of `config`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Tell everything that is wrong with a configuration: file, line, reason, and what
    /// to do. `run` and `image` do the same before they build.
    Check {
        /// The configuration.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// As a list of objects: file, line, key, message, advice. It is empty for a
        /// good one.
        #[arg(long)]
        json: bool,
    },
    /// Print a configuration with every key, to begin with.
    Example,
    /// Print every key: its values, default, unit and meaning; as Markdown.
    Reference {
        /// As a JSON Schema, for editors.
        #[arg(long)]
        json_schema: bool,
    },
}

/// Checks, or prints.
///
/// # Errors
/// [`Problems`] of the configuration.
pub(crate) fn config(arguments: &Arguments) -> Result<()> {
    match &arguments.command {
        Command::Check { file, json } => check(file, *json),
        Command::Example => {
            print(gateway_config::EXAMPLE);
            Ok(())
        }
        Command::Reference { json_schema: true } => {
            print_line(format_args!("{:#}", schema::schema()));
            Ok(())
        }
        Command::Reference { json_schema: false } => {
            print(reference::page());
            Ok(())
        }
    }
}

fn check(file: &Path, as_json: bool) -> Result<()> {
    let problems = match load(file, OffsetDateTime::now_utc()) {
        Ok(config) => {
            match as_json {
                true => print_line("[]"),
                false => print_line(format_args!(
                    "{}: good ({} listeners, {} key rings)",
                    file.display(),
                    config.listeners.len(),
                    config.keyrings.0.len()
                )),
            }
            return Ok(());
        }
        Err(problems) => problems,
    };
    if !as_json {
        return Err(problems.into());
    }
    print_line(format_args!("{:#}", list(&problems)));
    let count = problems.list().len();
    Err(Refused(format!("{}: problems: {count}", file.display())).into())
}

fn list(problems: &Problems) -> Value {
    let list = problems.list().iter();
    list.map(|problem| {
        json!({
            "file": problem.file.display().to_string(),
            "line": problem.line,
            "key": problem.key,
            "message": problem.reason,
            "advice": problem.remedy,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many() -> PathBuf {
        PathBuf::from("../gateway-config/tests/bad/many.toml")
    }

    #[test]
    fn problems_are_objects_with_their_place_and_advice() {
        let problems = load(&many(), OffsetDateTime::now_utc()).err().unwrap();
        let list = list(&problems);
        assert_eq!(list.as_array().unwrap().len(), problems.list().len());
        let expected = json!({
            "file": many().display().to_string(),
            "line": 4,
            "key": "network.mtu",
            "message": "mtu = 9000 is out of range",
            "advice": "write 1280 to 1500",
        });
        assert_eq!(list[1], expected);
    }

    #[test]
    fn a_bad_configuration_is_refused_with_all_its_problems_and_exit_code_2() {
        for json in [false, true] {
            let error = check(&many(), json).unwrap_err();
            assert_eq!(crate::code(&error), 2);
        }
        let text = check(&many(), false).unwrap_err().to_string();
        assert!(text.contains("many.toml:3: address"), "{text}");
        assert!(text.contains("many.toml:21: keyring is empty"), "{text}");
    }
}
