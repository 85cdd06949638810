//! What the runner asks for: its shim protocol, as far as this system has words for it.
//!
//! The words are those of BoringSSL's `ssl/test/test_config.cc`. One that the list of
//! exclusions names ends the test as not implemented; one that nobody knows is an error.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ipc::tls::Mode;
use tls::{CipherSuite, Group, Scheme, Version};

use crate::exclusions::{Excluded, Exclusions};

/// What a command line comes to.
pub(crate) enum Asked {
    /// Run this.
    Run(Box<Command>),
    /// Whether there is a second program that takes a part of the handshake: no.
    HandshakerSupported,
}

/// Why a command line is not run.
pub(crate) enum Refused {
    /// It has a reason in the list; the runner is told "not implemented".
    Excluded(Excluded),
    /// Nobody knows this word.
    Unknown(String),
}

/// One test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) port: u16,
    pub(crate) shim_id: u64,
    pub(crate) is_ipv6: bool,
    pub(crate) is_server: bool,
    pub(crate) mode: Mode,
    /// Connections after the first.
    pub(crate) resumptions: usize,
    /// The first connection's, and those of all others.
    pub(crate) settings: [Settings; 2],
    /// Where files about this test begin: its folder and name.
    pub(crate) report: Option<String>,
}

/// What holds for one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) min_version: u16,
    pub(crate) max_version: u16,
    pub(crate) without: Vec<Version>,
    pub(crate) groups: Vec<Group>,
    pub(crate) suites: Vec<CipherSuite>,
    /// What the peer may sign by.
    pub(crate) peer_schemes: Vec<Scheme>,
    /// To choose from, in the order of preference.
    pub(crate) credentials: Vec<Credential>,
    /// What is shown when none of them is chosen.
    pub(crate) fallback: Credential,
    /// No certificate of the peer is good.
    pub(crate) trusts_nobody: bool,
    pub(crate) trust: Option<String>,
    pub(crate) host_name: Option<String>,
    pub(crate) alpn: Vec<Vec<u8>>,
    pub(crate) asks_for_certificate: bool,
    pub(crate) requires_certificate: bool,
    pub(crate) has_tickets: bool,
    /// Sent at the beginning.
    pub(crate) export: Option<Exported>,
    pub(crate) writes_first: bool,
    pub(crate) shuts_down: bool,
    pub(crate) checks_close: bool,
    /// Seconds before the connection.
    pub(crate) delay: u64,
    pub(crate) expected: Expected,
}

/// A certificate with its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) certificate: Option<String>,
    pub(crate) key: Option<String>,
    /// What the key signs by; all, if it is empty.
    pub(crate) schemes: Vec<Scheme>,
    /// The OCSP response for the certificate.
    pub(crate) ocsp: Option<Vec<u8>>,
}

/// Keying material.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exported {
    pub(crate) length: u16,
    pub(crate) label: String,
    pub(crate) context: String,
    pub(crate) uses_context: bool,
}

/// What has to come out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) version: Option<u16>,
    pub(crate) suite: Option<u16>,
    pub(crate) group: Option<u16>,
    pub(crate) alpn: Option<Vec<u8>>,
    pub(crate) server_name: Option<String>,
    pub(crate) certificate: Option<String>,
    pub(crate) no_certificate: bool,
    /// Which of the credentials is shown; -1 is the last resort.
    pub(crate) credential: Option<isize>,
    pub(crate) peer_scheme: Option<u16>,
    /// Whether there is a HelloRetryRequest.
    pub(crate) retry: Option<bool>,
    pub(crate) no_resumption: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min_version: 0,
            max_version: u16::MAX,
            without: Vec::new(),
            groups: Vec::new(),
            suites: Vec::new(),
            peer_schemes: Vec::new(),
            credentials: Vec::new(),
            fallback: Credential::default(),
            trusts_nobody: false,
            trust: None,
            host_name: None,
            alpn: Vec::new(),
            asks_for_certificate: false,
            requires_certificate: false,
            has_tickets: true,
            export: None,
            writes_first: false,
            shuts_down: false,
            checks_close: false,
            delay: 0,
            expected: Expected::default(),
        }
    }
}

impl Settings {
    /// The versions of ours that are left.
    pub(crate) fn versions(&self) -> Vec<Version> {
        [Version::Tls13, Version::Tls12]
            .into_iter()
            .filter(|version| (self.min_version..=self.max_version).contains(&version.number()))
            .filter(|version| !self.without.contains(version))
            .collect()
    }

    /// The one that words are about.
    fn credential(&mut self) -> &mut Credential {
        self.credentials.last_mut().unwrap_or(&mut self.fallback)
    }

    fn export(&mut self) -> &mut Exported {
        self.export.get_or_insert_default()
    }

    /// All that there are, in the order of preference.
    pub(crate) fn all_credentials(&self) -> impl Iterator<Item = &Credential> {
        self.credentials.iter().chain([&self.fallback])
    }
}

