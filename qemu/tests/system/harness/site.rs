//! The image under test: its configuration, its machine, its ports.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gateway_config::Kek;
use image::description::Restart;
use image::kernel::Configuration;
use image::left_out;
use image::pack::{self, Options};
use image::workspace;
use qemu::{Boot, Forward, Guest, Machine, Network, tap};
use serde_json::json;
use time::OffsetDateTime;

use super::backend::{Backend, Kind};
use super::configuration::{client_configuration, configuration, few_listeners};
use super::material::Material;
use super::memory::{Memory, ROOT};
pub(crate) use super::port;
use super::shipped;
use super::upstream::{Program, Upstream};
use super::wire::{GUEST, HOST, Wire};

/// How long the image may take to boot.
const BOOT_PATIENCE: Duration = Duration::from_secs(120);

/// The TLS servers that every cell of the matrix in the client role has one of.
pub(crate) const UPSTREAMS: [(Program, &str); 11] = [
    (Program::OpenSsl, "p256"),
    (Program::OpenSsl, "rsa2048"),
    (Program::OpenSsl, "ed25519"),
    (Program::GnuTls, "p256"),
    (Program::GnuTls, "rsa2048"),
    (Program::GnuTls, "ed25519"),
    (Program::OpenSsl, "expired"),
    (Program::ModernOpenSsl, "p256"),
    (Program::OpenSsl, "withdrawn"),
    (Program::Go, "p256"),
    (Program::GoRetrying, "p256"),
];
/// The key rings at [`port::MATRIX`].
pub(crate) const MATRIX_KEYS: [&str; 3] = ["p256", "rsa2048", "ed25519"];
/// The servers behind the gateway.
const KINDS: [Kind; 4] = [Kind::Echo, Kind::Http, Kind::Bulk, Kind::Proxied];
/// Their ports in a network with a tap device, where nobody else has any.
const ON_TAP: [u16; 4] = [8001, 8002, 8003, 8004];
/// Listeners without TLS that send TLS out begin here: one for each of
/// the first six of [`UPSTREAMS`], each version, and each way to show oneself; see
/// [`sending_port`].
const SENDING: u16 = 500;

/// Plaintext in, TLS of one version out to one of [`UPSTREAMS`].
pub(crate) fn sending_port(upstream: usize, is_tls13: bool, has_certificate: bool) -> u16 {
    let place = u16::try_from(upstream).unwrap() * 4;
    SENDING + place + u16::from(is_tls13) * 2 + u16::from(has_certificate)
}

/// What `segment_size` is at [`port::SMALL_SEGMENTS`].
pub(crate) const SMALL_SEGMENT: usize = 64;
/// The handshake's timeout at [`port::HURRIED`].
pub(crate) const HURRY: Duration = Duration::from_secs(2);

/// A booted image and what surrounds it.
pub(crate) struct Site {
    /// The machine.
    pub(crate) guest: Guest,
    /// Certificates and keys.
    pub(crate) material: Material,
    /// All files of this run.
    pub(crate) folder: PathBuf,
    /// How much memory the machine has.
    pub(crate) memory_bytes: u64,
    /// TLS servers behind the gateway, in the order of [`UPSTREAMS`].
    pub(crate) upstreams: Vec<Upstream>,
    /// Where the backend of [`port::HELD`] is: a test is the server.
    pub(crate) held: TcpListener,
    /// The servers behind the gateway, kept running.
    _backends: Vec<Backend>,
}

/// What an image is to have besides what all have.
struct Wanted {
    disc: bool,
    /// The keys of `[network]`.
    network: String,
    restart: Option<Restart>,
    rekey_after: Option<u64>,
    sealed: Option<Seal>,
    /// Another description than the shipped one.
    system: Option<PathBuf>,
    /// More text of the configuration.
    more: String,
    /// The log in JSON.
    json: bool,
    /// Only the status page, the echo and the bulk, in each of these modes.
    modes: Option<&'static [&'static str]>,
    /// The servers behind the gateway are started with the machine, at these ports.
    later: Option<[u16; 4]>,
    /// Features of the programs.
    features: Vec<String>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            disc: false,
            network: "address = \"dhcp\"".to_string(),
            restart: None,
            rekey_after: None,
            sealed: None,
            system: None,
            more: String::new(),
            json: false,
            modes: None,
            later: None,
            features: Vec::new(),
        }
    }
}

/// How key rings are sealed, and who may replace them.
pub(crate) struct Seal {
    pub(crate) kek: Kek,
    pub(crate) signer: [u8; 32],
}

/// An image with a machine that can boot it.
pub(crate) struct Prepared {
    /// The machine.
    pub(crate) machine: Machine,
    /// MiB of memory that a machine must have.
    pub(crate) memory_mib: u32,
    material: Material,
    /// All files of this run.
    pub(crate) folder: PathBuf,
    upstreams: Vec<Upstream>,
    held: TcpListener,
    backends: Vec<Backend>,
}

impl Prepared {
    /// Builds an image, for its bootable disc or for its files.
    pub(crate) fn build(name: &str, disc: bool) -> Result<Self> {
        let wanted = Wanted {
            disc,
            ..Wanted::default()
        };
        Self::build_for(name, wanted)
    }

