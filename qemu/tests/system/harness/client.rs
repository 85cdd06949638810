//! Clients in the test's own process: TLS by rustls, and bare TCP.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{
    AlertDescription, CipherSuite, ClientConfig, ClientConnection, ConnectionTrafficSecrets, Error,
    NamedGroup, StreamOwned, SupportedProtocolVersion,
};
use rustls_pki_types::ServerName;
use socket2::{Domain, Socket, Type};

use super::PATIENCE;
use super::material::Material;

/// Below the ports that the system gives out by itself.
const EPHEMERAL: u16 = 32_768;
static NEXT_PORT: AtomicU16 = AtomicU16::new(12_000);

/// How a client wants its session; the beginning of each test.
pub(crate) struct Wish<'a> {
    material: &'a Material,
    name: &'static str,
    versions: Vec<&'static SupportedProtocolVersion>,
    suites: Vec<CipherSuite>,
    groups: Vec<NamedGroup>,
    alpn: Vec<&'static str>,
    certificate: Option<&'static str>,
    fragment: Option<usize>,
}

impl<'a> Wish<'a> {
    /// A client that takes what it gets, for `localhost`.
    pub(crate) fn any(material: &'a Material) -> Self {
        Self {
            material,
            name: "localhost",
            versions: rustls::ALL_VERSIONS.to_vec(),
            suites: Vec::new(),
            groups: Vec::new(),
            alpn: Vec::new(),
            certificate: None,
            fragment: None,
        }
    }

    /// TLS 1.3 and nothing else.
    pub(crate) fn tls13(material: &'a Material) -> Self {
        Self {
            versions: vec![&rustls::version::TLS13],
            ..Self::any(material)
        }
    }

    /// TLS 1.2 and nothing else.
    pub(crate) fn tls12(material: &'a Material) -> Self {
        Self {
            versions: vec![&rustls::version::TLS12],
            ..Self::any(material)
        }
    }

    /// Asks for another server.
    pub(crate) fn name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Offers one suite.
    pub(crate) fn suite(mut self, suite: CipherSuite) -> Self {
        self.suites = vec![suite];
        self
    }

    /// Offers these groups; a key share is sent for the first.
    pub(crate) fn groups(mut self, groups: &[NamedGroup]) -> Self {
        self.groups = groups.to_vec();
        self
    }

    /// Offers ALPN names.
    pub(crate) fn alpn(mut self, names: &[&'static str]) -> Self {
        self.alpn = names.to_vec();
        self
    }

    /// Shows the certificate with this label.
    pub(crate) fn certificate(mut self, label: &'static str) -> Self {
        self.certificate = Some(label);
        self
    }

    /// Sends records of at most so many bytes, header included.
    pub(crate) fn fragment(mut self, bytes: usize) -> Self {
        self.fragment = Some(bytes);
        self
    }

    /// Connects and finishes the handshake.
    pub(crate) fn connect(self, address: SocketAddr) -> io::Result<Session> {
        self.over(tcp(address)?)
    }

    /// Finishes the handshake on a connection.
    pub(crate) fn over<S: Read + Write>(self, stream: S) -> io::Result<Session<S>> {
        let name = ServerName::try_from(self.name).map_err(io::Error::other)?;
        let mut connection =
            ClientConnection::new(Arc::new(self.config()), name).map_err(io::Error::other)?;
        let mut stream = stream;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Session(StreamOwned::new(connection, stream)))
    }

    fn config(&self) -> ClientConfig {
        let mut provider = ring::default_provider();
        if !self.suites.is_empty() {
            provider
                .cipher_suites
                .retain(|suite| self.suites.contains(&suite.suite()));
        }
        if !self.groups.is_empty() {
            provider.kx_groups = {
                let number = |group: &NamedGroup| u16::from(*group);
                let known = |group| peer_groups::group(number(group)).unwrap();
                self.groups.iter().map(known).collect()
            };
        }
        let provider: Arc<CryptoProvider> = Arc::new(provider);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(self.material.roots());
        let mut config = match self.certificate {
            Some(label) => builder
                .with_client_auth_cert(self.material.chain(label), self.material.key(label))
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self
            .alpn
            .iter()
            .map(|name| name.as_bytes().into())
            .collect();
        config.max_fragment_size = self.fragment;
        config.resumption = Resumption::disabled();
        config.enable_secret_extraction = true;
        config
    }
}

/// An established session.
pub(crate) struct Session<S: Read + Write = TcpStream>(pub(crate) StreamOwned<ClientConnection, S>);

impl<S: Read + Write> Session<S> {
    /// The suite.
    pub(crate) fn suite(&self) -> CipherSuite {
        self.0.conn.negotiated_cipher_suite().unwrap().suite()
    }

