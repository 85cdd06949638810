//! Both engines on a host, without a kernel: the shim, the offload component,
//! the key store and the record layer in one process, on a socket. For
//! protocol test suites that need no emulator.
//!
//! ```text
//! cargo run -p bogo --example host -- server --mode directed \
//!     --listen 127.0.0.1:4433 --config gateway.toml
//! cargo run -p bogo --example host -- client --mode directed \
//!     --connect 127.0.0.1:4433 --name localhost --config gateway.toml
//! ```
//!
//! Key rings and TLS parameters are those of the first listener of the configuration. The
//! server answers a line that begins with `GET ` with a page and closes; anything else it
//! sends back. The client asks for a page.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a host tool: what goes wrong ends one connection"
)]

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result};
use bogo::system::{Plaintext, System};
use clap::{Parser, ValueEnum};
use gateway_config::Config;
use ipc::bounded::Text;
use ipc::tls::Mode;
use tls::Role;

/// Both engines in one process, on a socket.
#[derive(Parser)]
struct Arguments {
    /// Which side of the handshake.
    role: Side,
    /// Who drives the handshake.
    #[arg(long, default_value = "directed")]
    mode: Engine,
    /// Server: where it listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4433")]
    listen: String,
    /// Client: where it connects to.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4433")]
    connect: String,
    /// Client: the name in the server's certificate.
    #[arg(long)]
    name: Option<String>,
    /// The configuration; its first listener with TLS counts.
    #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
    config: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Side {
    Server,
    Client,
}

#[derive(Clone, Copy, ValueEnum)]
enum Engine {
    /// The shim, message by message.
    Directed,
    /// The offload component alone.
    Autonomous,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.role {
        Side::Client => connection(
            &arguments,
            TcpStream::connect(&arguments.connect).context("connecting")?,
        ),
        Side::Server => {
            let listener = TcpListener::bind(&arguments.listen).context("listening")?;
            println!("ready {}", listener.local_addr()?);
            thread::scope(|scope| {
                for stream in listener.incoming() {
                    let (arguments, stream) = (&arguments, stream?);
                    scope.spawn(move || {
                        if let Err(error) = connection(arguments, stream) {
                            eprintln!("{error:#}");
                        }
                    });
                }
                Ok(())
            })
        }
    }
}

fn connection(arguments: &Arguments, stream: TcpStream) -> Result<()> {
    let config = load(arguments)?;
    let mut listeners = config.listeners.iter();
    let tls = listeners.find_map(|l| l.tls.as_ref());
    let mut parameters = tls.context("no listener with TLS")?.parameters.clone();
    if let Some(name) = &arguments.name {
        let name = Text::from_text(name).ok().context("--name is too long")?;
        parameters.server_name = Some(name);
    }
    let peer = stream.peer_addr()?;
    let is_audited = std::env::var_os("HOST_AUDIT").is_some();
    let mut system = System::new(&config.keyrings, is_audited)?;
    system.connect(stream)?;
    let role = match arguments.role {
        Side::Server => Role::Server,
        Side::Client => Role::Client,
    };
    let mode = match arguments.mode {
        Engine::Directed => Mode::Directed,
        Engine::Autonomous => Mode::Autonomous,
    };
    match system.handshake(role, mode, parameters)? {
        Ok(agreed) => {
            let group = agreed.group.map_or("no group", |group| group.name());
            let (version, suite) = (agreed.version, agreed.suite.name());
            println!("{peer}: established {version:?} {suite} {group}");
        }
        Err(error) => {
            println!("{peer}: failed {error:?}");
            return system.end();
        }
    }
    match role {
        Role::Server => serve(&mut system)?,
        Role::Client => {
            system.write(b"GET / HTTP/1.0\r\n\r\n")?;
            while let Plaintext::Bytes(bytes) = system.read()? {
                print!("{}", String::from_utf8_lossy(&bytes));
            }
        }
    }
    system.end()
}

fn serve(system: &mut System) -> Result<()> {
    const PAGE: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nit works\n";
    while let Plaintext::Bytes(bytes) = system.read()? {
        if bytes.starts_with(b"GET ") {
            system.write(PAGE)?;
            return system.close();
        }
        system.write(&bytes)?;
    }
    Ok(())
}

/// The configuration; its keys may sign in both roles here.
fn load(arguments: &Arguments) -> Result<Config> {
    let now = time::OffsetDateTime::now_utc();
    let mut config = gateway_config::load(&arguments.config, now)
        .map_err(|problem| anyhow::anyhow!("{problem}"))?;
    for ring in &mut config.keyrings.0 {
        ring.roles = vec![Role::Server, Role::Client];
    }
    Ok(config)
}
