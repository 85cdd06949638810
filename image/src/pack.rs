//! The finished image: kernel, root task with everything appended to it, a bootable
//! disc, and a list of the parts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ipc::boot::PAGE;
use serde_json::json;

use crate::bill::{self, Crate};
use crate::check::check;
use crate::command::Step;
use crate::description::{Purpose, Restart};
use crate::elf::{Program, write_with_segment};
use crate::figures;
use crate::graph;
use crate::guest::{self, ROOT, Request};
use crate::kernel::{self, Configuration};
use crate::layout::layout;
use crate::left_out;
use crate::load;
use crate::memory;
use crate::plan::{self, Provisions};
use crate::policy;
use crate::workspace;

/// The moment that the disc's files carry: bytes must not depend on the time.
const DISC_DATE: &str = "2026010100000000";
const DISC_EPOCH: &str = "1767225600";
/// GRUB for machines with a BIOS, as Debian's `grub-pc-bin` installs it.
const GRUB: &str = "/usr/lib/grub/i386-pc";

/// The boot-time data that the builder makes itself unless it is supplied.
const PICTURE: &str = "capability-graph";

/// What the disc's boot loader does.
const BOOT_MENU: &str = "set timeout=0\nset default=0\nmenuentry \"Handoff\" {\n  multiboot /boot/kernel.elf\n  module /boot/root.elf\n  boot\n}\n";

/// What to make.
#[derive(Clone, Debug)]
pub struct Options {
    /// The workspace's folder.
    pub workspace: PathBuf,
    /// Where the parts go; made when it is not there.
    pub out: PathBuf,
    /// The system description; `None` for `image/system.toml`.
    pub system: Option<PathBuf>,
    /// MiB of memory of the machine that it is for; `None` for what the description says.
    pub memory_mib: Option<u32>,
    /// What the configuration does not ask for: the image is built without the domains
    /// that are only for that.
    pub without: Vec<Purpose>,
    /// Which kernel.
    pub configuration: Configuration,
    /// Boot-time data by name.
    pub provisions: Provisions,
    /// Features of the programs besides "guest", as `package/feature`.
    pub features: Vec<String>,
    /// Make the bootable disc too.
    pub disc: bool,
    /// How often domains are restarted; `None` for what the description says.
    pub restart: Option<Restart>,
    /// Records that one key seals; `None` for what the description says.
    pub rekey_after: Option<u64>,
}

/// The parts of a finished image.
#[derive(Clone, Debug)]
pub struct Image {
    /// For `-kernel`.
    pub kernel: PathBuf,
    /// For `-initrd`.
    pub root: PathBuf,
    /// For `-cdrom`.
    pub disc: Option<PathBuf>,
    /// Sizes and SHA-256 of all parts; of programs also lines of code, uses of
    /// `unsafe`, and crates that they are linked with.
    pub manifest: PathBuf,
    /// The bill of materials.
    pub bill: PathBuf,
    /// MiB of memory that a machine must have.
    pub memory_mib: u32,
    /// Sessions at once, if the description says shares.
    pub sessions: u16,
}

/// Builds everything.
///
/// # Errors
/// The step that failed, and why.
pub fn build(options: &Options) -> Result<Image> {
    let prefix = kernel::prefix(&options.workspace, options.configuration)?;
    let shipped = options.workspace.join(workspace::DESCRIPTION);
    let system = options.system.as_ref().unwrap_or(&shipped);
    let mut description = load::file_for(system, options.memory_mib)?;
    description = left_out::without(description, &options.without)?;
    if let Some(records) = options.rekey_after {
        let mut changed = description.into_inner();
        changed.rekey_after = records;
        description = check(changed)?;
    }
    policy::judge(&description, policy::path_of(system).as_deref())?.refuse_broken()?;
    let mut layout = layout(&description);
    layout.restart = options.restart.unwrap_or(layout.restart);
    let mut provisions = options.provisions.clone();
    provisions
        .entry(PICTURE.to_string())
        .or_insert_with(|| graph::svg(&description).into_bytes());
    let packages = layout.domains.iter().map(|domain| domain.package.clone());
    let packages: BTreeSet<String> = packages.collect();
    eprintln!("image: building {} programs", packages.len() + 1);
    let programs = guest::build(&Request {
        workspace: &options.workspace,
        prefix: &prefix,
        system: guest::System {
            description: system,
            memory_mib: options.memory_mib,
            without: &options.without,
        },
        packages: &packages,
        features: &options.features,
    })?;
    fs::create_dir_all(&options.out)?;
    let plan = plan::make(&layout, &programs, &provisions)?;
    // Both have private keys in them: nobody else can look at them while they are made.
    let making = Private::make(options.out.join("making"))?;
    let root = making.0.join("root.elf");
    fs::write(&root, root_image(&programs, &plan)?)?;
    let file = programs.get(ROOT).context("no root task")?;
    let memory_mib = memory::needed_mib(&Program::parse(file)?, &plan)?;
    let kernel = options.out.join("kernel.elf");
    write_kernel(&prefix, &kernel)?;
    let disc = options
        .disc
        .then(|| make_disc(&making.0, &kernel, &root))
        .transpose()?;
    let root = hand_out(&root, &options.out)?;
    let disc = disc.map(|disc| hand_out(&disc, &options.out)).transpose()?;
    drop(making);
    let mut parts: BTreeMap<&str, &Path> = BTreeMap::new();
    parts.insert("kernel.elf", &kernel);
    parts.insert("root.elf", &root);
    if let Some(disc) = &disc {
        parts.insert("handoff.iso", disc);
    }
    let manifest = options.out.join("manifest.json");
    let mut linked = BTreeMap::new();
    for package in programs.keys() {
        linked.insert(package.clone(), bill::linked(&options.workspace, package)?);
    }
    let described = describe(options, &parts, &programs, &linked, memory_mib)?;
    fs::write(&manifest, described)?;
    let bill = options.out.join(bill::FILE);
    fs::write(&bill, bill::bill(&options.workspace, &linked)?)?;
    Ok(Image {
        kernel,
        root,
        disc,
        manifest,
        bill,
        memory_mib,
        sessions: description.sessions,
    })
}