    /// Builds an image whose monitor restarts domains as `restart` says.
    pub(crate) fn build_with(name: &str, restart: Restart) -> Result<Self> {
        let wanted = Wanted {
            restart: Some(restart),
            ..Wanted::default()
        };
        Self::build_for(name, wanted)
    }

    /// Builds an image with this fault injected, a feature of a program.
    pub(crate) fn build_faulty(name: &str, feature: &str) -> Result<Self> {
        let wanted = Wanted {
            features: vec![feature.to_string()],
            ..Wanted::default()
        };
        Self::build_for(name, wanted)
    }

    /// Builds an image with the example `examples/{name}` in it; `more` is its part of the
    /// configuration.
    pub(crate) fn build_example(name: &str, more: &str) -> Result<Self> {
        let workspace = workspace::root()?;
        let folder = workspace::scratch(&format!("{name}-description"))?;
        let folder = folder.strip_prefix(&workspace)?;
        fs::create_dir_all(workspace.join(folder).join("image"))?;
        for file in ["image/system.toml", "image/policy.toml"] {
            fs::copy(workspace.join(file), workspace.join(folder).join(file))?;
        }
        let patch = format!("examples/{name}/system.patch");
        let applied = Command::new("git")
            .current_dir(&workspace)
            .arg("apply")
            .arg("--directory")
            .args([folder, Path::new(&patch)])
            .output()?;
        ensure!(
            applied.status.success(),
            "{patch}: {}",
            String::from_utf8_lossy(&applied.stderr)
        );
        let wanted = Wanted {
            system: Some(workspace.join(folder).join("image/system.toml")),
            more: more.to_string(),
            ..Wanted::default()
        };
        Self::build_for(name, wanted)
    }

    /// Builds an image with few listeners, in each of these modes.
    pub(crate) fn build_in_modes(name: &str, modes: &'static [&'static str]) -> Result<Self> {
        let wanted = Wanted {
            modes: Some(modes),
            ..Wanted::default()
        };
        Self::build_for(name, wanted)
    }

    /// Builds an image with few listeners for a network with a tap device.
    pub(crate) fn build_on_tap(name: &str) -> Result<Self> {
        let (prefix, host) = (tap::PREFIX, tap::HOST);
        let wanted = Wanted {
            network: format!(
                "address = \"{}/{prefix}\"\ngateway = \"{host}\"",
                tap::GUEST
            ),
            modes: Some(&["autonomous"]),
            later: Some(ON_TAP),
            ..Wanted::default()
        };
        Self::build_for(name, wanted)
    }

    /// Builds an image whose log is in JSON.
    pub(crate) fn build_json(name: &str) -> Result<Self> {
        let wanted = Wanted {
            json: true,
            ..Wanted::default()
        };
        Self::build_for(name, wanted)
    }

    /// Builds an image whose keys seal `records` records each.
    pub(crate) fn build_rekeying(name: &str, records: u64) -> Result<Self> {
        let wanted = Wanted {
            rekey_after: Some(records),
            ..Wanted::default()
        };
        Self::build_for(name, wanted)
    }

    /// Builds an image, and a bootable disc, with sealed key rings.
    pub(crate) fn build_sealed(name: &str, seal: Seal) -> Result<Self> {
        let wanted = Wanted {
            disc: true,
            sealed: Some(seal),
            ..Wanted::default()
        };
        Self::build_for(name, wanted)
    }

    fn build_for(name: &str, wanted: Wanted) -> Result<Self> {
        let Wanted {
            disc,
            network,
            restart,
            rekey_after,
            sealed,
            system,
            more,
            json,
            modes,
            later,
            features,
        } = wanted;
        let folder = workspace::scratch(name)?;
        let material = Material::make(&folder.join("material"))?;
        let started = if later.is_some() { &[][..] } else { &KINDS };
        let backends = started
            .iter()
            .map(|kind| Backend::start(*kind))
            .collect::<Result<Vec<_>, _>>()?;
        let ports = backends.iter().map(Backend::port);
        let ports: Vec<u16> = ports.chain(later.into_iter().flatten()).collect();
        let listed: &[_] = if modes.is_some() { &[] } else { &UPSTREAMS };
        let upstreams = listed
            .iter()
            .map(|(program, label)| Upstream::start(*program, label, &material, &folder))
            .collect::<Result<Vec<_>>>()?;
        let file = folder.join("material/gateway.toml");
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let held_port = held.local_addr()?.port();
        let text = match modes {
            Some(modes) => few_listeners(&network, (ports[0], ports[2]), modes),
            None => {
                configuration(&network, &ports)
                    + &client_configuration(&upstreams, ports[0], held_port)
                    + &more
            }
        };
        let text = match json {
            true => text.replacen("[log]\n", "[log]\nformat = \"json\"\n", 1),
            false => text,
        };
        fs::write(&file, text)?;
        let mut config = gateway_config::load(&file, OffsetDateTime::now_utc())
            .with_context(|| format!("checking {}", file.display()))?;
        config.audit = true;
        let key = match sealed {
            Some(Seal { kek, signer }) => {
                let file = folder.join("kek");
                fs::write(&file, kek.expose())?;
                (config.kek, config.signer) = (Some(kek), Some(signer));
                Some(file)
            }
            None => None,
        };
        let workspace = workspace::root()?;
        let is_shipped = system.is_none() && features.is_empty() && config.has_directed();
        let image = pack::build(&Options {
            workspace: workspace.clone(),
            out: folder.join("image"),
            system,
            memory_mib: None,
            without: left_out::unneeded(config.has_directed()),
            configuration: Configuration::Release,
            provisions: config.provisions()?,
            features,
            disc,
            restart,
            rekey_after,
        })?;
        if is_shipped {
            keep_programs(&workspace, &folder)?;
        }
        let memory_mib = image.memory_mib;
        let boot = match image.disc {
            Some(disc) => Boot::Disc(disc),
            None => Boot::Files {
                kernel: image.kernel,
                root: image.root,
            },
        };
        let mut machine = Machine::new(boot, &folder);
        machine.qmp = Some(socket(&folder, "qmp"));
        machine.line = key.as_ref().map(|_| socket(&folder, "line"));
        machine.key = key;
        let listeners = config.listeners.iter().map(|listener| listener.port);
        let others = config.applications.iter();
        let ports = listeners.chain(others.flat_map(|other| other.listen.clone()));
        let forwards = ports.map(|guest| Forward { host: 0, guest });
        machine.network = Network::User(forwards.collect());
        Ok(Self {
            machine,
            memory_mib,
            material,
            folder,
            upstreams,
            held,
            backends,
        })
    }

    /// Boots an image with a cable to the test in place of QEMU's user network.
    pub(crate) fn boot_on_wire(name: &str) -> Result<(Site, Wire)> {
        let network =
            format!("address = \"{GUEST}/24\"\ngateway = \"{HOST}\"\nrouter_advertisements = true");
        let wanted = Wanted {
            network,
            ..Wanted::default()
        };
        let mut prepared = Self::build_for(name, wanted)?;
        let (wire, network) = Wire::lay(&prepared.folder)?;
        prepared.machine.network = network;
        Ok((prepared.boot()?, wire))
    }

    /// Boots an image for a tap device in this thread's network, which has nothing else: what
    /// is built has been built.
    pub(crate) fn boot_on_tap(mut self, network: Network) -> Result<Site> {
        for (kind, port) in KINDS.into_iter().zip(ON_TAP) {
            let backend = Backend::start_at(kind, (tap::HOST, port).into())?;
            self.backends.push(backend);
        }
        self.machine.network = network;
        self.boot()
    }

    /// Boots it.
    pub(crate) fn boot(self) -> Result<Site> {
        // Of a previous run.
        fs::remove_file(socket(&self.folder, "gdb")).ok();
        Ok(Site {
            guest: self.machine.boot(BOOT_PATIENCE)?,
            material: self.material,
            folder: self.folder,
            memory_bytes: u64::from(self.machine.memory_mib) << 20,
            upstreams: self.upstreams,
            held: self.held,
            _backends: self.backends,
        })
    }
}