/// Words that change nothing here: how BoringSSL calls itself, and what this system always
/// does.
const WITHOUT_EFFECT: [&str; 26] = [
    "-async",
    "-implicit-handshake",
    "-no-op-extra-handshake",
    "-handshake-twice",
    "-use-early-callback",
    "-use-custom-verify-callback",
    "-use-old-client-cert-callback",
    "-use-ticket-callback",
    "-use-ocsp-callback",
    "-set-ocsp-in-callback",
    // Whom the server names goes before others.
    "-must-match-issuer",
    "-install-ddos-callback",
    "-write-different-record-sizes",
    "-cbc-record-splitting",
    "-partial-write",
    "-no-tls1",
    "-no-tls11",
    "-server-preference",
    "-expect-extended-master-secret",
    "-expect-secure-renegotiation",
    // A peer's certificate that is not good ends the handshake.
    "-expect-verify-result",
    // A client declines each renegotiation, and a server each.
    "-renegotiate-ignore",
    "-forbid-renegotiation-after-handshake",
    // Which sessions a client has can't be asked for.
    "-expect-ticket-renewal",
    "-expect-session-id",
    "-expect-no-session-id",
];

/// The test's name, from the word that says where to write files of it.
fn test_of(report: &str) -> Option<(&str, &str)> {
    let (folder, name) = report.rsplit_once('/')?;
    let (folder, _side) = folder.rsplit_once('/')?;
    let protocol = folder.rsplit_once('/').map_or(folder, |(_, last)| last);
    Some((protocol, name.strip_suffix('-').unwrap_or(name)))
}

/// Reads the runner's command line.
pub(crate) fn parse(arguments: &[String], exclusions: &Exclusions) -> Result<Asked, Refused> {
    let mut command = Command {
        port: 0,
        shim_id: 0,
        is_ipv6: false,
        is_server: false,
        mode: Mode::Autonomous,
        resumptions: 0,
        settings: [Settings::default(), Settings::default()],
        report: None,
    };
    // First, so that what follows can be reported.
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-is-handshaker-supported" => return Ok(Asked::HandshakerSupported),
            "-server" => command.is_server = true,
            "-write-settings" => command.report = words.next().cloned(),
            _ => {}
        }
    }
    let by_name = command.report.as_deref().and_then(test_of);
    if let Some(excluded) = by_name.and_then(|(protocol, name)| exclusions.test(protocol, name)) {
        return Err(Refused::Excluded(excluded));
    }
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        read_word(word, &mut words, &mut command, exclusions)?;
    }
    Ok(Asked::Run(Box::new(command)))
}

fn read_word<'a>(
    word: &str,
    words: &mut impl Iterator<Item = &'a String>,
    command: &mut Command,
    exclusions: &Exclusions,
) -> Result<(), Refused> {
    if let Some(excluded) = exclusions.flag(word) {
        return Err(Refused::Excluded(excluded));
    }
    if word.starts_with("-on-retry-") {
        // After early data that was refused.
        return Err(Refused::Excluded(Excluded::new("feature", "-on-retry-")));
    }
    if word.starts_with("-on-shim-") {
        // Of two programs that share a handshake.
        return Err(Refused::Excluded(Excluded::new("api", "-on-shim-")));
    }
    let (bare, to) = match word.strip_prefix("-on-initial-") {
        Some(rest) => (format!("-{rest}"), Some(0)),
        None => match word.strip_prefix("-on-resume-") {
            Some(rest) => (format!("-{rest}"), Some(1)),
            None => (word.to_string(), None),
        },
    };
    if let Some(excluded) = exclusions.flag(&bare) {
        return Err(Refused::Excluded(excluded));
    }
    if WITHOUT_EFFECT.contains(&bare.as_str()) {
        return Ok(());
    }
    let mut value = || {
        let value = words.next().cloned();
        value.ok_or_else(|| Refused::Unknown(format!("{word} without a value")))
    };
    match bare.as_str() {
        "-server" => return Ok(()),
        "-ipv6" => command.is_ipv6 = true,
        "-port" => command.port = number(word, &value()?)?,
        "-shim-id" => command.shim_id = number(word, &value()?)?,
        "-resume-count" => command.resumptions = number(word, &value()?)?,
        "-handoff-mode" => {
            command.mode = match value()?.as_str() {
                "directed" => Mode::Directed,
                "autonomous" => Mode::Autonomous,
                other => return Err(Refused::Unknown(format!("mode {other}"))),
            }
        }
        "-write-settings" => {
            value()?;
        }
        _ => {
            let takes_value = !HAS_NO_VALUE.contains(&bare.as_str());
            let value = match takes_value {
                true => value()?,
                false => String::new(),
            };
            if let Some(excluded) = exclusions.value(&bare, &value) {
                return Err(Refused::Excluded(excluded));
            }
            for (place, settings) in command.settings.iter_mut().enumerate() {
                if to.is_none_or(|to| to == place) {
                    setting(&bare, &value, settings)?;
                }
            }
        }
    }
    Ok(())
}

