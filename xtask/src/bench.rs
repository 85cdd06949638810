//! `cargo xtask bench`: builds the system of measurements, runs it, and shows the
//! results.

mod hostile;
mod system;
mod table;
mod timing;

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use gateway_config::Config;
use image::description::Restart;
use image::kernel::Configuration;
use image::load;
use image::pack::{self, Image, Options};
use image::plan::Provisions;
use image::workspace::DESCRIPTION;
use qemu::log::{self, Cursor, Next};
use qemu::{Boot, Machine};
use time::OffsetDateTime;

use crate::build;
use crate::screen::{Screen, print};
use crate::setup::{self, Need};

/// Of the machine that measures: its programs, with clients in them, are larger than the
/// shipped ones, which have to fit 128 MiB.
const MEMORY_MIB: u32 = 144;
/// How long a guest may say nothing.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long the shipped image may take to get ready.
const READY_PATIENCE: Duration = Duration::from_secs(120);
/// The gateway's domain in `image/system.toml`, and with the measuring program. That
/// program is the client's machine as well, and after each send it assumes that all other
/// domains have done their work: it has the lowest priority.
const GATEWAY: &str = "name = \"gateway\"\nsecrets = { trust = \"sessions\", what = \"plaintext of \
                       its own sessions\" }\npriority = 160\n";
const MEASURING: &str = "name = \"gateway\"\npackage = \"bench\"\npriority = 150\n";

/// Arguments of `bench`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write the figures there too, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Leave out what needs the shipped image: its size, boot to ready.
    #[arg(long)]
    guest_only: bool,
    /// Count what the key store takes for right and for wrong paddings of
    /// static RSA instead, and fail if they can be told apart.
    #[arg(long)]
    static_rsa: bool,
    /// Let honest clients be served beside each attack of the hostile suite instead,
    /// and fail if a limit is missed.
    #[arg(long, conflicts_with_all = ["guest_only", "static_rsa"])]
    hostile: bool,
    /// Count what a user pays on the booted image instead, with NIC, log, TCP and kernel,
    /// by a plugin of QEMU.
    #[arg(long, conflicts_with_all = ["guest_only", "static_rsa", "hostile"])]
    system: bool,
    /// With --system: count the same of nginx in a Linux guest beside it.
    #[arg(long, value_enum, requires = "system")]
    peer: Option<system::Peer>,
    /// With --system: write the figures into docs/performance.md, and draw its pictures.
    #[arg(long, requires = "peer")]
    write: bool,
    /// Be the backend of --system, at this address.
    #[arg(long, value_name = "ADDRESS", hide = true, exclusive = true)]
    serve: Option<Ipv4Addr>,
    /// This attack of the hostile suite alone; can be repeated.
    #[arg(long, value_name = "NAME", requires = "hostile")]
    attack: Vec<String>,
}

/// What was measured, by name.
pub(crate) type Figures = BTreeMap<String, f64>;

