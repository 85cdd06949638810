//! What clients do, over and over: the same against both systems.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::{CipherSuite, ClientConfig, HandshakeKind, ProtocolVersion, SupportedProtocolVersion};

use super::backend;
use crate::bench::hostile::honest::{self, Session};
use crate::bench::hostile::material::Material;

/// A client that is not served by then fails.
const PATIENCE: Duration = Duration::from_secs(60);
const CHUNK: usize = 16 * 1024;

/// A listener of both systems, by its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// Leads to the backend; autonomous handshakes.
    Proxied = 443,
    /// Leads to the backend; directed handshakes. Handoff alone has it.
    Directed = 444,
    /// The status page of each.
    Status = 445,
}

/// All of them.
pub(super) const PORTS: [Port; 3] = [Port::Proxied, Port::Directed, Port::Status];

/// What one client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// Nothing: the session ends after its handshake.
    None,
    /// A small request and its answer.
    Small,
    /// The status page.
    Page,
    /// [`backend::BULK`] bytes from the backend.
    Down,
    /// As many to the backend.
    Up,
}

/// A kind of client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// In the names of figures.
    pub(super) name: &'static str,
    /// For a person.
    pub(super) title: &'static str,
    pub(super) port: Port,
    pub(super) version: &'static SupportedProtocolVersion,
    pub(super) is_resumed: bool,
    pub(super) errand: Errand,
    /// How many are counted together.
    pub(super) count: u32,
}

/// All kinds.
pub(super) const KINDS: [Kind; 7] = [
    Kind {
        name: "tls13_ecdsa",
        title: "full TLS 1.3 ECDSA, proxied",
        port: Port::Proxied,
        version: &rustls::version::TLS13,
        is_resumed: false,
        errand: Errand::Small,
        count: 40,
    },
    Kind {
        name: "tls12_resumed",
        title: "TLS 1.2 resumed, proxied",
        port: Port::Proxied,
        version: &rustls::version::TLS12,
        is_resumed: true,
        errand: Errand::Small,
        count: 80,
    },
    Kind {
        name: "handshake",
        title: "full TLS 1.3 ECDSA, status page not asked for",
        port: Port::Status,
        version: &rustls::version::TLS13,
        is_resumed: false,
        errand: Errand::None,
        count: 40,
    },
    Kind {
        name: "status",
        title: "full TLS 1.3 ECDSA, status page",
        port: Port::Status,
        version: &rustls::version::TLS13,
        is_resumed: false,
        errand: Errand::Page,
        count: 30,
    },
    Kind {
        name: "directed",
        title: "full TLS 1.3 ECDSA, proxied, directed",
        port: Port::Directed,
        version: &rustls::version::TLS13,
        is_resumed: false,
        errand: Errand::Small,
        count: 40,
    },
    Kind {
        name: "down",
        title: "1 MiB down",
        port: Port::Proxied,
        version: &rustls::version::TLS13,
        is_resumed: false,
        errand: Errand::Down,
        count: 16,
    },
    Kind {
        name: "up",
        title: "1 MiB up",
        port: Port::Proxied,
        version: &rustls::version::TLS13,
        is_resumed: false,
        errand: Errand::Up,
        count: 16,
    },
];

/// Of them those that are counted on a tap device too, where the NIC has its offloads, and
/// their names there.
pub(super) const OFFLOADED: [(&str, &str); 3] = [
    ("tls13_ecdsa", "small_offload"),
    ("down", "down_offload"),
    ("up", "up_offload"),
];

/// A client of one kind, with the tickets that it has got.
pub(super) struct Client {
    pub(super) kind: Kind,
    config: Arc<ClientConfig>,
    bulk: Vec<u8>,
}

