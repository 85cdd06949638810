//! The shipped image with the listeners that are measured, and its machine.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use image::code;
use image::kernel::Configuration;
use qemu::count::{Count, Counter, Page, fingerprint};
use qemu::{Boot, Forward, Guest, Machine, Network, tap};
use time::OffsetDateTime;

use super::backend;
use super::client::{Client, PORTS, Port};
use super::cost::{Cost, Owners, median};
use crate::bench::hostile::material::Material;
use crate::build;
use crate::screen::Screen;

const READY_PATIENCE: Duration = Duration::from_secs(120);
/// After the last operation: what it leaves is done then.
const SETTLED: Duration = Duration::from_millis(700);
/// How long an idle machine is counted.
const IDLE: Duration = Duration::from_secs(8);
/// Operations before those that are counted: heaps grow, caches and tickets are made.
const FIRST: u32 = 8;
/// How often each is counted; the median is what is told.
const ROUNDS: usize = 5;

/// What both systems have.
pub(super) struct Common {
    pub(super) folder: PathBuf,
    pub(super) material: Material,
    pub(super) backend: u16,
    pub(super) counter: Counter,
    network: Network,
}

impl Common {
    /// Certificates, the backend, the plugin; with QEMU's user network.
    pub(super) fn make(workspace: &Path) -> Result<Self> {
        let guest = PORTS.iter().map(|port| *port as u16);
        let network = Network::User(guest.map(|guest| Forward { host: 0, guest }).collect());
        Self::on(workspace, network, Ipv4Addr::LOCALHOST)
    }

    /// The same on a tap device, in this thread's network.
    pub(super) fn on_tap(workspace: &Path, network: Network) -> Result<Self> {
        Self::on(workspace, network, tap::HOST)
    }

    /// The same with the backend in a process of its own, which has as many files as this
    /// one has for clients.
    pub(super) fn apart_on_tap(workspace: &Path, network: Network) -> Result<Self> {
        let backend = backend::apart(tap::HOST).context("starting the backend")?;
        Ok(Self {
            backend,
            ..Self::on_tap(workspace, network)?
        })
    }

    fn on(workspace: &Path, network: Network, servers: Ipv4Addr) -> Result<Self> {
        let folder = workspace.join("target/bench/system");
        fs::create_dir_all(&folder)?;
        let material = Material::make(&folder)?;
        let backend = backend::start(servers).context("starting the backend")?;
        let counter = Counter::build(&qemu::program(), &folder)?;
        Ok(Self {
            folder,
            material,
            backend,
            counter,
            network,
        })
    }

    /// A machine that both systems get: 128 MiB, the default NIC, a count.
    pub(super) fn machine(&self, boot: Boot, name: &str) -> Machine {
        let mut machine = Machine::new(boot, &self.folder);
        machine.log = self.folder.join(format!("{name}.log"));
        machine.counter = Some(self.counter.clone());
        machine.network.clone_from(&self.network);
        machine
    }
}

/// A running machine whose instructions are counted.
pub(super) struct Running<'a> {
    guest: Guest,
    counter: &'a Counter,
    owners: Owners,
}

/// What was counted of one kind of operation.
pub(super) struct Counted {
    pub(super) cost: Cost,
    /// By what part of it the rounds differ.
    pub(super) spread: f64,
}

impl<'a> Running<'a> {
    pub(super) const fn new(guest: Guest, counter: &'a Counter, owners: Owners) -> Self {
        Self {
            guest,
            counter,
            owners,
        }
    }

    pub(super) fn address(&self, port: Port) -> Result<SocketAddr> {
        let address = self.guest.address(port as u16);
        address.context("a forward is lost")
    }

    /// Everything since the machine was started.
    pub(super) fn so_far(&self) -> Result<Cost> {
        Ok(Cost::of(&self.counter.read()?, &self.owners))
    }

    /// What a second costs in which nobody wants anything.
    pub(super) fn idle(&self) -> Result<Cost> {
        let (cost, passed) = self.during(|| {
            thread::sleep(IDLE);
            Ok(())
        })?;
        Ok(cost.times(1.0 / passed.as_secs_f64()))
    }

