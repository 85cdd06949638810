//! `cargo xtask directed`: the transitions of directed mode.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use director_table::{record, svg, text};

use crate::screen::print;

/// Arguments of `directed`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Draw them into this file instead.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Prints the table, or draws it.
///
/// # Errors
/// The file can't be written.
pub(crate) fn directed(arguments: &Arguments) -> Result<()> {
    let (rows, _) = record();
    match &arguments.svg {
        Some(file) => {
            fs::write(file, svg(&rows)).with_context(|| format!("writing {}", file.display()))
        }
        None => {
            print(text(&rows));
            Ok(())
        }
    }
}
