//! The image under test: its configuration, its machine, its ports.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use image::kernel::Configuration;
use image::pack::{self, Options};
use qemu::{Boot, Forward, Guest, Machine, Network};
use time::OffsetDateTime;

use super::backend::{Backend, Kind};
use super::material::Material;
use super::memory::{DOMAINS, Memory, ROOT};
use super::wire::{GUEST, HOST, Wire};

/// How long the image may take to boot.
const BOOT_PATIENCE: Duration = Duration::from_secs(120);

/// The listeners of the image under test, by the guest's port. Each test picks
/// the one whose rules it is about.
pub(crate) mod port {
    /// The status page and `/metrics`.
    pub(crate) const STATUS: u16 = 443;
    /// Sends back what it gets; carries half-close.
    pub(crate) const ECHO: u16 = 444;
    /// A page over HTTP/1.1; ECDSA P-256, everything else by default.
    pub(crate) const HTTP: u16 = 445;
    /// The same with an RSA-2048 chain.
    pub(crate) const RSA: u16 = 446;
    /// The same with an Ed25519 chain.
    pub(crate) const ED25519: u16 = 447;
    /// The same with an ECDSA P-384 chain.
    pub(crate) const P384: u16 = 448;
    /// The same for clients with a certificate.
    pub(crate) const CERTIFICATE_REQUIRED: u16 = 449;
    /// The same, asking for a certificate, content without.
    pub(crate) const CERTIFICATE_REQUESTED: u16 = 450;
    /// TLS 1.3 alone.
    pub(crate) const TLS13_ONLY: u16 = 451;
    /// TLS 1.2 alone.
    pub(crate) const TLS12_ONLY: u16 = 452;
    /// Handshake segments of [`super::SMALL_SEGMENT`] bytes at most.
    pub(crate) const SMALL_SEGMENTS: u16 = 453;
    /// Three key rings, chosen by the name that the client asks for.
    pub(crate) const NAMES: u16 = 454;
    /// A handshake must be over within [`super::HURRY`].
    pub(crate) const HURRIED: u16 = 455;
    /// Digests what it gets; sends as much as it is asked for.
    pub(crate) const BULK: u16 = 456;
    /// One suite and one group: ChaCha20-Poly1305, secp384r1.
    pub(crate) const ONE_CHOICE: u16 = 457;
    /// Asks for a certificate, and tells the backend whose it was by a PROXY
    /// protocol header.
    pub(crate) const INTRODUCED: u16 = 459;
    /// A backend that nobody listens at.
    pub(crate) const NO_BACKEND: u16 = 458;
    /// The session's keys go to the application too.
    pub(crate) const EXPOSED: u16 = 460;

    /// Those that have a twin in directed mode.
    pub(crate) const TWINS: [u16; 15] = [
        ECHO,
        HTTP,
        RSA,
        ED25519,
        P384,
        CERTIFICATE_REQUIRED,
        CERTIFICATE_REQUESTED,
        TLS13_ONLY,
        TLS12_ONLY,
        SMALL_SEGMENTS,
        NAMES,
        HURRIED,
        BULK,
        ONE_CHOICE,
        EXPOSED,
    ];

    /// The twin of `port`: the same rules, in directed mode.
    pub(crate) const fn directed(port: u16) -> u16 {
        port + 100
    }
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
    /// The servers behind the gateway, kept running.
    _backends: Vec<Backend>,
}

/// An image with a machine that can boot it.
pub(crate) struct Prepared {
    /// The machine.
    pub(crate) machine: Machine,
    material: Material,
    /// All files of this run.
    pub(crate) folder: PathBuf,
    backends: Vec<Backend>,
}

impl Prepared {
    /// Builds an image, for its bootable disc or for its files.
    pub(crate) fn build(name: &str, disc: bool) -> Result<Self> {
        Self::build_for(name, disc, "address = \"dhcp\"")
    }

    fn build_for(name: &str, disc: bool, network: &str) -> Result<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder)?;
        let material = Material::make(&folder.join("material"))?;
        let kinds = [Kind::Echo, Kind::Http, Kind::Bulk, Kind::Proxied];
        let backends = kinds
            .into_iter()
            .map(Backend::start)
            .collect::<Result<Vec<_>, _>>()?;
        let ports: Vec<u16> = backends.iter().map(Backend::port).collect();
        let file = folder.join("material/gateway.toml");
        fs::write(&file, configuration(network, &ports))?;
        let mut config = gateway_config::load(&file, OffsetDateTime::now_utc())
            .with_context(|| format!("checking {}", file.display()))?;
        config.audit = true;
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .canonicalize()?;
        let image = pack::build(&Options {
            workspace: workspace.clone(),
            out: folder.join("image"),
            system: None,
            configuration: Configuration::Release,
            provisions: config.provisions()?,
            features: Vec::new(),
            disc,
        })?;
        keep_programs(&workspace, &folder)?;
        let boot = match image.disc {
            Some(disc) => Boot::Disc(disc),
            None => Boot::Files {
                kernel: image.kernel,
                root: image.root,
            },
        };
        let mut machine = Machine::new(boot, &folder);
        // A socket's path must be short: from here, where QEMU starts too.
        let socket = folder.join("qmp");
        machine.qmp = Some(match socket.strip_prefix(&workspace) {
            Ok(inside) => Path::new("..").join(inside),
            Err(_) => socket,
        });
        machine.network = Network::User(
            config
                .listeners
                .iter()
                .map(|listener| Forward {
                    host: 0,
                    guest: listener.port,
                })
                .collect(),
        );
        Ok(Self {
            machine,
            material,
            folder,
            backends,
        })
    }

    /// Boots an image with a cable to the test in place of QEMU's user network.
    pub(crate) fn boot_on_wire(name: &str) -> Result<(Site, Wire)> {
        let network = format!("address = \"{GUEST}/24\"\ngateway = \"{HOST}\"");
        let mut prepared = Self::build_for(name, false, &network)?;
        let (wire, network) = Wire::lay(&prepared.folder)?;
        prepared.machine.network = network;
        Ok((prepared.boot()?, wire))
    }

    /// Boots it.
    pub(crate) fn boot(self) -> Result<Site> {
        Ok(Site {
            guest: self.machine.boot(BOOT_PATIENCE)?,
            material: self.material,
            folder: self.folder,
            memory_bytes: u64::from(self.machine.memory_mib) << 20,
            _backends: self.backends,
        })
    }
}

