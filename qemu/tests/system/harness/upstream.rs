//! TLS servers behind the gateway that are programs of their own: OpenSSL and
//! GnuTLS. The guest reaches them at 10.0.2.2.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use super::material::Material;

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// `openssl s_server -www`: answers with a page about the session.
    OpenSsl,
    /// `gnutls-serv --http`: the same.
    GnuTls,
}

/// A running server, until it is dropped. It asks for a certificate and is
/// content without.
pub(crate) struct Upstream {
    /// Where it listens.
    pub(crate) port: u16,
    /// The label of its chain.
    pub(crate) label: &'static str,
    pub(crate) program: Program,
    child: Child,
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
        let port = free_port()?;
        let (chain, key) = (material.chain_file(label), material.key_file(label));
        let clients = material.clients_authority();
        let mut command = match program {
            Program::OpenSsl => {
                let mut command = Command::new("openssl");
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
            Program::GnuTls => {
                let mut command = Command::new("gnutls-serv");
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
        let child = command
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said)
            .spawn()
            .with_context(|| format!("{program:?} can't be started; is it installed?"))?;
        Ok(Self {
            port,
            label,
            program,
            child,
        })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens at now.
fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
