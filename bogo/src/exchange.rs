//! One test: its connections, and what the runner expects on each.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};

use anyhow::{Context, Result, bail};
use ipc::bounded::{Bytes, List, Text};
use ipc::control::{Established, HandshakeError, Parameters, PeerError};
use ipc::provision::Keyrings;
use ipc::tls::{Mode, PeerAuthentication};
use tls::{CipherSuite, Role, Scheme, Version};

use crate::calls::Now;
use crate::exclusions::Excluded;
use crate::flags::{Command, Expected, Settings};
use crate::keyring::keyring;
use crate::system::{End, Plaintext, System};

/// The name in the runner's certificates.
const NAME: &str = "test";
/// What is written by who writes first.
const FIRST: &[u8] = b"hello";
/// What an answer differs from its question by.
const ANSWER: u8 = 0xff;

/// What became of a test.
pub(crate) enum Outcome {
    /// All was as it had to be; the version of the last connection.
    Done(Version),
    /// It can't be run.
    Excluded(Excluded),
    /// What went wrong, in words that the runner compares with what it expects.
    Failed(String),
}

/// Runs a test.
pub(crate) fn run(command: &Command) -> Result<Outcome> {
    let mut rings = Vec::new();
    let mut requests = Vec::new();
    for (place, settings) in command.settings.iter().enumerate() {
        // Tickets are the rings': the same files, the same rings.
        let first = command.settings.iter().position(|other| {
            let identity = |of: &Settings| (of.trusts_nobody, of.trust.clone());
            identity(other) == identity(settings)
                && other.all_credentials().eq(settings.all_credentials())
        });
        let first = first.unwrap_or(place);
        let mut labels = Vec::new();
        for (number, credential) in settings.all_credentials().enumerate() {
            let is_last = number == settings.credentials.len();
            if is_last && number > 0 && credential.key.is_none() {
                break;
            }
            let label = ring_label(first, number);
            if first == place {
                match keyring(&label, credential, settings)? {
                    Ok(ring) => rings.push(ring),
                    Err(excluded) => return Ok(Outcome::Excluded(excluded)),
                }
            }
            labels.push(label);
        }
        match parameters(&labels, settings, (command.is_server, command.mode))? {
            Ok(parameters) => requests.push((settings, parameters)),
            Err(excluded) => return Ok(Outcome::Excluded(excluded)),
        }
    }
    let is_audited = std::env::var_os("BOGO_AUDIT").is_some();
    let mut system = System::new(&Keyrings(rings), is_audited)?;
    let mut outcome = Outcome::Failed("no connection".into());
    for number in 0..=command.resumptions {
        let Some((settings, parameters)) = requests.get(number.min(1)) else {
            bail!("no settings");
        };
        system.connect(connect(command)?)?;
        if number > 0 {
            Now::skip(settings.delay);
        }
        let connection = Connection {
            system: &mut system,
            command,
            settings,
            is_resumption: number > 0,
        };
        outcome = connection.run(parameters.clone())?;
        system.end()?;
        if !matches!(outcome, Outcome::Done(_)) {
            break;
        }
    }
    Ok(outcome)
}

/// The label of a credential's ring, by its place.
fn ring_label(settings: usize, credential: usize) -> String {
    format!("ring-{settings}-{credential}")
}

fn connect(command: &Command) -> Result<TcpStream> {
    let host: IpAddr = match command.is_ipv6 {
        true => Ipv6Addr::LOCALHOST.into(),
        false => Ipv4Addr::LOCALHOST.into(),
    };
    let mut stream = TcpStream::connect((host, command.port)).context("the runner's port")?;
    stream.write_all(&command.shim_id.to_le_bytes())?;
    Ok(stream)
}

fn parameters(
    labels: &[String],
    settings: &Settings,
    (is_server, mode): (bool, Mode),
) -> Result<Result<Parameters, Excluded>> {
    let mut versions = settings.versions();
    // A request that could never lead to one of them is refused.
    let groups = &settings.groups;
    versions.retain(|version| groups.is_empty() || groups.iter().any(|g| g.is_for(*version)));
    if versions.is_empty() {
        return Ok(Err(Excluded::new("protocol", "no version above TLS 1.1")));
    }
    let name = settings.host_name.as_deref().unwrap_or(NAME);
    if !is_server && name != NAME {
        return Ok(Err(Excluded::new("name", "-host-name")));
    }
    let mut alpn = Vec::new();
    for name in &settings.alpn {
        match Bytes::from_slice(name) {
            Ok(name) => alpn.push(name),
            Err(_) => return Ok(Err(Excluded::planned("a long name in ALPN"))),
        }
    }
    // Those of TLS 1.3 alone can be said; the rest stays.
    let mut suites = settings.suites.clone();
    if !suites.is_empty() {
        let rest = CipherSuite::ALL.into_iter();
        suites.extend(rest.filter(|suite| suite.version() == Version::Tls12));
    }
    let peer_authentication = match (settings.asks_for_certificate, settings.requires_certificate) {
        (_, true) => PeerAuthentication::Require,
        (true, false) => PeerAuthentication::Request,
        (false, false) => PeerAuthentication::None,
    };
    let full = "a list that is too long";
    let list = || -> Option<Parameters> {
        Some(Parameters {
            versions: List::from_items(versions).ok()?,
            suites: List::from_items(suites).ok()?,
            groups: List::from_items(settings.groups.iter().copied()).ok()?,
            keyrings: List::from_items(
                labels
                    .iter()
                    .map(|label| Text::from_text(label))
                    .collect::<Result<Vec<_>, _>>()
                    .ok()?,
            )
            .ok()?,
            peer_schemes: List::from_items(settings.peer_schemes.iter().copied()).ok()?,
            peer_authentication: match is_server {
                true => peer_authentication,
                false => PeerAuthentication::None,
            },
            server_name: match is_server {
                true => None,
                false => Some(Text::from_text(name).ok()?),
            },
            alpn: List::from_items(alpn).ok()?,
            segment_size: *Parameters::SEGMENT_SIZES.end(),
            resumption: settings.has_tickets,
            expose_keys: false,
            allow_static_rsa: mode == Mode::Directed,
        })
    };
    Ok(list().ok_or_else(|| Excluded::planned(full)))
}