/// Words of one connection without a value.
const HAS_NO_VALUE: [&str; 16] = [
    "-use-export-context",
    "-new-x509-credential",
    "-no-tls12",
    "-no-tls13",
    "-no-ticket",
    "-verify-peer",
    "-verify-fail",
    "-expect-hrr",
    "-expect-no-hrr",
    "-read-with-unfinished-write",
    "-require-any-client-certificate",
    "-shim-writes-first",
    "-shim-shuts-down",
    "-check-close-notify",
    "-expect-no-peer-cert",
    "-expect-session-miss",
];

fn setting(word: &str, value: &str, settings: &mut Settings) -> Result<(), Refused> {
    let text = || Some(value.to_string());
    match word {
        "-new-x509-credential" => settings.credentials.push(Credential::default()),
        "-signing-prefs" => {
            let scheme = scheme(number(word, value)?)?;
            settings.credential().schemes.push(scheme);
        }
        "-verify-prefs" => settings.peer_schemes.push(scheme(number(word, value)?)?),
        "-min-version" => settings.min_version = number(word, value)?,
        "-max-version" => settings.max_version = number(word, value)?,
        "-no-tls12" => settings.without.push(Version::Tls12),
        "-no-tls13" => settings.without.push(Version::Tls13),
        "-curves" => {
            let group = Group::from_number(number(word, value)?);
            settings.groups.push(group.ok_or_else(|| {
                Refused::Excluded(Excluded::planned("a group that this system does not have"))
            })?);
        }
        "-tls13-ciphers" => settings.suites.push(suite(number(word, value)?)?),
        "-cert-file" => settings.credential().certificate = text(),
        "-key-file" => settings.credential().key = text(),
        "-ocsp-response" => {
            let response = BASE64_STANDARD.decode(value);
            let response = response.map_err(|_| Refused::Unknown(format!("{word} {value}")))?;
            settings.credential().ocsp = Some(response);
        }
        "-trust-cert" => settings.trust = text().filter(|path| !path.is_empty()),
        "-host-name" => settings.host_name = text(),
        "-advertise-alpn" => settings.alpn = protocols(value.as_bytes()),
        "-select-alpn" => settings.alpn = vec![value.as_bytes().to_vec()],
        "-no-ticket" => settings.has_tickets = false,
        "-verify-peer" => settings.asks_for_certificate = true,
        "-verify-fail" => settings.trusts_nobody = true,
        "-require-any-client-certificate" => settings.requires_certificate = true,
        "-shim-writes-first" | "-read-with-unfinished-write" => settings.writes_first = true,
        "-export-keying-material" => settings.export().length = number(word, value)?,
        "-export-label" => settings.export().label = value.to_string(),
        "-export-context" => settings.export().context = value.to_string(),
        "-use-export-context" => settings.export().uses_context = true,
        "-shim-shuts-down" => settings.shuts_down = true,
        "-check-close-notify" => settings.checks_close = true,
        "-resumption-delay" => settings.delay = number(word, value)?,
        // How much one read takes at most: BoringSSL's buffer.
        "-read-size" => {}
        "-expect-version" => settings.expected.version = Some(number(word, value)?),
        "-expect-cipher" => settings.expected.suite = Some(number(word, value)?),
        "-expect-curve-id" => settings.expected.group = Some(number(word, value)?),
        "-expect-alpn" => settings.expected.alpn = Some(value.as_bytes().to_vec()),
        "-expect-server-name" => settings.expected.server_name = text(),
        "-expect-peer-cert-file" => settings.expected.certificate = text(),
        "-expect-peer-signature-algorithm" => {
            settings.expected.peer_scheme = Some(number(word, value)?)
        }
        "-expect-selected-credential" => settings.expected.credential = Some(number(word, value)?),
        "-expect-hrr" => settings.expected.retry = Some(true),
        "-expect-no-hrr" => settings.expected.retry = Some(false),
        "-expect-no-peer-cert" => settings.expected.no_certificate = true,
        "-expect-session-miss" => settings.expected.no_resumption = true,
        _ => return Err(Refused::Unknown(word.to_string())),
    }
    Ok(())
}

fn suite(number: u16) -> Result<CipherSuite, Refused> {
    CipherSuite::from_number(number)
        .ok_or_else(|| Refused::Unknown(format!("suite {number:#06x} of TLS 1.3")))
}

/// *ring* signs and verifies with no others that the runner names; those with SHA-1 are
/// refused (RFC 9155).
fn scheme(number: u16) -> Result<Scheme, Refused> {
    let unknown = || Excluded::new("primitive", &format!("signature scheme {number:#06x}"));
    Scheme::from_number(number).ok_or_else(|| Refused::Excluded(unknown()))
}

/// Names with a byte of length in front (RFC 7301 §3.1).
fn protocols(list: &[u8]) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    let mut rest = list;
    while let Some((length, after)) = rest.split_first() {
        let Some((name, after)) = after.split_at_checked(usize::from(*length)) else {
            break;
        };
        names.push(name.to_vec());
        rest = after;
    }
    names
}

fn number<T: std::str::FromStr>(word: &str, value: &str) -> Result<T, Refused> {
    value
        .parse()
        .map_err(|_| Refused::Unknown(format!("{word} {value}")))
}
