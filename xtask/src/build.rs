//! `cargo xtask image` and `cargo xtask kernel`.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gateway_config::{Config, Kek, demo};
use image::kernel::{self, Configuration};
use image::left_out;
use image::pack::{self, Image, Options};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::run::Refused;
use crate::screen::{Screen, print_line};
use crate::setup::{self, Need};

/// Where the demo's key ring is kept, below the workspace.
const DEMO: &str = "target/demo";

/// MiB of memory of the machine that an image is for, unless another is asked for.
pub(crate) const MEMORY: u32 = 128;

/// What `--memory` takes.
pub(crate) fn memory() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(32..=3072)
}

/// The memory to build for, if it is more than the description's.
pub(crate) fn larger(mib: u32) -> Option<u32> {
    (mib > MEMORY).then_some(mib)
}

/// Arguments of `image`.
#[derive(clap::Args)]
pub(crate) struct ImageArguments {
    /// Folder for kernel.elf, root.elf, handoff.iso, manifest.json and
    /// sbom.cdx.json; without
    /// it, target/image.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The configuration; without it, the demo's.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Seal the key rings: a file with a passphrase in its first line. The key
    /// that opens them is written beside the image, as the file kek.
    #[arg(long, value_name = "FILE")]
    seal: Option<PathBuf>,
    /// Take the kernel that prints and checks its own assertions.
    #[arg(long)]
    debug_kernel: bool,
    /// MiB of memory of the machine that the image is for. More than 128 makes room for more
    /// sessions.
    #[arg(long, value_name = "MIB", default_value_t = MEMORY, value_parser = memory())]
    memory: u32,
}

/// Arguments of `kernel`.
#[derive(clap::Args)]
pub(crate) struct KernelArguments {
    /// The kernel that prints and checks its own assertions.
    #[arg(long)]
    debug: bool,
}

/// Builds an image into a folder.
pub(crate) fn image(workspace: &Path, screen: &Screen, arguments: &ImageArguments) -> Result<()> {
    let mut chosen = configuration(workspace, arguments.config.as_deref())?;
    chosen.config.kek = seal(screen, arguments.seal.as_deref())?;
    setup::ensure(screen, &[Need::Build, Need::Disc])?;
    let kernel = kernel_configuration(arguments.debug_kernel);
    let out = match &arguments.out {
        Some(folder) => folder.clone(),
        None => workspace.join("target/image"),
    };
    screen.step("building kernel and image");
    let image = pack(
        workspace,
        &out,
        &chosen.config,
        kernel,
        larger(arguments.memory),
        true,
    )?;
    match write_key(&chosen.config, &out)? {
        Some(file) => screen.note(&format!(
            "{} opens the key rings: keep it away from the image, and give it to QEMU with \
             -fw_cfg name={},file=FILE",
            file.display(),
            ipc::provision::KEK_FILE
        )),
        None => screen.note(
            "root.elf and handoff.iso contain the private keys: keep them like keys, or seal \
             them (--seal)",
        ),
    }
    print_line(image.kernel.display());
    print_line(image.root.display());
    if let Some(disc) = &image.disc {
        print_line(disc.display());
    }
    print_line(image.manifest.display());
    print_line(image.bill.display());
    Ok(())
}

/// Builds the kernel.
pub(crate) fn kernel(workspace: &Path, screen: &Screen, arguments: &KernelArguments) -> Result<()> {
    setup::ensure(screen, &[Need::Build])?;
    let prefix = kernel::prefix(workspace, kernel_configuration(arguments.debug))?;
    print_line(prefix.display());
    Ok(())
}

const fn kernel_configuration(debug: bool) -> Configuration {
    if debug {
        Configuration::Debug
    } else {
        Configuration::Release
    }
}

/// A configuration, and who issued the demo's certificate.
pub(crate) struct Chosen {
    pub(crate) config: Config,
    /// The demo's authority; `None` with a configuration of one's own.
    pub(crate) authority: Option<PathBuf>,
}

/// The configuration in `file`, or the demo's.
///
/// # Errors
/// [`gateway_config::Problems`].
pub(crate) fn configuration(workspace: &Path, file: Option<&Path>) -> Result<Chosen> {
    let now = OffsetDateTime::now_utc();
    if let Some(file) = file {
        return Ok(Chosen {
            config: gateway_config::load(file, now)?,
            authority: None,
        });
    }
    let demo = demo::make(&workspace.join(DEMO), now).context("making the demo's key ring")?;
    Ok(Chosen {
        config: gateway_config::load(&demo.config, now)?,
        authority: Some(demo.authority),
    })
}

/// Builds the image of `config` into `out`.
///
/// # Errors
/// The step that failed, and why.
pub(crate) fn pack(
    workspace: &Path,
    out: &Path,
    config: &Config,
    configuration: Configuration,
    memory_mib: Option<u32>,
    disc: bool,
) -> Result<Image> {
    pack::build(&Options {
        workspace: workspace.to_path_buf(),
        out: out.to_path_buf(),
        system: None,
        memory_mib,
        without: left_out::unneeded(config.has_directed()),
        configuration,
        provisions: config.provisions()?,
        features: Vec::new(),
        disc,
        restart: None,
        rekey_after: None,
    })
}

/// The key of the passphrase in a file, if there is one.
///
/// # Errors
/// [`Refused`].
pub(crate) fn seal(screen: &Screen, file: Option<&Path>) -> Result<Option<Kek>> {
    let Some(file) = file else {
        return Ok(None);
    };
    let refused = |reason: String| Refused(format!("--seal {}: {reason}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| refused(error.to_string()))?;
    let text = Zeroizing::new(text);
    let passphrase = text.lines().next().unwrap_or_default();
    let kek = screen.during("stretching the passphrase", || {
        Kek::from_passphrase(passphrase).map_err(|error| refused(error.to_string()))
    })?;
    Ok(Some(kek))
}

/// Writes the key that opens sealed key rings beside the image.
pub(crate) fn write_key(config: &Config, folder: &Path) -> Result<Option<PathBuf>> {
    let Some(kek) = &config.kek else {
        return Ok(None);
    };
    let file = folder.join("kek");
    let context = || file.display().to_string();
    // Whoever has another one open sees nothing of this.
    if let Err(error) = fs::remove_file(&file)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error).with_context(context);
    }
    let mut options = fs::OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600).open(&file);
    made.and_then(|mut made| made.write_all(kek.expose()))
        .with_context(context)?;
    Ok(Some(file))
}