/// Measures, shows a table, and writes JSON.
pub(crate) fn bench(workspace: &Path, screen: &Screen, arguments: &Arguments) -> Result<()> {
    if let Some(address) = arguments.serve {
        return system::backend::serve_for_good(address);
    }
    if arguments.hostile {
        return hostile::run(
            workspace,
            screen,
            &arguments.attack,
            arguments.json.as_deref(),
        );
    }
    if arguments.system {
        return system::run(
            workspace,
            screen,
            arguments.peer,
            arguments.json.as_deref(),
            arguments.write,
        );
    }
    setup::ensure(screen, &[Need::Build, Need::Run])?;
    let folder = workspace.join("target/bench");
    fs::create_dir_all(&folder)?;
    screen.step("building the system of measurements");
    let mut features = vec!["netstack-server/loopback".to_string()];
    if arguments.static_rsa {
        features.push("bench/static-rsa".to_string());
    }
    let image = measuring_image(workspace, &folder, features)?;
    let mut machine = Machine::new(boot(&image), &folder);
    machine.counted = true;
    machine.memory_mib = MEMORY_MIB;
    let mut figures = screen.during("measuring", || measure(&machine))?;
    if arguments.static_rsa {
        return timing::judge(&figures);
    }
    memory(workspace, &mut figures)?;
    if !arguments.guest_only {
        shipped(workspace, screen, &folder, &mut figures)?;
    }
    table::derive(&mut figures);
    print(table::table(&figures));
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string_pretty(&rounded(&figures))? + "\n";
        fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// Makes the description of measurements: the shipped system with the measuring
/// program in the gateway's place, and two small domains more.
pub(crate) fn system(workspace: &Path) -> Result<PathBuf> {
    let shipped = fs::read_to_string(workspace.join(DESCRIPTION))?;
    ensure!(
        shipped.matches(GATEWAY).count() == 1,
        "image/system.toml: the gateway's domain does not begin with name and priority"
    );
    let more = fs::read_to_string(workspace.join("bench/system.toml"))?;
    let text = shipped.replace(GATEWAY, MEASURING) + "\n" + &more;
    let folder = workspace.join("target/bench");
    fs::create_dir_all(&folder)?;
    let file = folder.join("system.toml");
    // An unchanged file stays as old as it is: nothing is rebuilt.
    if !fs::read_to_string(&file).is_ok_and(|found| found == text) {
        fs::write(&file, text)?;
    }
    Ok(file)
}

/// The image of it, whose network leads back to itself.
fn measuring_image(workspace: &Path, folder: &Path, features: Vec<String>) -> Result<Image> {
    let system = system(workspace)?;
    let now = OffsetDateTime::now_utc();
    let config = gateway_config::load(&workspace.join("bench/gateway.toml"), now)?;
    pack::build(&Options {
        workspace: workspace.to_path_buf(),
        out: folder.join("image"),
        system: Some(system),
        memory_mib: None,
        without: Vec::new(),
        configuration: Configuration::Release,
        provisions: provisions(&config)?,
        features,
        disc: false,
        // The program that measures does not wait for work.
        restart: Some(Restart::default()),
        rekey_after: None,
    })
}

/// The measuring program gets the keys too, for rustls alone.
fn provisions(config: &Config) -> Result<Provisions> {
    let mut provisions = config.provisions()?;
    let both = (config.gateway(), &config.keyrings);
    provisions.insert("gateway-config".into(), postcard::to_allocvec(&both)?);
    Ok(provisions)
}

fn boot(image: &Image) -> Boot {
    Boot::Files {
        kernel: image.kernel.clone(),
        root: image.root.clone(),
    }
}

/// Runs the guest until it is done, and takes the figures that it prints.
fn measure(machine: &Machine) -> Result<Figures> {
    let mut guest = machine.start(PATIENCE)?;
    let mut cursor = Cursor::default();
    let mut figures = Figures::new();
    let mut before = Instant::now();
    loop {
        match guest.log().next(&mut cursor, Instant::now() + PATIENCE) {
            Next::Line(line) => {
                let text = log::text(&line);
                if text == "done" {
                    break;
                }
                if log::is_fault(&line) || text.starts_with("panic") {
                    bail!("{line}\n{}", guest.log().tail(20));
                }
                if let Some((name, value)) = figure(text) {
                    if name.starts_with("bulk_") {
                        let passed = before.elapsed().as_secs_f64();
                        figures.insert(format!("seconds_{name}"), passed);
                    }
                    before = Instant::now();
                    figures.insert(name.to_string(), value);
                }
            }
            Next::Silence => bail!(
                "the guest said nothing for {} s\n{}",
                PATIENCE.as_secs(),
                guest.log().tail(20)
            ),
            Next::End => return Err(guest.ended()),
        }
    }
    guest.stop();
    Ok(figures)
}

/// Reads `figure NAME NUMBER`.
fn figure(text: &str) -> Option<(&str, f64)> {
    let (name, value) = text.strip_prefix("figure ")?.split_once(' ')?;
    Some((name, value.parse().ok()?))
}

/// Memory that the description assigns: all of it is there from the start.
fn memory(workspace: &Path, figures: &mut Figures) -> Result<()> {
    let description = load::file(&workspace.join(DESCRIPTION))?;
    let mut add = |name: &str, bytes: u64| {
        figures.insert(name.to_string(), bytes as f64);
    };
    let domains = &description.domains;
    add("memory_heaps", domains.iter().map(|d| d.heap).sum());
    add("memory_stacks", domains.iter().map(|d| d.stack).sum());
    add(
        "memory_regions",
        description.regions.iter().map(|r| r.size).sum(),
    );
    let mut rings = 0;
    for channel in &description.channels {
        rings += channel.region_sizes().into_iter().sum::<u64>();
        add(
            &format!("rings_per_slot_{}", channel.name),
            channel.bytes_per_slot(),
        );
    }
    add("memory_rings", rings);
    Ok(())
}

/// Size of the demo's image, and how long it takes to boot.
fn shipped(workspace: &Path, screen: &Screen, folder: &Path, figures: &mut Figures) -> Result<()> {
    screen.step("building the shipped image");
    let chosen = build::configuration(workspace, None)?;
    let out = folder.join("shipped");
    let release = Configuration::Release;
    let image = build::pack(workspace, &out, &chosen.config, release, None, false)?;
    let mut size = 0;
    for part in [&image.kernel, &image.root] {
        size += fs::metadata(part)?.len();
    }
    figures.insert("image_bytes".into(), size as f64);
    let machine = Machine::new(boot(&image), &out);
    let started = Instant::now();
    let guest = screen.during("booting", || machine.boot(READY_PATIENCE))?;
    figures.insert(
        "boot_to_ready_seconds".into(),
        started.elapsed().as_secs_f64(),
    );
    guest.stop();
    Ok(())
}

fn rounded(figures: &Figures) -> Figures {
    let round = |value: &f64| (value * 1e4).round() / 1e4;
    figures.iter().map(|(n, v)| (n.clone(), round(v))).collect()
}

#[cfg(test)]
mod tests {
    use image::workspace;

    use super::*;

    #[test]
    fn a_figure_is_a_name_and_a_number() {
        assert_eq!(
            figure("figure whole_tls13_rsa 12"),
            Some(("whole_tls13_rsa", 12.0))
        );
        for other in ["ready", "figure", "figure x", "figure x y"] {
            assert_eq!(figure(other), None, "{other}");
        }
    }

    #[test]
    fn the_description_of_measurements_keeps_every_rule() {
        let shipped = fs::read_to_string(workspace::description().unwrap()).unwrap();
        let more = include_str!("../../bench/system.toml");
        let text = shipped.replace(GATEWAY, MEASURING) + "\n" + more;
        let parsed = load::text(&text).unwrap();
        let gateway = parsed.domains.iter().find(|d| d.name == "gateway").unwrap();
        assert_eq!(gateway.package.as_deref(), Some("bench"));
    }
}
