//! Why a test is known to fail: the clause of an RFC that permits what is done here, or in
//! autonomous mode an issue of rustls.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::Value;

/// Each reason of `bogo/config.json` by its name.
pub(super) type Reasons = BTreeMap<String, Reason>;

/// What a reason rests on, and what is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    basis: Basis,
    says: String,
}

/// What a reason rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Basis {
    /// A clause that permits it: `RFC 8446 §6.2`.
    Rfc(String),
    /// An issue of rustls: `#2233`.
    Rustls(String),
}

impl Reason {
    /// `None` of one that rests on nothing, or says nothing.
    fn parse(value: &Value) -> Option<Self> {
        let fields = value.as_object().filter(|fields| fields.len() == 2)?;
        let field = |name: &str| Some(fields.get(name)?.as_str()?.to_string());
        let basis = match (field("rfc"), field("rustls")) {
            (Some(clause), None) if is_clause(&clause) => Basis::Rfc(clause),
            (None, Some(issue)) if is_issue(&issue) => Basis::Rustls(issue),
            _ => return None,
        };
        let says = field("says").filter(|says| !says.is_empty())?;
        Some(Self { basis, says })
    }

    /// For the table.
    pub(super) fn row(&self, name: &str) -> String {
        let says = &self.says;
        match &self.basis {
            Basis::Rfc(clause) => format!("{name} ({clause}): {says}"),
            Basis::Rustls(issue) => format!("{name} (rustls {issue}): {says}"),
        }
    }

    const fn is_of_rustls(&self) -> bool {
        matches!(self.basis, Basis::Rustls(_))
    }
}

/// The reasons of a configuration, if all failures have one that can be theirs.
///
/// # Errors
/// Which has none, or one that says nothing.
pub(super) fn read(config: &Value) -> Result<Reasons> {
    let table = config.get("reasons").and_then(Value::as_object);
    let mut reasons = Reasons::new();
    for (name, value) in table.into_iter().flatten() {
        let Some(reason) = Reason::parse(value) else {
            bail!("the reason {name} names no clause and no issue, or says nothing");
        };
        reasons.insert(name.clone(), reason);
    }
    let known = config.get("known").and_then(Value::as_object);
    for (mode, tests) in known.into_iter().flatten() {
        for (test, name) in tests.as_object().into_iter().flatten() {
            let reason = name.as_str().and_then(|name| reasons.get(name));
            let Some(reason) = reason else {
                bail!("{mode} {test}: no such reason");
            };
            if mode != "autonomous" && reason.is_of_rustls() {
                bail!("{mode} {test}: rustls has no part in this mode");
            }
        }
    }
    Ok(reasons)
}

/// `RFC`, its number, and a section.
fn is_clause(clause: &str) -> bool {
    let Some((number, section)) = clause
        .strip_prefix("RFC ")
        .and_then(|rest| rest.split_once(" §"))
    else {
        return false;
    };
    number.parse::<u16>().is_ok() && section.starts_with(|first: char| first.is_alphanumeric())
}

/// `#` and its number.
fn is_issue(issue: &str) -> bool {
    let number = issue.strip_prefix('#').map(str::parse::<u32>);
    matches!(number, Some(Ok(1..)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(reason: &Value, mode: &str) -> Value {
        json!({ "reasons": { "why": reason }, "known": { mode: { "Test": "why" } } })
    }

    #[test]
    fn each_failure_has_a_reason_that_names_a_clause_or_an_issue_of_rustls() {
        let clause = json!({ "rfc": "RFC 8446 §6.2", "says": "another alert" });
        let reasons = read(&config(&clause, "directed")).unwrap();
        assert_eq!(
            reasons["why"].row("why"),
            "why (RFC 8446 §6.2): another alert"
        );
        for wrong in [
            json!({ "rfc": "RFC 8446", "says": "x" }),
            json!({ "rfc": "8446 §6.2", "says": "x" }),
            json!({ "rfc": "RFC 8446 §6.2", "says": "" }),
            json!({ "rfc": "RFC 8446 §6.2" }),
            json!({ "says": "x" }),
            json!("a choice"),
            json!({ "open": "to be built", "says": "x" }),
            json!({ "rustls": "bogo/config.json.in", "says": "x" }),
            json!({ "rustls": "2233", "says": "x" }),
            json!({ "rustls": "#", "says": "x" }),
            json!({ "rustls": "#0", "says": "x" }),
        ] {
            assert!(read(&config(&wrong, "autonomous")).is_err(), "{wrong}");
        }
        let mut other = config(&clause, "directed");
        other["known"]["directed"]["Other"] = json!("because");
        assert!(read(&other).is_err());
    }

    #[test]
    fn what_rustls_does_is_no_reason_in_directed_mode() {
        let rustls = json!({ "rustls": "#1", "says": "x" });
        assert!(read(&config(&rustls, "autonomous")).is_ok());
        assert!(read(&config(&rustls, "directed")).is_err());
    }

    #[test]
    fn the_shipped_configuration_has_a_reason_for_each_failure() {
        let config = include_str!("../../../bogo/config.json");
        let reasons = read(&serde_json::from_str(config).unwrap()).unwrap();
        assert!(reasons.len() > 1);
    }
}
