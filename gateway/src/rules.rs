//! Which rule of a listener is a client's.

use core::net::IpAddr;

use ipc::provision::Rule;
use tls::Alert;

use crate::hello::Hello;

/// What the address alone tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The rule at this place.
    Rule(usize),
    /// It depends on what the client says.
    Listen,
    /// No rule is for clients from there.
    Refuse,
}

/// Judges by where the client comes from.
pub(crate) fn by_address(rules: &[Rule], remote: IpAddr) -> Verdict {
    match candidates(rules, remote).next() {
        Some((place, rule)) if asks_nothing(rule) => Verdict::Rule(place),
        Some(_) => Verdict::Listen,
        None => Verdict::Refuse,
    }
}

/// Judges by what the client says too.
///
/// # Errors
/// The alert to refuse it with: about ALPN where the name was known.
pub(crate) fn by_hello(rules: &[Rule], remote: IpAddr, hello: &Hello) -> Result<usize, Alert> {
    let mut alert = Alert::UNRECOGNIZED_NAME;
    for (place, rule) in candidates(rules, remote) {
        if !is_named(rule, hello) {
            continue;
        }
        if is_offered(rule, hello) {
            return Ok(place);
        }
        alert = Alert::NO_APPLICATION_PROTOCOL;
    }
    Err(alert)
}

fn candidates(rules: &[Rule], remote: IpAddr) -> impl Iterator<Item = (usize, &Rule)> {
    let is_from = move |rule: &Rule| {
        rule.from.is_empty() || rule.from.iter().any(|range| range.contains(remote))
    };
    rules
        .iter()
        .enumerate()
        .filter(move |(_, rule)| is_from(rule))
}

fn asks_nothing(rule: &Rule) -> bool {
    rule.server_names.is_empty() && rule.alpn.is_empty()
}

fn is_named(rule: &Rule, hello: &Hello) -> bool {
    let Some(name) = &hello.server_name else {
        return rule.server_names.is_empty();
    };
    rule.server_names.is_empty() || rule.server_names.iter().any(|known| covers(known, name))
}

/// Whether `known`, which may begin with `*.`, covers `name`.
fn covers(known: &str, name: &str) -> bool {
    match known.strip_prefix("*.") {
        Some(suffix) => name
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest == suffix),
        None => known == name,
    }
}

fn is_offered(rule: &Rule, hello: &Hello) -> bool {
    let is_known = |name: &[u8]| rule.alpn.iter().any(|known| known[..] == *name);
    rule.alpn.is_empty() || hello.protocols().any(is_known)
}

#[cfg(test)]
mod tests {
    use ipc::bounded::{Bytes, List};
    use ipc::control::Parameters;
    use ipc::provision::{Prefix, Tls};
    use ipc::tls::{Mode, PeerAuthentication};
    use tls::Role;

    use super::*;

    fn rule(from: &[(&str, u8)], names: &[&str], alpn: &[&str]) -> Rule {
        let prefix = |(address, bits): &(&str, u8)| Prefix {
            address: address.parse().unwrap(),
            bits: *bits,
        };
        let parameters = Parameters {
            versions: List::new(),
            suites: List::new(),
            groups: List::new(),
            keyrings: List::new(),
            peer_authentication: PeerAuthentication::None,
            server_name: None,
            alpn: List::new(),
            segment_size: 1400,
            resumption: false,
            expose_keys: false,
            allow_static_rsa: false,
            peer_schemes: List::new(),
        };
        Rule {
            from: from.iter().map(prefix).collect(),
            server_names: names.iter().map(|name| (*name).into()).collect(),
            alpn: alpn
                .iter()
                .map(|name| Bytes::from_slice(name.as_bytes()).unwrap())
                .collect(),
            tls: Tls {
                role: Role::Server,
                mode: Mode::Autonomous,
                parameters,
                handshake_timeout_ms: 1000,
            },
        }
    }

    fn hello(name: Option<&str>, alpn: &[&str]) -> Hello {
        Hello {
            server_name: name.map(Into::into),
            alpn: alpn
                .iter()
                .flat_map(|name| [&[name.len() as u8], name.as_bytes()].concat())
                .collect(),
        }
    }

    fn from(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    #[test]
    fn rules_are_tried_in_their_order_by_address() {
        let rules = [
            rule(&[("10.0.0.0", 8)], &[], &[]),
            rule(&[("192.0.2.0", 24)], &["a.test"], &[]),
            rule(&[("192.0.0.0", 8)], &[], &[]),
        ];
        assert_eq!(by_address(&rules, from("10.1.1.1")), Verdict::Rule(0));
        assert_eq!(by_address(&rules, from("192.0.2.1")), Verdict::Listen);
        assert_eq!(by_address(&rules, from("192.9.2.1")), Verdict::Rule(2));
        assert_eq!(by_address(&rules, from("172.16.0.1")), Verdict::Refuse);
        assert_eq!(by_address(&rules, from("fd00::1")), Verdict::Refuse);
    }

    #[test]
    fn name_and_alpn_choose_or_say_what_was_missing() {
        let rules = [
            rule(&[], &["a.test"], &["h2"]),
            rule(&[], &["*.b.test"], &[]),
            rule(&[("10.0.0.0", 8)], &[], &["x"]),
        ];
        let judge = |address, hello: &Hello| by_hello(&rules, from(address), hello);
        let inside = "10.0.0.1";
        assert_eq!(judge(inside, &hello(Some("a.test"), &["y", "h2"])), Ok(0));
        assert_eq!(judge(inside, &hello(Some("c.b.test"), &[])), Ok(1));
        assert_eq!(judge(inside, &hello(None, &["x"])), Ok(2));
        let outside = "192.0.2.1";
        for (name, alert) in [
            ("a.test", Alert::NO_APPLICATION_PROTOCOL),
            ("b.test", Alert::UNRECOGNIZED_NAME),
            ("d.c.b.test", Alert::UNRECOGNIZED_NAME),
            ("aa.test", Alert::UNRECOGNIZED_NAME),
        ] {
            assert_eq!(
                judge(outside, &hello(Some(name), &[])),
                Err(alert),
                "{name}"
            );
        }
        assert_eq!(
            judge(outside, &hello(None, &["x"])),
            Err(Alert::UNRECOGNIZED_NAME)
        );
    }
}
