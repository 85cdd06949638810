//! What ran, what passed, and what was known.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::reasons::{self, Reasons};
use crate::screen::Screen;

/// Who drives the handshakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    /// The director.
    Directed,
    /// The offload component alone.
    Autonomous,
}

impl Mode {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Directed => "directed",
            Self::Autonomous => "autonomous",
        }
    }
}

const ROLES: [&str; 2] = ["client", "server"];
/// What a test's handshakes agree on; the rest ends before that, or says neither.
const VERSIONS: [&str; 3] = ["TLS 1.3", "TLS 1.2", "neither"];

/// Counts of one mode, role and version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    excluded: usize,
}

impl Counts {
    const fn run(self) -> usize {
        self.passed + self.failed
    }
}

type Place = (Mode, &'static str, &'static str);

/// What ran.
#[derive(Debug)]
pub(super) struct Report {
    config: Value,
    reasons: Reasons,
    counts: BTreeMap<Place, Counts>,
    /// By class.
    excluded: BTreeMap<String, usize>,
    /// Failures that are on no list, passes that are on one, and words without a reason.
    surprises: Vec<String>,
}

/// The part of the configuration that the runner itself reads, in a file of its own.
pub(super) fn runner_config(workspace: &Path, folder: &Path) -> Result<PathBuf> {
    let config = load(&workspace.join("bogo/config.json"))?;
    let errors = config.get("errors").cloned().unwrap_or_default();
    let file = folder.join("runner.json");
    fs::write(&file, json!({ "ErrorMap": errors }).to_string())
        .with_context(|| file.display().to_string())?;
    Ok(file)
}

fn load(file: &Path) -> Result<Value> {
    let what = || file.display().to_string();
    serde_json::from_slice(&fs::read(file).with_context(what)?).with_context(what)
}

impl Report {
    pub(super) fn new(config: &Path) -> Result<Self> {
        let config = load(config)?;
        Ok(Self {
            reasons: reasons::read(&config)?,
            config,
            counts: BTreeMap::new(),
            excluded: BTreeMap::new(),
            surprises: Vec::new(),
        })
    }

    /// Takes the results of one mode; `reports` is where the shim said more of each test.
    pub(super) fn add(&mut self, mode: Mode, results: &Path, reports: &Path) -> Result<()> {
        let results = load(results)?;
        let tests = results.get("tests").and_then(Value::as_object);
        for (name, result) in tests.context("the runner's results have no tests")? {
            let result = result.get("actual").and_then(Value::as_str);
            let Some((role, said)) = said(reports, name) else {
                // Other protocols than TLS over TCP.
                continue;
            };
            self.count(mode, role, name, result.unwrap_or_default(), &said);
        }
        if self.counts.is_empty() {
            bail!("no test of that name");
        }
        Ok(())
    }

    fn count(&mut self, mode: Mode, role: &'static str, name: &str, result: &str, said: &Value) {
        let version = version(name, said);
        let counts = self.counts.entry((mode, role, version)).or_default();
        let known = self.config.pointer(&format!("/known/{}", mode.name()));
        let is_known = known.is_some_and(|known| known.get(name).is_some());
        let mut surprise = |what: &str| {
            self.surprises
                .push(format!("{} {name}: {what}", mode.name()))
        };
        match result {
            "PASS" => {
                counts.passed += 1;
                if is_known {
                    surprise("passes; take it off the list in bogo/config.json");
                }
            }
            "SKIP" => {
                counts.excluded += 1;
                match said.get("class").and_then(Value::as_str) {
                    Some(class) => *self.excluded.entry(class.to_string()).or_default() += 1,
                    None => surprise("is not run, for no reason"),
                }
                if is_known {
                    surprise("is not run, and on the list of failures in bogo/config.json");
                }
            }
            _ => {
                counts.failed += 1;
                if !is_known {
                    let why = said.get("failed").and_then(Value::as_str);
                    surprise(&format!("failed ({})", why.unwrap_or("see the runner")));
                }
            }
        }
    }

    /// The counts of a mode and role, all versions together.
    fn of(&self, mode: Mode, role: &str) -> Counts {
        let mut sum = Counts::default();
        for ((_, _, _), counts) in self
            .counts
            .iter()
            .filter(|((m, r, _), _)| *m == mode && *r == role)
        {
            sum.passed += counts.passed;
            sum.failed += counts.failed;
            sum.excluded += counts.excluded;
        }
        sum
    }

    fn modes(&self) -> BTreeSet<Mode> {
        self.counts.keys().map(|(mode, ..)| *mode).collect()
    }

    /// A table for a person.
    pub(super) fn table(&self) -> String {
        let mut text = String::from("mode        role      run   passed  failed  excluded\n");
        for mode in self.modes() {
            for role in ROLES {
                let counts = self.of(mode, role);
                let _ = writeln!(
                    text,
                    "{:<11} {role:<7} {:>6} {:>7} {:>7} {:>9}",
                    mode.name(),
                    counts.run(),
                    counts.passed,
                    counts.failed,
                    counts.excluded
                );
            }
        }
        text
    }

    /// The counts for a program.
    pub(super) fn json(&self) -> String {
        let mut counts = serde_json::Map::new();
        for mode in self.modes() {
            for role in ROLES {
                let of = self.of(mode, role);
                let value = json!({
                    "run": of.run(),
                    "passed": of.passed,
                    "failed": of.failed,
                    "excluded": of.excluded,
                });
                counts.insert(format!("{}_{role}", mode.name()), value);
            }
        }
        format!("{:#}\n", Value::Object(counts))
    }