/// A folder that its owner alone can look into; it goes when this is dropped.
struct Private(PathBuf);

impl Private {
    fn make(folder: PathBuf) -> Result<Self> {
        // One that a run left which was killed.
        let _ = fs::remove_dir_all(&folder);
        let made = fs::DirBuilder::new().mode(0o700).create(&folder);
        made.with_context(|| format!("making {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Moves a file into `folder`, readable for its owner alone.
fn hand_out(file: &Path, folder: &Path) -> Result<PathBuf> {
    let to = folder.join(file.file_name().context("a file's name")?);
    let context = || format!("protecting {}", to.display());
    fs::set_permissions(file, Permissions::from_mode(0o600)).with_context(context)?;
    fs::rename(file, &to).with_context(context)?;
    Ok(to)
}

/// Writes the kernel of the install at `prefix` as boot loaders want it.
///
/// # Errors
/// It is not there, or can't be written.
pub fn write_kernel(prefix: &Path, kernel: &Path) -> Result<()> {
    // Multiboot loaders want a 32-bit file; the code in it stays what it is.
    Step::new("objcopy")
        .args(["--strip-all", "--output-target=elf32-i386"])
        .arg(prefix.join("bin/kernel.elf"))
        .arg(kernel)
        .run()
}

/// The root task's program with the plan and its pages after it.
///
/// # Errors
/// There is no root task among the programs, or it is none.
pub fn root_image(programs: &BTreeMap<String, Vec<u8>>, after: &[u8]) -> Result<Vec<u8>> {
    let file = programs.get(ROOT).context("no root task")?;
    let program = Program::parse(file)?;
    let address = program.symbol("_end")?.next_multiple_of(PAGE);
    Ok(write_with_segment(&program, after, address))
}

fn make_disc(out: &Path, kernel: &Path, root: &Path) -> Result<PathBuf> {
    eprintln!("image: making the bootable disc");
    let content = out.join("disc");
    let boot = content.join("boot");
    fs::create_dir_all(boot.join("grub"))?;
    fs::copy(kernel, boot.join("kernel.elf"))?;
    fs::copy(root, boot.join("root.elf"))?;
    fs::write(boot.join("grub/grub.cfg"), BOOT_MENU)?;
    let disc = out.join("handoff.iso");
    Step::new("grub-mkrescue")
        .env("SOURCE_DATE_EPOCH", DISC_EPOCH)
        // One platform: else what is installed besides is on the disc too.
        .arg(["--directory=", GRUB].concat())
        .arg("-o")
        .arg(&disc)
        .arg(&content)
        .args(["--", "-volume_date", "all_file_dates", DISC_DATE])
        .args(["-volume_date", "uuid", DISC_DATE])
        .run()
        .context("making the disc (Debian: grub-pc-bin, grub-common, xorriso, mtools)")?;
    Ok(disc)
}

/// Size and SHA-256 of each part and program. The boot-time data is not listed
/// on its own: a hash of a key would be a way to test guesses.
fn describe(
    options: &Options,
    parts: &BTreeMap<&str, &Path>,
    programs: &BTreeMap<String, Vec<u8>>,
    linked: &BTreeMap<String, BTreeSet<Crate>>,
    memory_mib: u32,
) -> Result<String> {
    let mut listed = serde_json::Map::new();
    for (name, path) in parts {
        listed.insert((*name).to_string(), entry(path)?);
    }
    let mut inside = serde_json::Map::new();
    let scratch = options.out.join("program");
    for (name, bytes) in programs {
        fs::write(&scratch, bytes)?;
        let mut entry = entry(&scratch)?;
        if let (Some(fields), Some(source)) = (
            entry.as_object_mut(),
            figures::source_of(&options.workspace, name),
        ) {
            let lines = figures::lines(&source)?;
            let uses = figures::uses(&source)?;
            let crates = linked.get(name).map_or(0, BTreeSet::len);
            fields.insert("lines_of_code".to_string(), json!(lines));
            fields.insert("unsafe".to_string(), json!(uses));
            fields.insert("dependencies".to_string(), json!(crates));
        }
        inside.insert(name.clone(), entry);
    }
    fs::remove_file(scratch)?;
    let list = json!({ "memory_mib": memory_mib, "parts": listed, "programs": inside });
    Ok(serde_json::to_string_pretty(&list)? + "\n")
}

fn entry(path: &Path) -> Result<serde_json::Value> {
    let hash = Step::new("sha256sum").arg(path).output()?;
    let hash = hash.split_whitespace().next().unwrap_or_default();
    let bytes = fs::metadata(path)?.len();
    Ok(json!({ "bytes": bytes, "sha256": hash }))
}
