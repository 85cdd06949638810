//! TLS servers behind the gateway that are programs of their own: OpenSSL, GnuTLS and
//! Go. The guest reaches them at 10.0.2.2.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread;

use anyhow::{Context, Result};

use super::enclosure::{enclosed, lead_into};
use super::go;
use super::material::Material;
use super::python::{MODERN_OPENSSL, interpreter};

/// Where a program in a network of its own listens.
const ENCLOSED_PORT: u16 = 4433;

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// `openssl s_server -www`: answers with a page about the session.
    OpenSsl,
    /// OpenSSL of today: answers with a page that names the group.
    ModernOpenSsl,
    /// `gnutls-serv --http`: the same. It listens at all addresses there are, so
    /// it gets a network that has loopback alone.
    GnuTls,
    /// Go's crypto/tls: answers with a page about the handshake.
    Go,
    /// The same with SecP256r1MLKEM768 alone, which is not the first that is offered.
    GoRetrying,
}

/// A running server, until it is dropped. It asks for a certificate and is
/// content without.
pub(crate) struct Upstream {
    /// Where it listens.
    pub(crate) port: u16,
    /// The label of its chain.
    pub(crate) label: &'static str,
    pub(crate) program: Program,
    /// The process's number.
    pub(crate) process: u32,
    /// The process ends when this is dropped.
    _held: Sender<()>,
}

impl Upstream {
    /// Starts a server with the chain `label`. What it says goes to a file in
    /// `folder`.
    pub(crate) fn start(
        program: Program,
        label: &'static str,
        material: &Material,
        folder: &Path,
    ) -> Result<Self> {
        // In a network of its own any port is free.
        let port = match program {
            Program::OpenSsl | Program::ModernOpenSsl | Program::Go | Program::GoRetrying => {
                free_port()?
            }
            Program::GnuTls => ENCLOSED_PORT,
        };
        let (chain, key) = (material.chain_file(label), material.key_file(label));
        let clients = material.clients_authority();
        let mut command = match program {
            Program::OpenSsl => {
                let mut command = qemu::bound_to_thread(Path::new("openssl"));
                command
                    .args(["s_server", "-www", "-verify", "1", "-verify_return_error"])
                    .args(["-accept", &format!("127.0.0.1:{port}"), "-cert"])
                    .arg(chain)
                    .arg("-key")
                    .arg(key)
                    .arg("-CAfile")
                    .arg(clients);
                command
            }
            Program::ModernOpenSsl => {
                let mut command = qemu::bound_to_thread(interpreter());
                command
                    .args(["-c", MODERN_OPENSSL, "server", &port.to_string()])
                    .args([chain, key]);
                command
            }
            Program::Go | Program::GoRetrying => {
                let mut command = qemu::bound_to_thread(go::program());
                command
                    .args(["server", &port.to_string()])
                    .args([chain, key]);
                if program == Program::GoRetrying {
                    command.arg("SecP256r1MLKEM768");
                }
                command
            }
            Program::GnuTls => {
                let mut command = enclosed(Path::new("gnutls-serv"));
                command
                    .args(["--http", "--port", &port.to_string(), "--x509certfile"])
                    .arg(chain)
                    .arg("--x509keyfile")
                    .arg(key)
                    .arg("--x509cafile")
                    .arg(clients)
                    .args(["--verify-client-cert", "--priority", "NORMAL"]);
                command
            }
        };
        let said = File::create(folder.join(format!("{program:?}-{label}.log")))?;
        command
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said);
        let (process, held) = keep(command)
            .with_context(|| format!("{program:?} can't be started; is it installed?"))?;
        let port = match program {
            Program::OpenSsl | Program::ModernOpenSsl | Program::Go | Program::GoRetrying => port,
            Program::GnuTls => lead_into(process, port)?,
        };
        Ok(Self {
            port,
            label,
            program,
            process,
            _held: held,
        })
    }
}

/// Starts a process in a thread of its own, which exits with this process at the latest;
/// and the server with it. Returns the process's id, and what holds it.
fn keep(mut command: Command) -> Result<(u32, Sender<()>)> {
    let (held, released) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return tell.send(Err(error)),
        };
        tell.send(Ok(child.id()))?;
        // Nothing is ever sent: this waits for the other side to be dropped.
        let _ = released.recv();
        let _ = child.kill();
        let _ = child.wait();
        Ok(())
    });
    let process = told.recv()??;
    Ok((process, held))
}

/// A port without a listener now.
fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
