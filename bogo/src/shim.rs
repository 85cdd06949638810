//! The program that the runner starts for each test (BoringSSL's `ssl/test/PORTING.md`).

use std::fs;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use crate::exchange::{self, Outcome};
use crate::exclusions::{Excluded, Exclusions};
use crate::flags::{self, Asked, Refused};

/// Tells the runner that a test is not implemented.
const NOT_IMPLEMENTED: u8 = 89;

/// Runs the test that the command line asks for.
pub fn main(arguments: &[String]) -> ExitCode {
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode> {
    let exclusions = Exclusions::shipped()?;
    let mut words = arguments
        .iter()
        .skip_while(|word| *word != "-write-settings");
    let report = words.nth(1);
    let note = |what: serde_json::Value| match report {
        // Beside the runner's own file of this test.
        Some(start) => fs::write(format!("{start}handoff"), what.to_string()),
        None => Ok(()),
    };
    let not_run = |excluded: Excluded| -> Result<ExitCode> {
        note(json!({ "class": excluded.class, "what": excluded.what }))?;
        Ok(ExitCode::from(NOT_IMPLEMENTED))
    };
    // A test whose shim is stopped has a role all the same.
    note(json!({}))?;
    let command = match flags::parse(arguments, &exclusions) {
        Ok(Asked::Run(command)) => command,
        Ok(Asked::HandshakerSupported) => {
            println!("No");
            return Ok(ExitCode::SUCCESS);
        }
        Err(Refused::Excluded(excluded)) => return not_run(excluded),
        Err(Refused::Unknown(what)) => {
            eprintln!("nothing is known of {what}");
            return Ok(ExitCode::FAILURE);
        }
    };
    match exchange::run(&command)? {
        Outcome::Done(version) => {
            note(json!({ "version": format!("{version:?}") }))?;
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Excluded(excluded) => not_run(excluded),
        Outcome::Failed(why) => {
            note(json!({ "failed": why }))?;
            eprintln!("{why}");
            Ok(ExitCode::FAILURE)
        }
    }
}