    /// What one operation costs; `idle` is what a second costs without any.
    pub(super) fn cost(
        &self,
        idle: &Cost,
        (count, first): (u32, u32),
        mut operation: impl FnMut() -> Result<bool>,
    ) -> Result<Counted> {
        for _ in 0..first {
            operation()?;
        }
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let (cost, passed) = self.during(|| {
                for _ in 0..count {
                    ensure!(operation()?, "a handshake is full that is to be resumed");
                }
                thread::sleep(SETTLED);
                Ok(())
            })?;
            let own = cost.less(&idle.times(passed.as_secs_f64()));
            rounds.push(own.times(1.0 / f64::from(count)));
        }
        let (cost, spread) = median(rounds).context("no rounds")?;
        Ok(Counted { cost, spread })
    }

    /// What a client's visit costs.
    pub(super) fn visits(&self, idle: &Cost, client: &Client, count: u32) -> Result<Counted> {
        let address = self.address(client.kind.port)?;
        self.cost(idle, (count, FIRST), || client.visit(address))
    }

    fn during(&self, work: impl FnOnce() -> Result<()>) -> Result<(Cost, Duration)> {
        let started = Instant::now();
        let before: Count = self.counter.read()?;
        work()?;
        let after = self.counter.read()?;
        let passed = started.elapsed();
        Ok((Cost::of(&after.since(&before), &self.owners), passed))
    }

    pub(super) fn stop(self) {
        self.guest.stop();
    }
}

/// Builds the image with the listeners and boots it.
pub(super) fn boot<'a>(
    workspace: &Path,
    screen: &Screen,
    common: &'a Common,
    memory_mib: Option<u32>,
) -> Result<Running<'a>> {
    screen.step("building the shipped image with the listeners that are measured");
    let file = common.folder.join("gateway.toml");
    let address = match common.network {
        Network::Tap { .. } => format!(
            "address = \"{}/{}\"\ngateway = \"{}\"",
            tap::GUEST,
            tap::PREFIX,
            tap::HOST
        ),
        _ => "address = \"dhcp\"".to_string(),
    };
    fs::write(&file, configuration(&address, common.backend))?;
    let config = gateway_config::load(&file, OffsetDateTime::now_utc())?;
    let out = common.folder.join("image");
    let image = build::pack(
        workspace,
        &out,
        &config,
        Configuration::Release,
        memory_mib,
        false,
    )?;
    let owners = owners(&image.root)?;
    let boot = Boot::Files {
        kernel: image.kernel,
        root: image.root,
    };
    let mut machine = common.machine(boot, "handoff");
    machine.memory_mib = memory_mib.unwrap_or(machine.memory_mib);
    let guest = screen.during("booting", || machine.boot(READY_PATIENCE))?;
    Ok(Running::new(guest, &common.counter, owners))
}

/// Whose the pages of the image are.
fn owners(root: &Path) -> Result<Owners> {
    let bytes = fs::read(root).with_context(|| root.display().to_string())?;
    let mut owners = Owners::default();
    code::pages(&bytes, |owner, address, page| {
        let fingerprint = fingerprint(page);
        let page = Page {
            address,
            fingerprint,
        };
        owners.add(owner, page);
    })?;
    Ok(owners)
}

fn configuration(address: &str, backend: u16) -> String {
    let mut text = format!(
        "[network]\n{address}\n\n[[keyring]]\nlabel = \"web\"\n\
         chain = \"web-chain.pem\"\nkey = \"web-key.pem\"\n"
    );
    let proxied = format!("backend = {{ connect = \"10.0.2.2:{backend}\" }}");
    // One host is all clients.
    let limits = "limits = { connections = 65535, handshakes = 65535, sessions = 65535 }";
    for port in PORTS {
        let (name, mode, backend) = match port {
            Port::Proxied => ("proxied", "autonomous", proxied.as_str()),
            Port::Directed => ("directed", "directed", proxied.as_str()),
            Port::Status => ("status", "autonomous", "backend = { status = true }"),
        };
        text += &format!(
            "\n[[listener]]\nname = \"{name}\"\nlisten = {}\n\
             tls = {{ role = \"server\", keyring = \"web\", mode = \"{mode}\", \
             alpn = [\"http/1.1\"] }}\n{backend}\n{limits}\n",
            port as u16
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_accepted() {
        let folder = image::workspace::scratch("bench-system").unwrap();
        Material::make(&folder).unwrap();
        let file = folder.join("gateway.toml");
        fs::write(&file, configuration("address = \"dhcp\"", 8080)).unwrap();
        let config = gateway_config::load(&file, OffsetDateTime::now_utc()).unwrap();
        assert_eq!(config.listeners.len(), PORTS.len());
    }
}
