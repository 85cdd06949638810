//! The shipped image with the suite's configuration, booted; a backend after it,
//! ports before it.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use image::kernel::Configuration;
use image::pack::Image;
use qemu::{Boot, Forward, Guest, Machine, Network};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::material::Material;
use super::spent::Spent;
use crate::build;

const READY_PATIENCE: Duration = Duration::from_secs(120);
/// A thread for each of some hundred sessions.
const BACKEND_STACK: usize = 64 * 1024;
/// The longest path of a socket on every Unix, without its last zero.
const LONGEST_SOCKET: usize = 103;
const CHUNK: usize = 16 * 1024;

/// A listener of the suite's configuration, by the guest's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// Echoes; autonomous handshakes.
    Autonomous = 443,
    /// Echoes; directed handshakes.
    Directed = 444,
    /// The status page, for requests that take ten minutes.
    Status = 445,
    /// Echoes; takes a client's certificate.
    Mutual = 446,
    /// Takes plaintext; its backend has TLS, takes connections, and says nothing.
    Upstream = 447,
}

const PORTS: [Port; 5] = [
    Port::Autonomous,
    Port::Directed,
    Port::Status,
    Port::Mutual,
    Port::Upstream,
];

/// Connections that the silent backend holds, more than are in progress at once.
const SILENT_HELD: usize = 1000;

/// Forwards to each port, the first of them for honest clients: QEMU's queue of new
/// connections has one entry for each, and is not what is measured.
const WAYS: usize = 9;

/// An image that can be booted again and again.
pub(super) struct Stage {
    image: Image,
    folder: PathBuf,
    /// What clients need.
    pub(super) material: Material,
}

impl Stage {
    /// Builds the image; its backend runs as long as this process.
    pub(super) fn build(workspace: &Path) -> Result<Self> {
        let folder = workspace.join("target/bench/hostile");
        fs::create_dir_all(&folder)?;
        let material = Material::make(&folder)?;
        let backend = backend().context("starting the backend")?;
        let file = folder.join("gateway.toml");
        let silent = silent_backend().context("starting the silent backend")?;
        fs::write(&file, configuration(backend, silent))?;
        let config = gateway_config::load(&file, OffsetDateTime::now_utc())?;
        let out = folder.join("image");
        let image = build::pack(
            workspace,
            &out,
            &config,
            Configuration::Release,
            None,
            false,
        )?;
        Ok(Self {
            image,
            folder,
            material,
        })
    }

    /// Boots it, as `cargo xtask run` would: 128 MiB. `name` is the log's.
    pub(super) fn boot(&self, name: &str) -> Result<Booted> {
        let boot = Boot::Files {
            kernel: self.image.kernel.clone(),
            root: self.image.root.clone(),
        };
        let mut machine = Machine::new(boot, &self.folder);
        machine.log = self.folder.join(format!("{name}.log"));
        let free = free_ports(WAYS * PORTS.len()).context("looking for free ports")?;
        let guest = PORTS.iter().cycle().map(|port| *port as u16);
        let forwards = free.into_iter().zip(guest);
        let forwards: Vec<_> = forwards
            .map(|(host, guest)| Forward { host, guest })
            .collect();
        machine.network = Network::User(forwards.clone());
        let socket = self.folder.join("qmp");
        if socket.as_os_str().len() <= LONGEST_SOCKET {
            machine.qmp = Some(socket);
        }
        let guest = machine.boot(READY_PATIENCE)?;
        // Where QEMU does not tell, nothing is said of where its time went.
        let processor = processor(&guest).ok();
        Ok(Booted {
            guest,
            processor,
            forwards,
        })
    }
}

/// The running image.
pub(super) struct Booted {
    guest: Guest,
    /// QEMU's thread that is the guest's processor.
    processor: Option<u64>,
    forwards: Vec<Forward>,
}

impl Booted {
    /// Where honest clients reach a listener.
    pub(super) fn honest(&self, port: Port) -> SocketAddr {
        self.nth(port, 0)
    }

    /// Where an attacker reaches it, by its number.
    pub(super) fn hostile(&self, port: Port, attacker: usize) -> SocketAddr {
        self.nth(port, 1 + attacker % (WAYS - 1))
    }

    fn nth(&self, port: Port, number: usize) -> SocketAddr {
        let mut ways = self.forwards.iter().filter(|f| f.guest == port as u16);
        // Port 0 takes no connection; it marks a forward that was not made.
        let host = ways.nth(number).map_or(0, |forward| forward.host);
        (Ipv4Addr::LOCALHOST, host).into()
    }

