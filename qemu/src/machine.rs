//! What to start: image, memory, network, files.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use image::workspace;

use crate::count::Counter;
use crate::guest::Guest;
use crate::network::Network;

/// QEMU's machine type: the one with an I/O memory management unit to be had.
pub const MACHINE_TYPE: &str = "q35";

/// The processor: everything but nested virtualisation, which the kernel does
/// not expect.
const PROCESSOR: &str = "max,-vmx";
/// What QEMU says when a host port is taken.
const PORT_TAKEN: &str = "Could not set up host forwarding rule";
/// How often ports for a forward are picked again when another program takes them first.
const PICKS: u32 = 5;

/// What the machine boots from.
#[derive(Clone, Debug)]
pub enum Boot {
    /// Kernel and root task, by QEMU's own multiboot loader.
    Files {
        /// `kernel.elf`.
        kernel: PathBuf,
        /// `root.elf`.
        root: PathBuf,
    },
    /// The bootable disc, by its boot loader.
    Disc(PathBuf),
}

/// Who executes the guest's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU's translator: everywhere the same, and slow.
    #[default]
    Tcg,
    /// The processor itself, through `/dev/kvm`.
    Kvm,
}

/// What the machine's network ends in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nic {
    /// A virtio NIC of version 1.0 or later, for which there is a driver.
    #[default]
    Modern,
    /// One that can be used as a legacy one too.
    Transitional,
    /// The first behind three bridges: a root port, and the two ports of a switch.
    Bridged,
    /// Intel's 82540EM.
    E1000,
    /// Nothing.
    Absent,
}

/// Those before [`Nic::Bridged`], at places where each turns the interrupt's pin.
const BRIDGES: [&str; 3] = [
    "pcie-root-port,id=root,chassis=1,addr=05.0",
    "x3130-upstream,id=up,bus=root",
    "xio3130-downstream,id=down,bus=up,chassis=2,slot=1,addr=03.0",
];

/// What gives the machine's virtio-rng its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Entropy {
    /// There is no virtio-rng.
    Absent,
    /// The host's kernel.
    #[default]
    Host,
    /// A file or a device.
    File(PathBuf),
    /// No peer: it never answers.
    Nobody,
}

/// A machine that can be started.
#[derive(Clone, Debug)]
pub struct Machine {
    /// QEMU's program.
    pub program: PathBuf,
    /// What it boots from.
    pub boot: Boot,
    /// What the kernel is told, if it boots from files.
    pub command_line: Option<String>,
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// Its network.
    pub network: Network,
    /// Who executes.
    pub accelerator: Accelerator,
    /// Count instructions: one tick of the guest's clock for each, the same in
    /// every run.
    pub counted: bool,
    /// Counts instructions from outside, whatever the guest's clock says.
    pub counter: Option<Counter>,
    /// The NIC's accesses to memory go through an IOMMU.
    pub iommu: bool,
    /// The machine's generation, a GUID or `auto` for one of its own; without it the
    /// machine reports none. A machine that resumes another's state with another
    /// generation notifies the guest.
    pub generation: Option<String>,
    /// Its source of entropy beside the processor.
    pub entropy: Entropy,
    /// What its real-time clock starts with, as QEMU's `-rtc base=` wants it; without
    /// it the host's time, UTC.
    pub date: Option<String>,
    /// Its NIC.
    pub nic: Nic,
    /// It has an HPET.
    pub timer: bool,
    /// It has a virtio console, for the log.
    pub console: bool,
    /// What its serial port prints is in the log too.
    pub serial: bool,
    /// Features of the processor that it does not have, as QEMU names them.
    pub lacks: Vec<String>,
    /// Gets what the guest prints.
    pub log: PathBuf,
    /// Bytes after which that file is renamed and begun again.
    pub log_bytes: u64,
    /// Gets what goes over the NIC, as a pcap file that its owner alone can
    /// read: connections to backends are in it in plaintext.
    pub capture: Option<PathBuf>,
    /// Where QEMU's control socket is made.
    pub qmp: Option<PathBuf>,
    /// The key-encryption key of sealed key rings, 32 bytes, for the key store.
    pub key: Option<PathBuf>,
    /// Where QEMU makes a socket that leads to the key store's serial line.
    pub line: Option<PathBuf>,
    /// A running machine's state, as [`Guest::save`] wrote it, to go on from in
    /// place of a boot.
    pub resumes: Option<PathBuf>,
}

/// The emulator that is installed, or the one that `cargo xtask setup` has unpacked in
/// this checkout.
pub fn program() -> PathBuf {
    /// Of Debian's package `qemu-system-x86`.
    const NAME: &str = "qemu-system-x86_64";
    // If there is neither, starting it says so.
    workspace::program(NAME).unwrap_or_else(|| NAME.into())
}