impl Site {
    /// The socket of QEMU's debugger port, which is opened the first time: QEMU
    /// does so once only.
    pub(crate) fn debugger(&self) -> Result<PathBuf> {
        let socket = socket(&self.folder, "gdb");
        if !socket.exists() {
            let listen = format!("gdbserver unix:{},server=on,wait=off", socket.display());
            let command = json!({ "command-line": listen });
            let mut qmp = self.guest.qmp()?;
            qmp.execute("human-monitor-command", command)?;
        }
        Ok(socket)
    }

    /// The socket that leads to the key store's serial line, where there is one.
    pub(crate) fn line(&self) -> PathBuf {
        socket(&self.folder, "line")
    }

    /// The guest's memory at this moment.
    pub(crate) fn memory(&self) -> Memory {
        // One dump at a time: they share a file and QEMU's control socket.
        static DUMPING: Mutex<()> = Mutex::new(());
        let _dumping = DUMPING.lock().unwrap_or_else(PoisonError::into_inner);
        Memory::of(&self.guest, self.memory_bytes, &self.folder).unwrap()
    }
}

/// The path of a socket in `folder`. It must be short: it is told from here,
/// where QEMU starts too.
fn socket(folder: &Path, name: &str) -> PathBuf {
    let inside = workspace::root().ok();
    let inside = inside.and_then(|root| Some(folder.strip_prefix(root).ok()?.to_path_buf()));
    match inside {
        Some(inside) => Path::new("..").join(inside).join(name),
        None => folder.join(name),
    }
}

/// Copies the programs that were packed: another build may replace them.
fn keep_programs(workspace: &Path, folder: &Path) -> Result<()> {
    let built = workspace.join("target/guest/x86_64-unknown-linux-gnu/guest");
    for name in shipped::domains().chain([ROOT]) {
        let from = built.join(name);
        fs::copy(&from, folder.join(name)).with_context(|| from.display().to_string())?;
    }
    Ok(())
}
