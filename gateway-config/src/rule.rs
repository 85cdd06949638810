//! The tables `[[listener.rule]]`.

use std::net::IpAddr;

use ::tls::Role;
use ipc::provision::{Keyrings, Prefix, Rule};
use ipc::tls::Protocol;
use rustls_pki_types::DnsName;

use crate::problem::Problem;
use crate::tls;
use crate::words::Word;

/// Most rules of a listener.
const MAX_RULES: usize = 16;
/// Most values of one word.
const MAX_VALUES: usize = 16;

/// Reads the rules of a listener, in their order.
pub(crate) fn read(word: Word<'_>, keyrings: &Keyrings) -> Result<Vec<Rule>, Problem> {
    let mut rules: Vec<Rule> = Vec::new();
    for item in word.list()? {
        if rules.len() == MAX_RULES {
            return Err(item.problem(
                format!("more than {MAX_RULES} rules in one listener"),
                "spread them over several listeners",
            ));
        }
        if rules.last().is_some_and(matches_all) {
            return Err(item.problem(
                "the rule before this one matches every client",
                "put the rule without from, server_name and alpn last",
            ));
        }
        rules.push(rule(item, keyrings)?);
    }
    if rules.is_empty() {
        return Err(word.problem(
            "a listener with no rule in its list refuses everybody",
            "add a [[listener.rule]] with tls, or write tls without rules",
        ));
    }
    Ok(rules)
}

fn matches_all(rule: &Rule) -> bool {
    rule.from.is_empty() && rule.server_names.is_empty() && rule.alpn.is_empty()
}

fn rule(word: Word<'_>, keyrings: &Keyrings) -> Result<Rule, Problem> {
    let words = word.table("[[listener.rule]]", &["from", "server_name", "alpn", "tls"])?;
    let example = "{ role = \"server\", keyring = \"web\" }";
    Ok(Rule {
        from: values(words.optional("from"), prefix)?,
        server_names: values(words.optional("server_name"), server_name)?,
        alpn: values(words.optional("alpn"), protocol)?,
        tls: tls::read(words.required("tls", example)?, Role::Server, keyrings)?,
    })
}

fn values<T>(
    word: Option<Word<'_>>,
    read: impl Fn(Word<'_>) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    let Some(word) = word else {
        return Ok(Vec::new());
    };
    let items = word.one_or_more()?;
    if items.len() > MAX_VALUES {
        return Err(word.problem(
            format!("more than {MAX_VALUES} values in one rule"),
            "spread them over several rules with the same tls",
        ));
    }
    items.into_iter().map(read).collect()
}

/// `10.0.0.0/8`, or one address.
fn prefix(word: Word<'_>) -> Result<Prefix, Problem> {
    let text = word.text()?;
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let parsed = address.parse::<IpAddr>().ok().and_then(|address| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).ok()?;
        (bits <= most).then_some(Prefix { address, bits })
    });
    let prefix = parsed.ok_or_else(|| {
        word.problem(
            format!("\"{text}\" is no range of addresses"),
            "write an address, or a range such as \"10.0.0.0/8\" or \"fd00::/8\"",
        )
    })?;
    let first = first_of(prefix);
    match first == prefix.address {
        true => Ok(prefix),
        false => Err(word.problem(
            format!("\"{text}\" does not begin where its range begins"),
            format!("write \"{first}/{}\", or one address", prefix.bits),
        )),
    }
}

fn first_of(Prefix { address, bits }: Prefix) -> IpAddr {
    let bits = u32::from(bits);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

/// A DNS name, whose first label may be `*`.
fn server_name(word: Word<'_>) -> Result<String, Problem> {
    let text = word.text()?;
    let plain = text.strip_prefix("*.").unwrap_or(text);
    match DnsName::try_from(plain) {
        Ok(_) => Ok(text.to_ascii_lowercase()),
        Err(_) => Err(word.problem(
            format!("\"{text}\" is no DNS name"),
            "write a name such as \"a.example\", or \"*.example\" for any one label",
        )),
    }
}

fn protocol(word: Word<'_>) -> Result<Protocol, Problem> {
    let text = word.short_text(32)?;
    Protocol::from_slice(text.as_bytes())
        .map_err(|_| word.problem("an ALPN name is too long", "write 1 to 32 bytes"))
}
