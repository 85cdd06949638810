//! `cargo xtask policy` and `cargo xtask graph`.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use image::check;
use image::graph;
use image::load;
use image::policy::{self, Report, Verdict};
use image::workspace::DESCRIPTION;

use crate::run::Refused;
use crate::screen::print;
use crate::{budget, build, screen};

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

/// Arguments of `policy`.
#[derive(clap::Args, Default)]
pub(crate) struct PolicyArguments {
    /// The system description; without it, the shipped one.
    #[arg(long, value_name = "FILE")]
    system: Option<PathBuf>,
    /// The policy; without it, policy.toml beside the description.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// MiB of memory of the machine; without it, what the description says.
    #[arg(long, value_name = "MIB", value_parser = build::memory())]
    memory: Option<u32>,
}

/// Arguments of `graph`.
#[derive(clap::Args)]
pub(crate) struct GraphArguments {
    /// The system description; without it, the shipped one.
    #[arg(long, value_name = "FILE")]
    system: Option<PathBuf>,
    /// Where the SVG goes; without it, standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A file that can't be read, or says what none may say.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn refused(error: anyhow::Error) -> Refused {
    Refused(format!("{error:#}"))
}

/// Prints each assertion with its verdict, and what breaks it.
///
/// # Errors
/// When one is broken, or nothing can be judged.
pub(crate) fn policy(workspace: &Path, arguments: &PolicyArguments) -> Result<()> {
    let path = arguments.system.clone();
    let path = path.unwrap_or_else(|| workspace.join(DESCRIPTION));
    let own = arguments.policy.clone().or_else(|| policy::path_of(&path));
    let memory = arguments.memory.map(|mib| u64::from(mib) << 20);
    let description = check::load_for(&path, memory).map_err(refused)?;
    let report = policy::judge(&description, own.as_deref()).map_err(refused)?;
    let colour = io::stdout().is_terminal() && screen::colour_is_wanted();
    print(page(&report, colour));
    let budgets = budget::budgets(&description);
    if description.sessions > 0 {
        let mib = description.memory >> 20;
        print(format_args!(
            "{mib} MiB hold {} sessions at once\n",
            description.sessions
        ));
    }
    print(budget::page(&budgets, &description));
    let broken = report.broken().count();
    if broken > 0 {
        bail!("the policy is broken: {broken} of {}", report.judged.len());
    }
    budget::check(&budgets)
}

/// Draws the system.
///
/// # Errors
/// The description is refused, or the file can't be written.
pub(crate) fn graph(workspace: &Path, arguments: &GraphArguments) -> Result<()> {
    let path = arguments.system.clone();
    let path = path.unwrap_or_else(|| workspace.join(DESCRIPTION));
    let picture = graph::svg(&load::file(&path)?);
    match &arguments.out {
        Some(out) => fs::write(out, picture).with_context(|| format!("writing {}", out.display())),
        None => {
            print(picture);
            Ok(())
        }
    }
}

/// The report, a line for each assertion and one for each thing that breaks it.
fn page(report: &Report, colour: bool) -> String {
    let paint = |with: &str, text: &str| {
        if colour {
            format!("{with}{text}{PLAIN}")
        } else {
            text.to_string()
        }
    };
    let mut text = String::new();
    for judged in &report.judged {
        // A String takes what is written to it.
        let _ = match &judged.verdict {
            Verdict::Holds => writeln!(text, "{}  {}", paint(GREEN, "holds "), judged.name),
            Verdict::Broken(_) => writeln!(text, "{}  {}", paint(RED, "BROKEN"), judged.name),
        };
        if let Verdict::Broken(why) = &judged.verdict {
            for line in why {
                let _ = writeln!(text, "          {}", paint(RED, line));
            }
        }
    }
    for (name, why) in &report.gaps {
        let _ = writeln!(text, "{}  {name}", paint(YELLOW, "open  "));
        let _ = writeln!(text, "          {why}");
    }
    let (all, broken) = (report.judged.len(), report.broken().count());
    let _ = writeln!(
        text,
        "{all} assertions: {} hold, {broken} broken; {} wanted and not enforced",
        all - broken,
        report.gaps.len()
    );
    text
}

#[cfg(test)]
mod tests {
    use image::policy::Judged;

    use super::*;

    fn report() -> Report {
        let judged = |name: &str, verdict| Judged {
            name: name.to_string(),
            verdict,
        };
        Report {
            judged: vec![
                judged("a", Verdict::Holds),
                judged("b", Verdict::Broken(vec!["x calls y".to_string()])),
            ],
            gaps: vec![("c".to_string(), "why".to_string())],
        }
    }

    #[test]
    fn each_assertion_is_printed_with_its_verdict_and_what_breaks_it() {
        let expected = "holds   a\nBROKEN  b\n          x calls y\nopen    c\n          why\n\
                        2 assertions: 1 hold, 1 broken; 1 wanted and not enforced\n";
        assert_eq!(page(&report(), false), expected);
    }

    #[test]
    fn colour_changes_no_word() {
        let painted = page(&report(), true);
        assert!(painted.contains(RED));
        let plain = [RED, GREEN, YELLOW, PLAIN]
            .iter()
            .fold(painted, |text, code| text.replace(code, ""));
        assert_eq!(plain, page(&report(), false));
    }
}