impl Machine {
    /// A machine of 128 MiB without forwards, whose log is `serial.log` in
    /// `folder`. No packet is captured unless [`Machine::capture`] says where.
    pub fn new(boot: Boot, folder: &Path) -> Self {
        Self {
            program: program(),
            boot,
            command_line: None,
            memory_mib: 128,
            network: Network::User(Vec::new()),
            accelerator: Accelerator::default(),
            counted: false,
            counter: None,
            iommu: true,
            generation: Some("auto".into()),
            entropy: Entropy::default(),
            date: None,
            nic: Nic::default(),
            timer: true,
            console: true,
            serial: true,
            lacks: Vec::new(),
            log: folder.join("serial.log"),
            log_bytes: u64::MAX,
            capture: None,
            qmp: None,
            key: None,
            line: None,
            resumes: None,
        }
    }

    /// Starts the machine and waits until the guest says that it is ready.
    ///
    /// # Errors
    /// QEMU can't be started, ends (with what it said), or the guest is not
    /// ready after `patience` (with the last lines of its log).
    pub fn boot(&self, patience: Duration) -> Result<Guest> {
        let guest = self.start_with(|guest| guest.wait_ready(patience))?;
        Ok(guest)
    }

    /// Starts the machine, and waits until the guest's first line or QEMU's end.
    ///
    /// # Errors
    /// QEMU can't be started, ends, or the guest prints nothing in `patience`.
    pub fn start(&self, patience: Duration) -> Result<Guest> {
        self.start_with(|guest| guest.wait_line(patience, |_| true).map(drop))
    }

    /// Starts the machine from its state in [`Machine::resumes`].
    ///
    /// # Errors
    /// QEMU can't be started, or does not run within `patience`.
    pub fn resume(&self, patience: Duration) -> Result<Guest> {
        self.start_with(|guest| guest.wait_running(patience))
    }

    fn start_with(&self, wait: impl Fn(&mut Guest) -> Result<()>) -> Result<Guest> {
        for pick in 1.. {
            let (machine, picked) = self.with_ports()?;
            let mut guest = Guest::start(&machine)?;
            match wait(&mut guest) {
                Ok(()) => return Ok(guest),
                Err(_) if picked && pick < PICKS && guest.complaint().contains(PORT_TAKEN) => {}
                Err(error) if guest.complaint().contains(PORT_TAKEN) => {
                    return Err(error.context("a port of the host is in use; name another"));
                }
                Err(error) => return Err(error),
            }
        }
        bail!("no free port")
    }

    /// This machine with free ports for the forwards that left it open, and
    /// whether there were any.
    fn with_ports(&self) -> Result<(Self, bool)> {
        let mut machine = self.clone();
        let mut picked = false;
        if let Network::User(forwards) = &mut machine.network {
            // Held until all are picked, so that no port is picked twice.
            let mut held = Vec::new();
            for forward in forwards.iter_mut().filter(|f| f.host == 0) {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                    .context("looking for a free port")?;
                forward.host = listener.local_addr()?.port();
                held.push(listener);
                picked = true;
            }
        }
        Ok((machine, picked))
    }