    /// How many domains were restarted since the boot. The file has every line; what is
    /// kept in memory is no more than the last.
    pub(super) fn restarts(&self) -> Result<usize> {
        let file = self.guest.log_file();
        let bytes = fs::read(file).with_context(|| file.display().to_string())?;
        Ok(count_restarts(&String::from_utf8_lossy(&bytes)))
    }

    /// What QEMU has spent so far, where the host tells it.
    pub(super) fn spent(&self) -> Option<Spent> {
        Spent::of(self.guest.id(), self.processor?)
    }

    /// Ends it.
    pub(super) fn stop(self) {
        self.guest.stop();
    }
}

fn processor(guest: &Guest) -> Result<u64> {
    let answer = guest.qmp()?.execute("query-cpus-fast", json!({}))?;
    let thread = answer.pointer("/0/thread-id").and_then(Value::as_u64);
    thread.context("query-cpus-fast: no thread-id")
}

fn count_restarts(log: &str) -> usize {
    let is_restart = |line: &&str| line.starts_with("init: ") && line.ends_with(" is restarted");
    log.lines().map(str::trim_end).filter(is_restart).count()
}

fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    // Held until all are found, so that none is found twice.
    let listeners = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
    listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}

fn configuration(backend: u16, silent: u16) -> String {
    let mut text = "[network]\naddress = \"dhcp\"\n\n[[keyring]]\nlabel = \"web\"\n\
                    chain = \"web-chain.pem\"\nkey = \"web-key.pem\"\n\
                    trust = \"clients-ca.pem\"\n\n[[keyring]]\nlabel = \"backends\"\n\
                    trust = \"clients-ca.pem\"\n"
        .to_string();
    let echo = format!("backend = {{ connect = \"10.0.2.2:{backend}\" }}");
    let upstream = format!(
        "backend = {{ connect = \"10.0.2.2:{silent}\", tls = {{ role = \"client\", \
         keyring = \"backends\", server_name = \"localhost\" }} }}"
    );
    for port in PORTS {
        let (name, words, rest) = match port {
            Port::Autonomous => ("autonomous", "mode = \"autonomous\"", echo.as_str()),
            Port::Directed => ("directed", "mode = \"directed\"", echo.as_str()),
            Port::Mutual => ("mutual", "client_auth = \"request\"", echo.as_str()),
            Port::Status => (
                "status",
                "alpn = [\"http/1.1\"]",
                "backend = { status = true }\nrequest_timeout_ms = 600000",
            ),
            Port::Upstream => ("upstream", "", upstream.as_str()),
        };
        let tls = match port {
            Port::Upstream => String::new(),
            _ => format!("tls = {{ role = \"server\", keyring = \"web\", {words} }}\n"),
        };
        text += &format!(
            "\n[[listener]]\nname = \"{name}\"\nlisten = {}\n{tls}{rest}\n",
            port as u16
        );
    }
    text
}

/// Sends back what it gets, and its end after the client's end.
fn backend() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serving = thread::Builder::new().stack_size(BACKEND_STACK);
            // An unserved client shows by the missing echo.
            let _ = serving.spawn(move || echo(stream));
        }
    });
    Ok(port)
}

/// Takes connections, and says nothing.
fn silent_backend() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        let mut held = VecDeque::with_capacity(SILENT_HELD);
        for stream in listener.incoming().flatten() {
            if held.len() == SILENT_HELD {
                held.pop_front();
            }
            held.push_back(stream);
        }
    });
    Ok(port)
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match stream.read(&mut buffer)? {
            0 => return stream.shutdown(Shutdown::Write),
            read => stream.write_all(buffer.get(..read).unwrap_or_default())?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suites_configuration_is_accepted() {
        let folder = std::env::temp_dir().join(format!("stage-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Material::make(&folder).unwrap();
        let file = folder.join("gateway.toml");
        fs::write(&file, configuration(8080, 8443)).unwrap();
        let config = gateway_config::load(&file, OffsetDateTime::now_utc());
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(config.unwrap().listeners.len(), PORTS.len());
    }

    #[test]
    fn each_domain_that_is_restarted_counts() {
        let log = "init: gateway is restarted\r\ngateway: x is restarted\ninit: ready\n\
                   init: offload-server is restarted\n";
        assert_eq!(count_restarts(log), 2);
    }
}
