//! `cargo xtask bench --hostile`: honest clients on a quiet machine, and beside each
//! attack. Everything is on loopback.

mod addresses;
mod attack;
mod ground;
pub(super) mod honest;
pub(super) mod material;
mod record;
mod spent;
mod stage;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::run::Refused;
use crate::screen::{Screen, print_line};
use crate::setup::{self, Need};

use attack::{ATTACKS, Attack, BEYOND};
use ground::Ground;
use honest::{Origin, Outcome};
use stage::Stage;

/// Honest clients beside each attack, and as many on the quiet machine: half of them
/// before it and half of them after it, so that a host that becomes slower or faster
/// meanwhile is in both.
const CLIENTS: usize = 40;
/// After an attack: what it left is over then (10 s for a handshake, for a connection that
/// was let go of).
const CALM: Duration = Duration::from_secs(12);
/// Those before all, which are not counted: the emulator translates the guest's code as
/// it first meets it.
const FIRST: usize = 8;
/// How long an attack may take to have all that it holds.
const GATHER: Duration = Duration::from_secs(180);

/// What an attack did to the honest clients.
struct Row {
    attack: &'static str,
    /// Before and after it.
    quiet: [Outcome; 2],
    beside: Outcome,
    restarts: usize,
    /// The limit of the median's ratio.
    limit: f64,
    /// The attack held all that it was to hold.
    is_whole: bool,
}

impl Row {
    /// All clients of the quiet machine.
    fn quiet(&self) -> Outcome {
        let [before, after] = &self.quiet;
        before.with(after)
    }

    fn median_ratio(&self) -> f64 {
        self.beside.median() / self.quiet().median()
    }

    fn p99_ratio(&self) -> f64 {
        self.beside.p99() / self.quiet().p99()
    }

    /// Which limits are missed. A figure that could not be had misses its limit.
    fn missed(&self) -> Vec<&'static str> {
        let is_within = |ratio: f64| ratio <= self.limit;
        let limits = [
            ("not all served", self.beside.served == CLIENTS),
            ("median", is_within(self.median_ratio())),
            ("restarts", self.restarts == 0),
            ("quiet machine", self.quiet().served == CLIENTS),
            ("attack not whole", self.is_whole),
        ];
        let missed = limits.into_iter().filter(|(_, holds)| !holds);
        missed.map(|(what, _)| what).collect()
    }

    fn line(&self) -> String {
        let missed = self.missed();
        let verdict = if missed.is_empty() {
            "pass".to_string()
        } else {
            format!("FAIL: {}", missed.join(", "))
        };
        let [before, after] = &self.quiet;
        format!(
            "{:24} {:>3} of {:<3} {:>7.2} {:>6.0} {:>7.2} {:>6.3} {:>6.3} {:>9}  {verdict}",
            self.attack,
            self.beside.served,
            self.beside.asked,
            self.median_ratio(),
            self.limit,
            self.p99_ratio(),
            before.median(),
            after.median(),
            self.restarts,
        )
    }

    fn json(&self) -> Value {
        json!({
            "attack": self.attack,
            "served": self.beside.served,
            "asked": self.beside.asked,
            "median_ratio": rounded(self.median_ratio()),
            "p99_ratio": rounded(self.p99_ratio()),
            "restarts": self.restarts,
        })
    }
}

fn heading() -> String {
    format!(
        "{:24} {:>10} {:>7} {:>6} {:>7} {:>13} {:>9}",
        "attack", "served", "median", "limit", "p99", "quiet s", "restarts"
    )
}

