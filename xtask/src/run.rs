//! `cargo xtask run`.

mod net;
mod place;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;
use gateway_config::Config;
use image::kernel::Configuration;
use ipc::provision::Backend;
use qemu::log::{self, Next};
use qemu::{Accelerator, Boot, Forward, Guest, Machine};

use crate::build::{self, Chosen};
use crate::screen::Screen;
use crate::setup::{self, Need};
use net::Net;
use place::Place;

/// How long the guest may take to get ready. Slow machines without KVM need
/// some ten seconds.
const READY_PATIENCE: Duration = Duration::from_secs(120);
/// The file of the log is renamed when it has so many.
const LOG_BYTES: u64 = 64 << 20;
/// How often a quiet guest is looked after.
const TICK: Duration = Duration::from_secs(3600);
/// Added to a well-known port to get a port that anybody may listen on.
const UNPRIVILEGED: u16 = 8000;

/// What the guest's processor must have, as Linux names it.
const PROCESSOR: [&str; 2] = ["fsgsbase", "rdrand"];

/// Arguments of `run`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The configuration; without it, a demo with a certificate of its own.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A port of this machine, on 127.0.0.1, that leads to a port of the
    /// guest; can be repeated. Without it, each listener gets one: 443 is 8443.
    #[arg(long, value_name = "HOST:GUEST")]
    forward: Vec<Forward>,
    /// What the guest's NIC is plugged into: user, QEMU's network behind 127.0.0.1; or a tap
    /// device of this machine, for a bridge.
    #[arg(long, value_name = "user|tap:NAME", default_value = "user")]
    net: Net,
    /// Guest memory in MiB. More than 128 makes room for more sessions; what is built then is
    /// for that memory.
    #[arg(long, value_name = "MIB", default_value_t = build::MEMORY, value_parser = build::memory())]
    memory: u32,
    /// Folder for serial.log; without it target/run, or target/run-2 for a second run beside
    /// the first. network.pcap is there too, if there is to be one.
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
    /// Keep the NIC's traffic in network.pcap. It is not encrypted
    /// between gateway and backends, unless they are reached by TLS.
    #[arg(long)]
    capture: bool,
    /// Collect one line for each segment of directed handshakes there.
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
    /// Make QEMU's control socket there.
    #[arg(long, value_name = "SOCKET")]
    qmp: Option<PathBuf>,
    /// Seal the key rings: a file with a passphrase in its first line.
    #[arg(long, value_name = "FILE")]
    seal: Option<PathBuf>,
    /// Who executes the guest's instructions.
    #[arg(long, value_enum, default_value_t = Accel::Tcg)]
    accel: Accel,
    /// Boot the bootable disc instead of kernel and root task.
    #[arg(long)]
    iso: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Accel {
    /// QEMU's translator.
    Tcg,
    /// The processor, through /dev/kvm.
    Kvm,
}

/// The arguments don't fit the configuration.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Builds, boots, and tells of each handshake until the guest or the person
/// ends it.
pub(crate) fn run(workspace: &Path, screen: &Screen, arguments: &Arguments) -> Result<()> {
    let mut chosen = build::configuration(workspace, arguments.config.as_deref())?;
    chosen.config.audit = arguments.audit.is_some();
    chosen.config.kek = build::seal(screen, arguments.seal.as_deref())?;
    arguments.net.refuse_unfit(&arguments.forward)?;
    let forwards = match arguments.net {
        Net::User => forwards(&arguments.forward, &ports(&chosen.config))?,
        Net::Tap(_) => Vec::new(),
    };
    // Before anything is built.
    refuse_taken(&forwards)?;
    if let Some(socket) = &arguments.qmp {
        place::refuse_answered("--qmp", socket)?;
    }
    if matches!(arguments.accel, Accel::Kvm) {
        // Where it can't be read, it is tried.
        refuse_processor(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default())?;
    }
    let own = Place::first_free(&workspace.join("target/run"))?;
    let logs = match &arguments.log_dir {
        // It is this run's own then.
        Some(folder) if own.is(folder) => None,
        Some(folder) => Some(Place::of("--log-dir", folder)?),
        None => None,
    };
    let mut audit = match &arguments.audit {
        Some(file) => Some(place::own_file("--audit", file)?),
        None => None,
    };
    let mut needs = vec![Need::Build, Need::Run];
    needs.extend(arguments.iso.then_some(Need::Disc));
    setup::ensure(screen, &needs)?;
    screen.step("building kernel and image");
    let folder = &own.folder;
    let image = build::pack(
        workspace,
        &folder.join("image"),
        &chosen.config,
        Configuration::Release,
        build::larger(arguments.memory),
        arguments.iso,
    )?;
    refuse_small(arguments.memory, image.memory_mib)?;
    screen.note(&format!(
        "{} MiB hold {} sessions at once",
        arguments.memory, image.sessions
    ));
    let boot = match image.disc {
        Some(disc) => Boot::Disc(disc),
        None => Boot::Files {
            kernel: image.kernel,
            root: image.root,
        },
    };
    let logs = logs.as_ref().map_or(folder, |logs| &logs.folder);
    let mut machine = Machine::new(boot, logs);
    machine.log_bytes = LOG_BYTES;
    machine.capture = arguments.capture.then(|| logs.join("network.pcap"));
    machine.memory_mib = arguments.memory;
    machine.key = build::write_key(&chosen.config, folder)?;
    let line = folder.join("rotation.socket");
    machine.line = chosen.config.signer.map(|_| line);
    machine.network = arguments.net.network(&forwards, &chosen.config);
    machine.qmp.clone_from(&arguments.qmp);
    machine.accelerator = match arguments.accel {
        Accel::Tcg => Accelerator::Tcg,
        Accel::Kvm => Accelerator::Kvm,
    };
    let mut guest = screen.during("booting", || machine.boot(READY_PATIENCE))?;
    if let Some(file) = &machine.key {
        // It was read; a rotation needs it, and writes it again.
        screen.note(&format!("{} opens the key rings", file.display()));
    }
    if let Some(line) = &machine.line {
        let line = line.display();
        screen.note(&format!("new key rings: cargo xtask rotate --line {line}"));
    }
    let reached = match arguments.net {
        Net::User => forwards.iter().map(|forward| forward.guest).collect(),
        Net::Tap(_) => ports(&chosen.config),
    };
    greet(&chosen, &reached, &guest)?;
    follow(screen, &mut guest, audit.as_mut())
}

