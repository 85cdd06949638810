//! The tables `[[listener.rule]]`.

use std::net::IpAddr;

use ::tls::Role;
use ipc::provision::{Prefix, Rule};
use ipc::tls::Protocol;
use rustls_pki_types::DnsName;

use crate::keyring::Rings;
use crate::problem::Reported;
use crate::reference::{Key, Kind, Need, Table};
use crate::tls;
use crate::words::{Word, each, if_there};

/// Most rules of a listener.
pub(crate) const MAX_RULES: usize = 16;
/// Most values of one key.
const MAX_VALUES: usize = 16;

/// The table.
pub(crate) static TABLE: Table = Table {
    name: "[[listener.rule]]",
    about: "In place of `tls`: the first rule that matches the client counts, and a client \
            that none matches is refused (`docs/adr/0053`). What is left out matches everything.",
    keys: &[
        Key {
            name: "from",
            kind: Kind::Texts {
                most: 43,
                count: MAX_VALUES,
            },
            need: Need::Depends("matches every address"),
            example: "[\"10.0.0.0/8\"]",
            meaning: "Addresses, or ranges of them, one of which the client's must be in.",
        },
        Key {
            name: "server_name",
            kind: Kind::Texts {
                most: 255,
                count: MAX_VALUES,
            },
            need: Need::Depends("matches every name, and none"),
            example: "[\"a.example\", \"*.b.example\"]",
            meaning: "DNS names, one of which the client must ask for; `*` stands for one label.",
        },
        Key {
            name: "alpn",
            kind: Kind::Texts {
                most: tls::MAX_PROTOCOL,
                count: MAX_VALUES,
            },
            need: Need::Depends("matches every client"),
            example: "[\"h2\"]",
            meaning: "ALPN names, one of which the client must offer.",
        },
        Key {
            name: "tls",
            kind: Kind::Table(&tls::TABLE),
            need: Need::Required,
            example: "{ role = \"server\", keyring = \"web\" }",
            meaning: "How a client that matches is served.",
        },
    ],
};

/// Reads the rules of a listener, in their order.
pub(crate) fn read(word: Word<'_>, keyrings: &Rings) -> Result<Vec<Rule>, Reported> {
    let items = word.list()?;
    if items.is_empty() {
        return Err(word.problem(
            "a listener with no rule in its list refuses everybody",
            "add a [[listener.rule]] with tls, or write tls without rules",
        ));
    }
    if let Some(item) = items.get(MAX_RULES) {
        return Err(item.problem(
            format!("more than {MAX_RULES} rules in one listener"),
            "spread them over several listeners",
        ));
    }
    let mut all_match = false;
    each(items, |item| {
        if all_match {
            return Err(item.problem(
                "the rule before this one matches every client",
                "put the rule without from, server_name and alpn last",
            ));
        }
        let rule = rule(item, keyrings)?;
        all_match = matches_all(&rule);
        Ok(rule)
    })
}

fn matches_all(rule: &Rule) -> bool {
    rule.from.is_empty() && rule.server_names.is_empty() && rule.alpn.is_empty()
}

fn rule(word: Word<'_>, keyrings: &Rings) -> Result<Rule, Reported> {
    let words = word.table()?;
    let from = values(words.optional("from"), prefix);
    let server_names = values(words.optional("server_name"), server_name);
    let alpn = values(words.optional("alpn"), protocol);
    let tls = words.required("tls");
    let tls = tls.and_then(|word| tls::read(word, Role::Server, keyrings));
    Ok(Rule {
        from: from?,
        server_names: server_names?,
        alpn: alpn?,
        tls: tls?,
    })
}

fn values<T>(
    word: Option<Word<'_>>,
    read: impl Fn(Word<'_>) -> Result<T, Reported>,
) -> Result<Vec<T>, Reported> {
    let read = if_there(word, |word| {
        let items = word.one_or_more()?;
        if items.len() > MAX_VALUES {
            return Err(word.problem(
                format!("more than {MAX_VALUES} values in one rule"),
                "spread them over several rules with the same tls",
            ));
        }
        each(items, &read)
    });
    Ok(read?.unwrap_or_default())
}

/// `10.0.0.0/8`, or one address.
fn prefix(word: Word<'_>) -> Result<Prefix, Reported> {
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
fn server_name(word: Word<'_>) -> Result<String, Reported> {
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

fn protocol(word: Word<'_>) -> Result<Protocol, Reported> {
    let text = word.short_text()?;
    Protocol::from_slice(text.as_bytes())
        .map_err(|_| word.problem("an ALPN name is too long", "write 1 to 32 bytes"))
}