    /// Ends with an error when something was not as the list says.
    pub(super) fn judge(&self, screen: &Screen) -> Result<()> {
        for surprise in &self.surprises {
            screen.note(surprise);
        }
        match self.surprises.len() {
            0 => Ok(()),
            1 => bail!("one test is not as bogo/config.json says"),
            count => bail!("{count} tests are not as bogo/config.json says"),
        }
    }

    /// The tables of docs/conformance.md.
    pub(super) fn tables(&self) -> String {
        let mut text = String::from(
            "| mode | role | version | run | passed | failed | not run |\n|---|---|---|---|---|---|---|\n",
        );
        for mode in self.modes() {
            for role in ROLES {
                for version in VERSIONS {
                    let counts = self.counts.get(&(mode, role, version));
                    let counts = counts.copied().unwrap_or_default();
                    let _ = writeln!(
                        text,
                        "| {} | {role} | {version} | {} | {} | {} | {} |",
                        mode.name(),
                        counts.run(),
                        counts.passed,
                        counts.failed,
                        counts.excluded
                    );
                }
            }
        }
        text += "\n| not run because | tests, both modes |\n|---|---|\n";
        for (class, count) in &self.excluded {
            let explained = self.config.pointer(&format!("/classes/{class}"));
            let explained = explained.and_then(Value::as_str).unwrap_or("");
            let _ = writeln!(text, "| {class}: {explained} | {count} |");
        }
        text += "\n| reason of a known failure | directed | autonomous |\n|---|---|---|\n";
        for (name, reason) in &self.reasons {
            let count = |mode: &str| {
                let known = self.config.pointer(&format!("/known/{mode}"));
                let known = known.and_then(Value::as_object);
                let reasons = known.into_iter().flat_map(|known| known.values());
                reasons.filter(|other| *other == name).count()
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} |",
                reason.row(name),
                count("directed"),
                count("autonomous")
            );
        }
        text
    }

    /// Writes the tables between the marks of the document.
    pub(super) fn write_document(&self, file: &Path) -> Result<()> {
        let what = || file.display().to_string();
        let text = fs::read_to_string(file).with_context(what)?;
        let (start, end) = (text.find(START), text.find(END));
        let (Some(start), Some(end)) = (start, end) else {
            bail!("{} has no place for the tables", what());
        };
        let before = text.get(..start + START.len()).unwrap_or_default();
        let after = text.get(end..).unwrap_or_default();
        fs::write(file, format!("{before}\n{}{after}", self.tables())).with_context(what)
    }
}

const START: &str = "<!-- cargo xtask bogo --write -->\n";
const END: &str = "<!-- end -->";

/// What the shim said of a test, and the role that it had.
fn said(reports: &Path, name: &str) -> Option<(&'static str, Value)> {
    ROLES.into_iter().find_map(|role| {
        let file = reports
            .join("tls")
            .join(role)
            .join(format!("{name}-handoff"));
        Some((role, load(&file).ok()?))
    })
}

fn version(name: &str, said: &Value) -> &'static str {
    let agreed = said.get("version").and_then(Value::as_str);
    match agreed {
        Some("Tls13") => VERSIONS[0],
        Some("Tls12") => VERSIONS[1],
        _ if name.contains("TLS13") => VERSIONS[0],
        _ if name.contains("TLS12") => VERSIONS[1],
        _ => VERSIONS[2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            config: json!({ "known": { "directed": { "Known": "open" } } }),
            reasons: Reasons::new(),
            counts: BTreeMap::new(),
            excluded: BTreeMap::new(),
            surprises: Vec::new(),
        }
    }

    #[test]
    fn a_new_failure_is_told_and_a_known_one_is_not() {
        let mut report = report();
        report.count(Mode::Directed, "client", "Known", "FAIL", &json!({}));
        assert_eq!(report.surprises, [""; 0]);
        report.count(Mode::Autonomous, "client", "Known", "FAIL", &json!({}));
        assert_eq!(report.surprises.len(), 1);
        report.count(
            Mode::Directed,
            "client",
            "New",
            "FAIL",
            &json!({ "failed": "x" }),
        );
        assert_eq!(report.surprises[1], "directed New: failed (x)");
        assert_eq!(report.of(Mode::Directed, "client").failed, 2);
    }

    #[test]
    fn a_known_failure_that_passes_or_is_not_run_is_told() {
        let mut report = report();
        let class = json!({ "class": "feature" });
        report.count(Mode::Directed, "server", "Other", "PASS", &json!({}));
        report.count(Mode::Directed, "server", "Else", "SKIP", &class);
        assert_eq!(report.surprises, [""; 0]);
        report.count(Mode::Directed, "server", "Known", "PASS", &json!({}));
        report.count(Mode::Directed, "server", "Known", "SKIP", &class);
        report.count(Mode::Directed, "server", "Else", "SKIP", &json!({}));
        assert_eq!(report.surprises.len(), 3);
    }

    #[test]
    fn the_counts_are_given_by_mode_and_role() {
        let mut report = report();
        let agreed = json!({ "version": "Tls12" });
        report.count(Mode::Directed, "server", "A", "PASS", &agreed);
        report.count(Mode::Directed, "server", "B-TLS13", "FAIL", &json!({}));
        let counts: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(
            counts["directed_server"],
            json!({ "run": 2, "passed": 1, "failed": 1, "excluded": 0 })
        );
        assert_eq!(counts["directed_client"]["run"], 0);
        assert!(
            report
                .tables()
                .contains("| directed | server | TLS 1.2 | 1 | 1 | 0 | 0 |")
        );
    }
}