impl Client {
    /// One that offers AES-128-GCM alone, so that both systems do the same work.
    pub(super) fn new(kind: Kind, material: &Material) -> Result<Self> {
        let mut provider = ring::default_provider();
        provider.cipher_suites.retain(|suite| {
            matches!(
                suite.suite(),
                CipherSuite::TLS13_AES_128_GCM_SHA256
                    | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            )
        });
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[kind.version])?
            .with_root_certificates(material.roots())
            .with_no_client_auth();
        if !kind.is_resumed {
            config.resumption = Resumption::disabled();
        }
        Ok(Self {
            kind,
            config: Arc::new(config),
            bulk: backend::bulk(),
        })
    }

    /// Does its errand once, from the connection to the end of the session; whether the
    /// handshake was full or resumed as it is counted.
    pub(super) fn visit(&self, address: SocketAddr) -> Result<bool> {
        let deadline = Instant::now() + PATIENCE;
        let mut session = self.connect(address, deadline)?;
        let wanted = match self.kind.is_resumed {
            true => HandshakeKind::Resumed,
            false => HandshakeKind::Full,
        };
        let is_meant = session.conn.handshake_kind() == Some(wanted);
        let (path, body, expected) = match self.kind.errand {
            Errand::None => {
                end(&mut session)?;
                return Ok(is_meant);
            }
            Errand::Small => (backend::SMALL, None, Some(backend::SMALL_BODY.to_vec())),
            Errand::Page => ("/", None, None),
            Errand::Down => (backend::DOWN, None, Some(self.bulk.clone())),
            Errand::Up => {
                let answer = backend::taken(self.bulk.len()).into_bytes();
                (backend::UP, Some(self.bulk.as_slice()), Some(answer))
            }
        };
        send(&mut session, path, body, "close")?;
        let mut answer = Vec::new();
        honest::wait_until(&session.sock, deadline)?;
        session
            .read_to_end(&mut answer)
            .with_context(|| format!("the session's end, after {} bytes", answer.len()))?;
        let found = body_of(&answer)?;
        if let Some(expected) = expected {
            ensure!(found == expected, "another answer: {} bytes", found.len());
        }
        session.conn.send_close_notify();
        // Who has closed first may be gone.
        let _ = session.flush();
        Ok(is_meant)
    }

    /// A session that is as this kind of client wants it.
    pub(super) fn connect(&self, address: SocketAddr, deadline: Instant) -> Result<Session> {
        let left = deadline.saturating_duration_since(Instant::now());
        let stream = TcpStream::connect_timeout(&address, left).context("connecting")?;
        let session = honest::over(stream, &self.config, deadline).context("the handshake")?;
        let version = match self.kind.version.version {
            ProtocolVersion::TLSv1_2 => ProtocolVersion::TLSv1_2,
            _ => ProtocolVersion::TLSv1_3,
        };
        ensure!(
            session.conn.protocol_version() == Some(version),
            "another version"
        );
        Ok(session)
    }
}

/// Ends a session from this side, and waits for the other.
fn end(session: &mut Session) -> io::Result<()> {
    session.conn.send_close_notify();
    session.flush()?;
    session.sock.shutdown(Shutdown::Write)?;
    io::copy(&mut session.sock, &mut io::sink()).map(drop)
}

/// Sends a request.
fn send(session: &mut Session, path: &str, body: Option<&[u8]>, ending: &str) -> io::Result<()> {
    let (method, length) = match body {
        None => ("GET", String::new()),
        Some(body) => ("POST", format!("Content-Length: {}\r\n", body.len())),
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{length}Connection: {ending}\r\n\r\n"
    );
    session.write_all(head.as_bytes())?;
    for chunk in body.unwrap_or_default().chunks(CHUNK) {
        session.write_all(chunk)?;
    }
    session.flush()
}

/// Sends a small request in a session that goes on, and takes the answer.
pub(super) fn ask(session: &mut Session, deadline: Instant) -> Result<()> {
    honest::wait_until(&session.sock, deadline)?;
    send(session, backend::SMALL, None, "keep-alive")?;
    let mut answer = Vec::new();
    while !answer.ends_with(backend::SMALL_BODY) {
        let mut part = [0; 1024];
        honest::wait_until(&session.sock, deadline)?;
        match session.read(&mut part)? {
            0 => bail!("the session has ended"),
            read => answer.extend_from_slice(part.get(..read).unwrap_or_default()),
        }
    }
    body_of(&answer).map(drop)
}

/// The body of an answer that says 200.
fn body_of(answer: &[u8]) -> Result<&[u8]> {
    const END: &[u8] = b"\r\n\r\n";
    let end = answer.windows(END.len()).position(|part| part == END);
    let (head, body) = answer.split_at(end.context("an answer without a head")? + END.len());
    ensure!(
        head.starts_with(b"HTTP/1.1 200 "),
        "another answer: {}",
        String::from_utf8_lossy(head)
    );
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_of_an_answer_is_what_comes_after_its_head() {
        let body = body_of(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nhere\n").unwrap();
        assert_eq!(body, backend::SMALL_BODY);
        for bad in ["HTTP/1.1 502 Bad Gateway\r\n\r\nx", "HTTP/1.1 200 OK\r\n"] {
            assert!(body_of(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