    /// QEMU's arguments.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut list: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| list.extend(words.iter().map(OsString::from));
        add(&["-nodefaults", "-no-user-config", "-no-reboot"]);
        let lacks = self.lacks.iter().map(|feature| format!(",-{feature}"));
        let processor = format!("{PROCESSOR}{}", lacks.collect::<String>());
        let timer = if self.timer { "" } else { ",hpet=off" };
        let machine = format!("{MACHINE_TYPE}{timer}");
        add(&["-machine", &machine, "-cpu", &processor, "-accel"]);
        add(&[match self.accelerator {
            Accelerator::Tcg => "tcg",
            Accelerator::Kvm => "kvm",
        }]);
        add(&["-m", &format!("{}M", self.memory_mib)]);
        add(&["-display", "none", "-monitor", "none"]);
        // The console, where there is one, and the serial port end in one log.
        add(&["-chardev", "stdio,id=serial,signal=off,mux=on"]);
        let serial = if self.serial {
            "chardev:serial"
        } else {
            "null"
        };
        add(&["-serial", serial]);
        if let Some(socket) = &self.line {
            let socket = escaped(socket);
            let line = format!("socket,id=line,path={socket},server=on,wait=off");
            add(&["-chardev", &line, "-serial", "chardev:line"]);
        }
        if let Some(generation) = &self.generation {
            add(&["-device", &format!("vmgenid,guid={generation}")]);
        }
        if let Some(file) = &self.key {
            let name = ipc::provision::KEK_FILE;
            add(&["-fw_cfg", &format!("name={name},file={}", escaped(file))]);
        }
        if self.counted {
            add(&[
                "-icount",
                "shift=0,sleep=off",
                "-seed",
                "1",
                "-rtc",
                "clock=vm",
            ]);
        }
        if let Some(counter) = &self.counter {
            add(&counter.arguments().each_ref().map(String::as_str));
        }
        if let Some(date) = &self.date {
            add(&["-rtc", &format!("base={date}")]);
        }
        if self.iommu {
            // Before the NIC, which asks for it.
            add(&["-device", "intel-iommu,intremap=off"]);
        }
        add(&["-netdev", &self.network.netdev()]);
        let confined = if self.iommu { ",iommu_platform=on" } else { "" };
        if self.nic == Nic::Bridged {
            for bridge in BRIDGES {
                add(&["-device", bridge]);
            }
        }
        let nic = match self.nic {
            Nic::Modern => Some(format!("virtio-net-pci,disable-legacy=on{confined}")),
            Nic::Bridged => Some(format!(
                "virtio-net-pci,disable-legacy=on,bus=down{confined}"
            )),
            Nic::Transitional => {
                Some("virtio-net-pci,disable-legacy=off,disable-modern=off".into())
            }
            Nic::E1000 => Some("e1000".into()),
            Nic::Absent => None,
        };
        if let Some(nic) = nic {
            add(&["-device", &format!("{nic},netdev=net,romfile=")]);
        }
        let backend: &[&str] = match &self.entropy {
            Entropy::Absent => &[],
            Entropy::Host => &["-object", "rng-builtin,id=rng"],
            Entropy::File(file) => &[
                "-object",
                &format!("rng-random,id=rng,filename={}", escaped(file)),
            ],
            Entropy::Nobody => &[
                "-chardev",
                "null,id=nobody",
                "-object",
                "rng-egd,id=rng,chardev=nobody",
            ],
        };
        if !backend.is_empty() {
            let device = format!("virtio-rng-pci,rng=rng,disable-legacy=on{confined}");
            add(backend);
            add(&["-device", &device]);
        }
        if self.console {
            let bus = format!("virtio-serial-pci,max_ports=1,disable-legacy=on{confined}");
            add(&["-device", &bus, "-device", "virtconsole,chardev=serial"]);
        }
        if let Some(file) = &self.capture {
            let file = escaped(file);
            add(&["-object"]);
            add(&[&format!("filter-dump,id=dump,netdev=net,file={file}")]);
        }
        if let Some(socket) = &self.qmp {
            let socket = escaped(socket);
            add(&["-qmp", &format!("unix:{socket},server=on,wait=off")]);
        }
        if let Some(state) = &self.resumes {
            add(&["-incoming", &format!("exec:cat '{}'", state.display())]);
        }
        match &self.boot {
            Boot::Files { kernel, root } => {
                list.extend(["-kernel".into(), kernel.into()]);
                list.extend(["-initrd".into(), escaped(root).into()]);
                if let Some(words) = &self.command_line {
                    list.extend(["-append".into(), words.into()]);
                }
            }
            Boot::Disc(disc) => {
                list.extend(["-boot".into(), "d".into(), "-cdrom".into(), disc.into()]);
            }
        }
        list
    }
}

/// A path inside an option with commas.
pub(crate) fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Forward;

    fn machine() -> Machine {
        let boot = Boot::Files {
            kernel: "k".into(),
            root: "r".into(),
        };
        Machine::new(boot, Path::new("out,put"))
    }

    fn line(machine: &Machine) -> String {
        let words = machine.arguments();
        let words: Vec<_> = words.iter().map(|w| w.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn forwards_are_on_loopback_alone() {
        let mut machine = machine();
        machine.network = Network::User(vec![Forward { host: 1, guest: 2 }]);
        assert!(line(&machine).contains(",hostfwd=tcp:127.0.0.1:1-:2 "));
    }

    #[test]
    fn a_tap_device_is_used_as_it_is_and_leads_to_the_guest() {
        let mut machine = machine();
        machine.network = Network::Tap {
            name: "tap7".into(),
            guest: None,
        };
        let line = line(&machine);
        assert!(line.contains(" tap,id=net,ifname=tap7,script=no,downscript=no "));
    }

    #[test]
    fn a_comma_in_a_path_is_doubled() {
        let mut machine = machine();
        machine.capture = Some("out,put/network.pcap".into());
        assert!(line(&machine).contains("file=out,,put/network.pcap"));
    }

    #[test]
    fn nothing_is_captured_unless_asked_for() {
        assert!(!line(&machine()).contains("filter-dump"));
    }

    #[test]
    fn counting_fixes_the_seed_too() {
        let mut machine = machine();
        assert!(!line(&machine).contains("-icount"));
        machine.counted = true;
        assert!(line(&machine).contains("-icount shift=0,sleep=off -seed 1"));
    }

    #[test]
    fn ports_left_open_are_picked_and_differ() {
        let mut machine = machine();
        let open = |guest| Forward { host: 0, guest };
        machine.network = Network::User(vec![open(1), open(2)]);
        let (machine, picked) = machine.with_ports().unwrap();
        let Network::User(forwards) = machine.network else {
            panic!("another network");
        };
        assert!(picked);
        assert_ne!(forwards[0].host, 0);
        assert_ne!(forwards[0].host, forwards[1].host);
    }
}