    /// The version as the log writes it.
    pub(crate) fn version(&self) -> &'static str {
        match self.0.conn.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            other => panic!("{other:?}"),
        }
    }

    /// The group of the key exchange.
    pub(crate) fn group(&self) -> NamedGroup {
        self.0.conn.negotiated_key_exchange_group().unwrap().name()
    }

    /// Sends `message` and reads as many bytes: an echo.
    pub(crate) fn echo(&mut self, message: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(message)?;
        self.0.flush()?;
        let mut answer = vec![0; message.len()];
        self.0.read_exact(&mut answer)?;
        Ok(answer)
    }

    /// Sends a request and reads to the server's close_notify.
    pub(crate) fn ask(&mut self, path: &str) -> io::Result<String> {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        self.0.write_all(request.as_bytes())?;
        self.0.flush()?;
        let mut answer = Vec::new();
        self.0.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl Session {
    /// The client's port; it names the connection in log and capture.
    pub(crate) fn port(&self) -> u16 {
        self.0.sock.local_addr().unwrap().port()
    }

    /// Says that nothing more comes, and goes on reading.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.0.conn.send_close_notify();
        self.0.flush()?;
        self.0.sock.shutdown(Shutdown::Write)
    }

    /// Key and the derived part of the nonce base: what the gateway sends
    /// with, and what it receives with.
    pub(crate) fn keys(self) -> [Vec<u8>; 2] {
        // RFC 5288 §3: TLS 1.2 derives only the salt of AES-GCM.
        let is_tls12 = self.version() == "TLSv1.2";
        let secrets = self.0.conn.dangerous_extract_secrets().unwrap();
        [secrets.rx.1, secrets.tx.1].map(|secrets| match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv }
            | ConnectionTrafficSecrets::Aes256Gcm { key, iv } => {
                let derived = if is_tls12 { 4 } else { 12 };
                [key.as_ref(), &iv.as_ref()[..derived]].concat()
            }
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                [key.as_ref(), iv.as_ref()].concat()
            }
            _ => panic!("a suite that is not known here"),
        })
    }
}

/// The alert that a client was refused with.
#[track_caller]
pub(crate) fn alert_received<T>(outcome: io::Result<T>) -> AlertDescription {
    let Err(error) = outcome else {
        panic!("not refused");
    };
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref()) {
        Some(Error::AlertReceived(alert)) => *alert,
        _ => panic!("refused without an alert: {error:?}"),
    }
}

/// A connection that fails rather than hangs.
pub(crate) fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Log and capture name a connection by the client's port, so none is used
    // twice. A port that is in use is skipped.
    let from = match address.ip().is_loopback() {
        true => Ipv4Addr::LOCALHOST,
        // In a network of the test's own.
        false => Ipv4Addr::UNSPECIFIED,
    };
    loop {
        let port = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        assert!(port < EPHEMERAL, "all ports of the clients are used up");
        match socket.bind(&SocketAddr::from((from, port)).into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            bound => break bound?,
        }
    }
    socket.connect_timeout(&address.into(), PATIENCE)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// How a server ends a connection that it does not like.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With an alert (RFC 8446 §6), in the clear.
    Alert(u8),
    /// Without a word, by FIN or RST.
    Closed,
}

/// Reads to the end of the connection. Handshake records before the alert are skipped.
pub(crate) fn ending(stream: &mut TcpStream) -> io::Result<Ending> {
    const ALERT: u8 = 21;
    loop {
        let mut header = [0; 5];
        if let Err(error) = stream.read_exact(&mut header) {
            return closed(error);
        }
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        if let Err(error) = stream.read_exact(&mut body) {
            return closed(error);
        }
        if let (ALERT, [_, description]) = (header[0], body.as_slice()) {
            return Ok(Ending::Alert(*description));
        }
    }
}

fn closed(error: io::Error) -> io::Result<Ending> {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Ok(Ending::Closed),
        _ => Err(error),
    }
}