/// Runs the attacks with these names, or all; prints a row for each, and fails when a
/// limit is missed.
pub(super) fn run(
    workspace: &Path,
    screen: &Screen,
    names: &[String],
    file: Option<&Path>,
) -> Result<()> {
    let chosen = chosen(names)?;
    setup::ensure(screen, &[Need::Build, Need::Run, Need::Network])?;
    screen.step("building the shipped image with the suite's configuration");
    let stage = Stage::build(workspace)?;
    if !addresses::are_there() {
        // All is there that comes from elsewhere.
        let status = addresses::enclose()?;
        std::process::exit(status.code().unwrap_or(1));
    }
    print_line(heading());
    let mut rows = Vec::new();
    for (number, attack) in chosen.iter().enumerate() {
        let what = format!("{} of {}: {}", number + 1, chosen.len(), attack.name);
        let row = one(&stage, screen, attack, &what).with_context(|| what.clone())?;
        print_line(row.line());
        rows.push(row);
        if let Some(file) = file {
            write(file, &rows)?;
        }
    }
    let missed = rows.iter().filter(|row| !row.missed().is_empty()).count();
    ensure!(
        missed == 0,
        "{missed} of {} attacks miss a limit",
        rows.len()
    );
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Attack>> {
    let all = || ATTACKS.iter().chain(&BEYOND);
    let known = |name: &String| all().any(|attack| attack.name == name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        let all: Vec<_> = all().map(|attack| attack.name).collect();
        let text = format!("--attack {name}: there are {}", all.join(", "));
        return Err(Refused(text).into());
    }
    if names.is_empty() {
        return Ok(ATTACKS.iter().collect());
    }
    let is_chosen = |attack: &&Attack| names.iter().any(|name| name == attack.name);
    Ok(all().filter(is_chosen).collect())
}

/// Boots a machine, measures it quiet, then beside the attack. Each attack has a boot of
/// its own: the traces of one are not counted for the next.
fn one(stage: &Stage, screen: &Screen, attack: &Attack, what: &str) -> Result<Row> {
    let booted = screen.during(&format!("{what}: booting"), || stage.boot(attack.name))?;
    let clients = |count, origin| honest::clients(&booted, &stage.material, count, origin);
    let before = screen.during(&format!("{what}: the quiet machine"), || {
        clients(FIRST, Origin::Known)?;
        clients(CLIENTS / 2, Origin::Known)
    })?;
    let ground = Ground::new(&booted, &stage.material, attack.source);
    let (is_whole, beside) = thread::scope(|scope| {
        let _ends = Ends(&ground);
        for number in 0..attack.attackers {
            let ground = &ground;
            scope.spawn(move || {
                stand_back();
                attack.run(ground, number);
            });
        }
        let gathering = format!("{what}: the attack gathers");
        let is_whole = screen.during(&gathering, || ground.wait_for(attack.attackers, GATHER));
        let gathered = ground.tally();
        let (started, spent) = (Instant::now(), booted.spent());
        let honest = || clients(CLIENTS, attack.honest);
        let beside = screen.during(&format!("{what}: honest clients beside it"), honest);
        screen.note(&format!("the attack at first: {gathered}"));
        screen.note(&format!("the attack at last: {}", ground.tally()));
        if let (Some(before), Some(after)) = (spent, booted.spent()) {
            after.show_since(screen, before, started.elapsed());
        }
        (is_whole, beside)
    });
    let after = screen.during(&format!("{what}: the quiet machine again"), || {
        thread::sleep(CALM);
        clients(CLIENTS / 2, Origin::Known)
    })?;
    let restarts = booted.restarts()?;
    booted.stop();
    Ok(Row {
        attack: attack.name,
        quiet: [before, after],
        beside: beside?,
        restarts,
        limit: attack.kind.limit(),
        is_whole,
    })
}

/// Gives this thread what the emulator and the honest clients leave of the processor: a
/// real attacker has a separate machine. Where that is not possible, the ratio is greater
/// than it should be.
fn stand_back() {
    const LEAST: i32 = 19;
    // On Linux a thread has a priority of its own (sched(7)).
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), LEAST);
}

/// The attack ends with this value, also when measuring fails.
struct Ends<'a>(&'a Ground<'a>);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn write(file: &Path, rows: &[Row]) -> Result<()> {
    let rows: Vec<_> = rows.iter().map(Row::json).collect();
    let text = serde_json::to_string_pretty(&json!({ "hostile": rows }))? + "\n";
    fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

/// What is no number becomes `null`.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(served: usize, seconds: f64) -> Outcome {
        Outcome::of(CLIENTS, served, vec![seconds; CLIENTS])
    }

    fn half(served: usize, seconds: f64) -> Outcome {
        Outcome::of(CLIENTS / 2, served, vec![seconds; CLIENTS / 2])
    }

    fn row(served: usize, seconds: f64, restarts: usize) -> Row {
        Row {
            attack: "none",
            quiet: [0.5, 0.5].map(|seconds| half(CLIENTS / 2, seconds)),
            beside: outcome(served, seconds),
            restarts,
            limit: 2.0,
            is_whole: true,
        }
    }

    #[test]
    fn each_limit_can_be_missed() {
        assert!(row(CLIENTS, 1.0, 0).missed().is_empty());
        assert_eq!(row(CLIENTS - 1, 1.0, 0).missed(), ["not all served"]);
        assert_eq!(row(CLIENTS, 1.1, 0).missed(), ["median"]);
        assert_eq!(row(CLIENTS, f64::NAN, 0).missed(), ["median"]);
        assert_eq!(row(CLIENTS, 1.0, 1).missed(), ["restarts"]);
        let mut unwhole = row(CLIENTS, 1.0, 0);
        unwhole.is_whole = false;
        unwhole.quiet = [0, 1].map(|unserved| half(CLIENTS / 2 - unserved, 0.5));
        assert_eq!(unwhole.missed(), ["quiet machine", "attack not whole"]);
        let mut slower = row(CLIENTS, 1.0, 0);
        slower.quiet = [0.1, 0.5].map(|seconds| half(CLIENTS / 2, seconds));
        assert_eq!((slower.median_ratio(), slower.p99_ratio()), (10.0, 2.0));
    }

    #[test]
    fn a_row_is_written_with_the_names_that_others_read() {
        let json = row(CLIENTS, 1.0, 3).json();
        let expected = json!({
            "attack": "none", "served": CLIENTS, "asked": CLIENTS,
            "median_ratio": 2.0, "p99_ratio": 2.0, "restarts": 3,
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn an_attack_that_is_not_known_is_refused() {
        assert_eq!(chosen(&[]).unwrap().len(), ATTACKS.len());
        let one = chosen(&["silent".to_string()]).unwrap();
        assert_eq!(one[0].name, "silent");
        let refused = chosen(&["x".to_string()]).err().unwrap().to_string();
        assert!(refused.contains("silent"), "{refused}");
    }
}