/// The ports with a listener.
fn ports(config: &Config) -> Vec<u16> {
    let listeners = config.listeners.iter().map(|listener| listener.port);
    let others = config.applications.iter();
    listeners
        .chain(others.flat_map(|application| application.listen.clone()))
        .collect()
}

/// The forwards that were asked for, or one for each port that somebody listens on.
fn forwards(asked: &[Forward], ports: &[u16]) -> Result<Vec<Forward>, Refused> {
    if asked.is_empty() {
        let forward = |port: &u16| Forward {
            host: unprivileged(*port),
            guest: *port,
        };
        return Ok(ports.iter().map(forward).collect());
    }
    for forward in asked {
        if !ports.contains(&forward.guest) {
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            return Err(Refused(format!(
                "--forward {}:{}: nobody listens on port {} (ports: {})",
                forward.host,
                forward.guest,
                forward.guest,
                ports.join(", ")
            )));
        }
    }
    Ok(asked.to_vec())
}

/// Refuses a machine with less memory than the image needs.
fn refuse_small(memory: u32, needed: u32) -> Result<(), Refused> {
    match memory < needed {
        true => Err(Refused(format!(
            "--memory {memory}: the image needs {needed} MiB, the machine has {memory}\n  \
             write --memory {needed}, or more"
        ))),
        false => Ok(()),
    }
}

/// Refuses a processor on which the guest's kernel would halt.
fn refuse_processor(cpuinfo: &str) -> Result<(), Refused> {
    let mut lines = cpuinfo.lines();
    let flags = lines.find_map(|line| line.strip_prefix("flags")?.split_once(": "));
    // Not told: it is tried.
    let Some((_, flags)) = flags else {
        return Ok(());
    };
    let is_missing = |feature: &&&str| !flags.split(' ').any(|flag| flag == **feature);
    let missing: Vec<&str> = PROCESSOR.iter().filter(is_missing).copied().collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Refused(format!(
            "--accel kvm: this processor has no {}\n  write --accel tcg, or use another machine \
             (docs/machines.md)",
            missing.join(", ")
        ))),
    }
}

/// Refuses a port of this machine on which nothing can listen.
fn refuse_taken(forwards: &[Forward]) -> Result<(), Refused> {
    for forward in forwards {
        let port = forward.host;
        if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            let reason = match error.kind() {
                io::ErrorKind::AddrInUse => "another program listens there".to_string(),
                _ => error.to_string(),
            };
            return Err(Refused(format!(
                "port {port} of this machine can't lead to port {}: {reason}\n  end that \
                 program, or name a port for each: --forward HOST:{} …",
                forward.guest, forward.guest
            )));
        }
    }
    Ok(())
}

const fn unprivileged(port: u16) -> u16 {
    if port < 1024 {
        port + UNPRIVILEGED
    } else {
        port
    }
}

