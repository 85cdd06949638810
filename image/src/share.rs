//! Quantities that grow with the machine's memory.
//!
//! A description says `{ session = 2, fixed = 64 }` where a number depends on how many
//! sessions there are: 64, and 2 for each. With a size in place of a number (`fixed =
//! "2M"`) it is bytes, in whole pages. Such a share is replaced by the number that it is,
//! in the text, before anything else is read: lines stay where they were.

use anyhow::{Context, Result, bail};
use ipc::boot::PAGE;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

use crate::check;
use crate::description::Description;
use crate::quantity::parse_size;

/// The most sessions, however much memory there is: badges and blocks of pools have
/// numbers for more, and as many were tried.
pub(crate) const MOST_SESSIONS: u16 = 10_240;
/// Sessions come in such groups, so that small changes of the rest leave their number.
const GROUP: u16 = 16;

/// Reads a description for a machine with so many bytes of memory, or the number that it
/// says itself: there are as many sessions as fit.
///
/// # Errors
/// As [`Description::parse`]; a share that is none; or too little memory.
pub(crate) fn fit(text: &str, memory: Option<u64>) -> Result<Description> {
    let shares = find(text)?;
    let with = |groups: u16| {
        let sessions = groups * GROUP;
        let mut description = Description::parse(&replaced(text, &shares, sessions)?)?;
        description.memory = memory.unwrap_or(description.memory);
        description.sessions = sessions;
        anyhow::Ok(description)
    };
    let least = with(0)?;
    if shares.is_empty() {
        return Ok(least);
    }
    let (mut fits, mut too_many) = (0, MOST_SESSIONS / GROUP + 1);
    while too_many - fits > 1 {
        let between = u16::midpoint(fits, too_many);
        match check::memory(&with(between)?) {
            Ok(()) => fits = between,
            Err(_) => too_many = between,
        }
    }
    if fits == 0 {
        check::memory(&with(1)?).context("not a single session")?;
    }
    with(fits)
}

/// The text with numbers in place of shares.
///
/// # Errors
/// A share that is none, or a text that is no TOML.
pub(crate) fn resolve(text: &str, sessions: u16) -> Result<String> {
    replaced(text, &find(text)?, sessions)
}

struct Share {
    /// Where it stands in the text.
    span: core::ops::Range<usize>,
    fixed: u64,
    session: u64,
    /// Bytes, in whole pages.
    is_size: bool,
}

fn replaced(text: &str, shares: &[Share], sessions: u16) -> Result<String> {
    let mut out = text.to_string();
    // From the end, so that what comes before stays where it is.
    for share in shares.iter().rev() {
        let all = share.session.checked_mul(sessions.into());
        let mut number = all.and_then(|all| all.checked_add(share.fixed));
        if share.is_size {
            number = number.and_then(|number| number.checked_next_multiple_of(PAGE));
        }
        let number = number.with_context(|| format!("{}: too much", line(text, share)))?;
        out.replace_range(share.span.clone(), &number.to_string());
    }
    Ok(out)
}

fn line(text: &str, share: &Share) -> String {
    let before = text.get(..share.span.start).unwrap_or_default();
    format!("line {}", before.matches('\n').count() + 1)
}

/// All shares, in the order of the text.
fn find(text: &str) -> Result<Vec<Share>> {
    let mut shares = Vec::new();
    in_table(text, DeTable::parse(text)?.get_ref(), &mut shares)?;
    shares.sort_by_key(|share| share.span.start);
    Ok(shares)
}

fn in_table(text: &str, table: &DeTable<'_>, shares: &mut Vec<Share>) -> Result<()> {
    table
        .iter()
        .try_for_each(|(_, value)| in_value(text, value, shares))
}

fn in_value(text: &str, value: &Spanned<DeValue<'_>>, shares: &mut Vec<Share>) -> Result<()> {
    match value.get_ref() {
        DeValue::Table(table) if table.contains_key("session") => {
            let written = text.get(value.span()).unwrap_or_default();
            let parsed = format!("share = {written}").parse::<toml::Table>()?;
            let mut share = Share {
                span: value.span(),
                fixed: 0,
                session: 0,
                is_size: false,
            };
            let place = line(text, &share);
            for (key, value) in parsed
                .get("share")
                .and_then(Value::as_table)
                .into_iter()
                .flatten()
            {
                let number = value.as_integer().and_then(|number| number.try_into().ok());
                let size = value.as_str().and_then(parse_size);
                share.is_size |= size.is_some();
                let number = size.or(number);
                let number =
                    number.with_context(|| format!("{place}: {key} is no number and no size"))?;
                match key.as_str() {
                    "fixed" => share.fixed = number,
                    "session" => share.session = number,
                    _ => bail!("{place}: a share has \"fixed\" and \"session\", no \"{key}\""),
                }
            }
            shares.push(share);
            Ok(())
        }
        DeValue::Table(table) => in_table(text, table, shares),
        DeValue::Array(values) => values
            .iter()
            .try_for_each(|value| in_value(text, value, shares)),
        _ => Ok(()),
    }
}