struct Connection<'a> {
    system: &'a mut System,
    command: &'a Command,
    settings: &'a Settings,
    is_resumption: bool,
}

impl Connection<'_> {
    fn run(self, parameters: Parameters) -> Result<Outcome> {
        let role = match self.command.is_server {
            true => Role::Server,
            false => Role::Client,
        };
        let mode = self.command.mode;
        let established = match self.system.handshake(role, mode, parameters)? {
            Ok(established) => established,
            Err(error) => return Ok(Outcome::Failed(words(error))),
        };
        if let Some(difference) = self.difference(&established)? {
            return Ok(Outcome::Failed(difference));
        }
        let failure = self.exchange()?;
        Ok(failure.map_or(Outcome::Done(established.version), Outcome::Failed))
    }

    /// What is not as the runner expects.
    fn difference(&self, established: &Established) -> Result<Option<String>> {
        let Expected {
            version,
            suite,
            group,
            alpn,
            server_name,
            certificate,
            no_certificate,
            credential,
            peer_scheme,
            retry,
            no_resumption,
        } = &self.settings.expected;
        let is = |what, wrong| match wrong {
            true => Some(format!("another {what} than expected")),
            false => None,
        };
        let agreed = established.group.map(tls::Group::number);
        let name = established.server_name.as_ref().map(|name| name.as_ref());
        let differences = [
            is(
                "version",
                version.is_some_and(|v| v != established.version.number()),
            ),
            is(
                "suite",
                suite.is_some_and(|s| s != established.suite.number()),
            ),
            is("group", group.is_some() && *group != agreed),
            is(
                "application protocol",
                alpn.is_some() && alpn.as_deref() != established.alpn.as_deref(),
            ),
            is(
                "server name",
                server_name.is_some() && server_name.as_deref() != name,
            ),
            is(
                "credential",
                credential.is_some_and(|number| !self.has_shown(number, established)),
            ),
            // Kept for a handshake that it was in.
            is(
                "signature scheme",
                peer_scheme.is_some()
                    && !established.resumed
                    && *peer_scheme != established.peer_scheme.map(Scheme::number),
            ),
            is(
                "answer to the first hello",
                retry.is_some_and(|retry| retry != self.system.has_retried()),
            ),
            is("peer", *no_certificate && established.peer.is_some()),
            is(
                "resumption",
                self.is_resumption && established.resumed == *no_resumption,
            ),
        ];
        if let Some(difference) = differences.into_iter().flatten().next() {
            return Ok(Some(difference));
        }
        // Kept for one that was shown in this handshake.
        let Some(path) = certificate.as_ref().filter(|_| established.peer.is_some()) else {
            return Ok(None);
        };
        let wanted = crate::keyring::certificates(path)?;
        let length = established.peer.as_ref().map(|peer| peer.certificate_len);
        let has_length = wanted.first().map(Vec::len) == length.map(usize::from);
        Ok(is("certificate", !has_length))
    }

    /// Whether the credential of that number was shown.
    fn has_shown(&self, number: isize, established: &Established) -> bool {
        let credentials = &self.settings.credentials;
        let place = usize::try_from(number).unwrap_or(credentials.len());
        let label = ring_label(0, place);
        *established.keyring == *label || *established.keyring == *ring_label(1, place)
    }

    /// Sends back what comes, inverted, until the peer closes.
    fn exchange(self) -> Result<Option<String>> {
        if let Some(export) = &self.settings.export {
            let context = export.uses_context.then_some(export.context.as_bytes());
            let label = export.label.as_bytes();
            match self.system.export(label, context, export.length) {
                Ok(material) => self.system.write(&material)?,
                Err(error) => return Ok(Some(format!("nothing is exported: {error:?}"))),
            }
        }
        if self.settings.writes_first {
            self.system.write(FIRST)?;
        }
        if self.settings.shuts_down {
            self.system.close()?;
        }
        let end = loop {
            match self.system.read()? {
                Plaintext::Bytes(_) if self.settings.shuts_down => {}
                Plaintext::Bytes(mut bytes) => {
                    bytes.iter_mut().for_each(|byte| *byte ^= ANSWER);
                    self.system.write(&bytes)?;
                }
                Plaintext::End(end) => break end,
            }
        };
        Ok(match end {
            End::Closed => None,
            End::Truncated if !self.settings.checks_close => None,
            End::Truncated => Some("truncated".into()),
            End::Alert => Some("the session ended by an alert".into()),
        })
    }
}

/// A failure in words: what the configuration's list of errors names.
fn words(error: HandshakeError) -> String {
    match error {
        HandshakeError::Peer(PeerError::AlertSent(alert)) => format!("sent {}", alert.name()),
        HandshakeError::Peer(PeerError::AlertReceived(alert)) => {
            format!("received {}", alert.name())
        }
        other => format!("{other:?}"),
    }
}