/// Tells how to reach the gateway's `ports`.
fn greet(chosen: &Chosen, ports: &[u16], guest: &Guest) -> Result<()> {
    let mut out = io::stdout().lock();
    let proof = guest.log().find(log::Cursor::default(), TICK, |line| {
        line.starts_with("policy: ") && line.ends_with(" others")
    });
    if let Some(line) = proof {
        writeln!(out, "{line}")?;
    }
    for (index, guest_port) in ports.iter().enumerate() {
        let (host, port) = match guest.address(*guest_port) {
            Some(address) => (address.ip().to_string(), address.port()),
            // Who gave it knows.
            None => ("ADDRESS".to_string(), *guest_port),
        };
        let listener = chosen
            .config
            .listeners
            .iter()
            .find(|listener| listener.port == *guest_port);
        if index == 0 {
            writeln!(out, "ready https://{host}:{port}/")?;
            // The certificate has a name, not an address.
            let there = match host == Ipv4Addr::LOCALHOST.to_string() {
                true => String::new(),
                false => format!("--connect-to ::{host}: "),
            };
            let (file, note) = match &chosen.authority {
                Some(file) => (file.display().to_string(), ""),
                None => ("FILE".to_string(), "   (FILE: who issued your chain)"),
            };
            writeln!(
                out,
                "curl --cacert {file} {there}https://localhost:{port}/{note}"
            )?;
        } else {
            writeln!(out, "also https://{host}:{port}/")?;
        }
        if let Some(listener) = listener {
            let backend = match &listener.backend {
                Backend::Connect(upstream) => format!("forwards to {}", upstream.address.0),
                Backend::Status => "shows the status page".to_string(),
            };
            writeln!(out, "  listener {} {backend}", listener.name)?;
        }
        let mut others = chosen.config.applications.iter();
        if let Some(other) = others.find(|other| other.listen.contains(guest_port)) {
            writeln!(out, "  application with client number {}", other.client)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Lines that are written somewhere, and whether that fails at the moment.
struct Told {
    place: &'static str,
    lost: u64,
}

impl Told {
    const fn new(place: &'static str) -> Self {
        Self { place, lost: 0 }
    }

    /// Tells when it begins to fail, and when that is over.
    fn note(&mut self, screen: &Screen, written: io::Result<()>) {
        match (written, self.lost) {
            (Err(error), lost) => {
                self.lost += 1;
                if lost == 0 {
                    screen.failure(&format!("{}: can't be written: {error}", self.place));
                }
            }
            (Ok(()), 0) => {}
            (Ok(()), lost) => {
                self.lost = 0;
                screen.failure(&format!("{}: {lost} lines are lost", self.place));
            }
        }
    }
}

/// One line for each session and each handshake of the log, and whatever stops a domain.
fn follow(screen: &Screen, guest: &mut Guest, mut audit: Option<&mut File>) -> Result<()> {
    screen.note(&format!(
        "the guest's log is {}; Ctrl-C ends it",
        guest.log_file().display()
    ));
    let mut cursor = log::Cursor::default();
    // A full disk, or a reader that is gone, ends no machine.
    let mut shown = Told::new("standard output");
    let mut kept = Told::new("the audit log");
    loop {
        match guest.log().next(&mut cursor, Instant::now() + TICK) {
            Next::Line(line) => {
                if let Some(handshake) = log::handshake(&line) {
                    let written = writeln!(io::stdout().lock(), "handshake {handshake}");
                    shown.note(screen, written);
                } else if let Some(session) = log::session(&line) {
                    let written = writeln!(io::stdout().lock(), "session ended {session}");
                    shown.note(screen, written);
                } else if let (Some(segment), Some(file)) = (log::audit(&line), &mut audit) {
                    kept.note(screen, writeln!(file, "{segment}"));
                } else if log::is_end(&line) {
                    return Err(guest.stopped(&line));
                } else if log::is_fault(&line) || log::text(&line).starts_with("panic") {
                    screen.failure(&line);
                }
            }
            Next::Silence => {}
            Next::End => return Err(guest.ended()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_ports_get_one_that_anybody_may_listen_on() {
        assert_eq!(unprivileged(443), 8443);
        assert_eq!(unprivileged(8443), 8443);
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let host = other.local_addr().unwrap().port();
        let refused = refuse_taken(&[Forward { host, guest: 443 }]).unwrap_err();
        let reason = format!("port {host} of this machine can't lead to port 443: another");
        assert!(refused.to_string().starts_with(&reason), "{refused}");
        drop(other);
        refuse_taken(&[Forward { host, guest: 443 }]).unwrap();
    }

    #[test]
    fn a_machine_that_is_too_small_is_refused_with_what_is_needed() {
        let refused = refuse_small(64, 120).unwrap_err().to_string();
        assert!(refused.contains("the image needs 120 MiB, the machine has 64"));
        refuse_small(120, 120).unwrap();
    }

    #[test]
    fn a_processor_on_which_the_kernel_would_halt_is_refused_by_what_it_lacks() {
        let told = |flags: &str| format!("model name\t: x\nflags\t\t: {flags}\nbugs\t: y\n");
        refuse_processor(&told("fpu rdrand fsgsbase")).unwrap();
        refuse_processor("nothing of the kind").unwrap();
        let refused = refuse_processor(&told("fpu rdrandom")).unwrap_err();
        let reason = "this processor has no fsgsbase, rdrand\n";
        assert!(refused.to_string().contains(reason), "{refused}");
    }

    #[test]
    fn a_forward_to_a_port_without_listener_is_refused() {
        let forward = Forward {
            host: 8443,
            guest: 443,
        };
        let refused = forwards(&[forward], &[]).unwrap_err();
        assert!(refused.to_string().contains("nobody listens on port 443"));
    }
}