impl Site {
    /// The guest's memory at this moment.
    pub(crate) fn memory(&self) -> Memory {
        // One dump at a time: they share a file and QEMU's control socket.
        static DUMPING: Mutex<()> = Mutex::new(());
        let _dumping = DUMPING.lock().unwrap_or_else(PoisonError::into_inner);
        Memory::of(&self.guest, self.memory_bytes, &self.folder).unwrap()
    }
}

/// Copies the programs that were packed: another build may replace them.
fn keep_programs(workspace: &Path, folder: &Path) -> Result<()> {
    let built = workspace.join("target/guest/x86_64-unknown-linux-gnu/guest");
    for name in DOMAINS.into_iter().chain([ROOT]) {
        let from = built.join(name);
        fs::copy(&from, folder.join(name)).with_context(|| from.display().to_string())?;
    }
    Ok(())
}

/// The configuration under test.
fn configuration(network: &str, backends: &[u16]) -> String {
    let &[echo, http, bulk, proxied] = backends else {
        panic!("a backend for each kind");
    };
    let mut text = format!("[network]\n{network}\n\n");
    for label in super::material::SERVERS {
        let _ = write!(
            text,
            "[[keyring]]\nlabel = \"{label}\"\nchain = \"{label}-chain.pem\"\n\
             key = \"{label}-key.pem\"\ntrust = \"clients-ca.pem\"\n\n"
        );
    }
    let plain = "keyring = \"p256\"";
    let one_choice = "keyring = \"p256\", groups = [\"secp384r1\"], versions = [\"1.3\"], \
                      suites = [\"TLS_CHACHA20_POLY1305_SHA256\"]";
    let small = format!("{plain}, segment_size = {SMALL_SEGMENT}");
    let hurried = format!("{plain}, handshake_timeout_ms = {}", HURRY.as_millis());
    let required = format!("{plain}, client_auth = \"require\"");
    let requested = format!("{plain}, client_auth = \"request\"");
    let tls13 = format!("{plain}, versions = [\"1.3\"]");
    let tls12 = format!("{plain}, versions = [\"1.2\"]");
    let alpn = format!("{plain}, alpn = [\"http/1.1\"]");
    let names = "keyring = [\"p256\", \"alpha\", \"beta\"]";
    let exposed = format!("{plain}, expose_keys = true");
    let listeners: [(u16, &str, Option<u16>); 17] = [
        (port::STATUS, &alpn, None),
        (port::ECHO, plain, Some(echo)),
        (port::HTTP, &alpn, Some(http)),
        (port::RSA, "keyring = \"rsa2048\"", Some(http)),
        (port::ED25519, "keyring = \"ed25519\"", Some(http)),
        (port::P384, "keyring = \"p384\"", Some(http)),
        (port::CERTIFICATE_REQUIRED, &required, Some(http)),
        (port::CERTIFICATE_REQUESTED, &requested, Some(http)),
        (port::TLS13_ONLY, &tls13, Some(echo)),
        (port::TLS12_ONLY, &tls12, Some(echo)),
        (port::SMALL_SEGMENTS, &small, Some(echo)),
        (port::NAMES, names, Some(http)),
        (port::HURRIED, &hurried, Some(echo)),
        (port::BULK, plain, Some(bulk)),
        (port::ONE_CHOICE, one_choice, Some(http)),
        // The discard port: nobody listens there on this machine.
        (port::NO_BACKEND, plain, Some(9)),
        (port::EXPOSED, &exposed, Some(echo)),
    ];
    for (port, tls, backend) in listeners {
        let backend = match backend {
            Some(port) => format!("connect = \"10.0.2.2:{port}\""),
            None => "status = true".to_string(),
        };
        let modes = [(port, "autonomous"), (port::directed(port), "directed")];
        for (listen, mode) in modes {
            if mode == "directed" && !port::TWINS.contains(&port) {
                continue;
            }
            let _ = write!(
                text,
                "[[listener]]\nname = \"at-{listen}\"\nlisten = {listen}\n\
                 tls = {{ role = \"server\", mode = \"{mode}\", {tls} }}\n\
                 backend = {{ {backend} }}\n\n"
            );
        }
    }
    let _ = write!(
        text,
        "[[listener]]\nname = \"introduced\"\nlisten = {}\n\
         tls = {{ role = \"server\", {requested}, alpn = [\"x\"] }}\n\
         backend = {{ connect = \"10.0.2.2:{proxied}\", identity = \"proxy-v2\" }}\n\n",
        port::INTRODUCED
    );
    text
}
