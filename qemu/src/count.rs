//! Counts the guest's instructions, by a plugin of QEMU's translator (`plugin/count.c`,
//! ADR 0190): of everything that runs in the guest, by pages of code.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::{AddAssign, Sub};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use image::command::Step;

use crate::machine::escaped;

/// The plugin's source; the compiler is asked at run time, for the QEMU that is there.
const SOURCE: &str = include_str!("../plugin/count.c");
/// QEMU's versions from there on have another number of the plugins' interface.
const SECOND_INTERFACE: u32 = 9;
/// Versions from there on do more than one step of a repeated instruction inside of a block:
/// steps can't be counted.
const STEPS_INSIDE: u32 = 10;
/// How long the plugin may take to tell its counts.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest path of a Unix socket (`sun_path` of unix(7)), without the zero.
const MAX_SOCKET_PATH: usize = 107;
/// Addresses from there on are the kernel's, on x86-64, in seL4 and in Linux.
const KERNEL: u64 = 1 << 63;

/// The plugin, compiled, and where it tells its counts.
#[derive(Clone, Debug)]
pub struct Counter {
    plugin: PathBuf,
    socket: PathBuf,
    sees_steps: bool,
}

impl Counter {
    /// Compiles the plugin for the QEMU `program` into `folder`, where its socket will be,
    /// too.
    ///
    /// # Errors
    /// There is no C compiler, no QEMU, or the folder's path is too long for a socket.
    pub fn build(program: &Path, folder: &Path) -> Result<Self> {
        let socket = folder.join("count.socket");
        ensure!(
            socket.as_os_str().len() <= MAX_SOCKET_PATH,
            "{}: a socket's path has {MAX_SOCKET_PATH} bytes at most",
            socket.display()
        );
        let told = Step::new(program).arg("--version").output()?;
        let major = major(&told).with_context(|| format!("no version of QEMU: {told}"))?;
        let interface = if major < SECOND_INTERFACE { 1 } else { 2 };
        let source = folder.join("count.c");
        std::fs::write(&source, SOURCE).with_context(|| format!("writing {}", source.display()))?;
        let plugin = folder.join("count.so");
        Step::new("gcc")
            .args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"])
            .args(["-shared", "-fPIC", "-fvisibility=hidden", "-pthread"])
            .arg(format!("-DAPI={interface}"))
            .arg("-o")
            .args([&plugin, &source])
            .run()
            .context("compiling the plugin that counts")?;
        Ok(Self {
            plugin,
            socket,
            sees_steps: major < STEPS_INSIDE,
        })
    }

    /// Whether each step of a repeated instruction is counted, so that what they moved and
    /// stored is known.
    #[must_use]
    pub const fn sees_steps(&self) -> bool {
        self.sees_steps
    }

    /// What QEMU is told, to load the plugin.
    pub fn arguments(&self) -> [String; 2] {
        let [plugin, socket] = [&self.plugin, &self.socket].map(|path| escaped(path));
        [
            "-plugin".to_string(),
            format!("file={plugin},socket={socket}"),
        ]
    }

    /// All counts since the machine was started.
    ///
    /// # Errors
    /// QEMU is gone, or what the plugin says makes no sense.
    pub fn read(&self) -> Result<Count> {
        let shown = self.socket.display();
        let mut stream = UnixStream::connect(&self.socket)
            .with_context(|| format!("{shown}: does QEMU run, and does it load plugins?"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut text = String::new();
        stream
            .read_to_string(&mut text)
            .with_context(|| format!("{shown}: QEMU does not tell its counts"))?;
        parse(&text)
    }
}

/// The major number of `QEMU emulator version 7.2.22 (…)`.
fn major(told: &str) -> Option<u32> {
    let (_, rest) = told.split_once("version ")?;
    rest.split('.').next()?.parse().ok()
}

/// A page of code: where it is in an address space, and what was in it when the first of
/// its code was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Page {
    /// Its address.
    pub address: u64,
    /// [`fingerprint`] of it; 0 if it is no memory.
    pub fingerprint: u64,
}

impl Page {
    /// Whether only the kernel can execute it.
    #[must_use]
    pub const fn is_kernel(self) -> bool {
        self.address >= KERNEL
    }
}

/// FNV-1a of a page, as the plugin computes it.
#[must_use]
pub fn fingerprint(page: &[u8]) -> u64 {
    page.iter().fold(0xcbf2_9ce4_8422_2325, |value, byte| {
        (value ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What was executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Instructions; each step of a repeated one counts.
    pub instructions: u64,
    /// Bytes that `rep movsb` has moved.
    pub moved: u64,
    /// Bytes that `rep stosb` has stored.
    pub stored: u64,
    /// How many of the instructions were steps of these two.
    pub steps: u64,
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.instructions += other.instructions;
        self.moved += other.moved;
        self.stored += other.stored;
        self.steps += other.steps;
    }
}

impl Sub for Amount {
    type Output = Self;

    /// What came after `earlier`.
    fn sub(self, earlier: Self) -> Self {
        Self {
            instructions: self.instructions.saturating_sub(earlier.instructions),
            moved: self.moved.saturating_sub(earlier.moved),
            stored: self.stored.saturating_sub(earlier.stored),
            steps: self.steps.saturating_sub(earlier.steps),
        }
    }
}

/// Amounts by pages of code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count(pub BTreeMap<Page, Amount>);

impl Count {
    /// Of all pages.
    #[must_use]
    pub fn total(&self) -> Amount {
        let mut total = Amount::default();
        for amount in self.0.values() {
            total += *amount;
        }
        total
    }

    /// What came after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let of = |page: &Page| earlier.0.get(page).copied().unwrap_or_default();
        let pages = self.0.iter();
        Self(
            pages
                .map(|(page, amount)| (*page, *amount - of(page)))
                .collect(),
        )
    }
}

/// Reads what the plugin writes; `plugin/count.c` says how it looks.
fn parse(text: &str) -> Result<Count> {
    let mut count = Count::default();
    let mut lines = text.lines();
    for line in lines.by_ref() {
        if line == "end" {
            ensure!(lines.next().is_none(), "the counts go on after their end");
            return Ok(count);
        }
        let (page, amount) = entry(line).with_context(|| format!("no count: {line}"))?;
        // The same code at the same address, in memory twice.
        *count.0.entry(page).or_default() += amount;
    }
    bail!("the counts have no end");
}

fn entry(line: &str) -> Option<(Page, Amount)> {
    let mut words = line.strip_prefix("page ")?.split(' ');
    let mut hex = || u64::from_str_radix(words.next()?, 16).ok();
    let page = Page {
        address: hex()?,
        fingerprint: hex()?,
    };
    let mut number = || words.next()?.parse::<u64>().ok();
    let instructions = number()?;
    let (moves, moves_begun) = (number()?, number()?);
    let (stores, stores_begun) = (number()?, number()?);
    if words.next().is_some() {
        return None;
    }
    Some((
        page,
        Amount {
            instructions,
            // The step after the last byte moves nothing.
            moved: moves.saturating_sub(moves_begun),
            stored: stores.saturating_sub(stores_begun),
            steps: moves + stores,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_and_those_of_one_page_are_added() {
        let text = "page 401000 ab 100 9 1 0 0\npage 401000 ab 5 0 0 33 3\n\
                    page ffffffff80000000 0 7 0 0 0 0\nend\n";
        let count = parse(text).unwrap();
        let page = Page {
            address: 0x40_1000,
            fingerprint: 0xab,
        };
        let expected = Amount {
            instructions: 105,
            moved: 8,
            stored: 30,
            steps: 42,
        };
        assert_eq!(count.0.len(), 2);
        assert_eq!(count.0.get(&page), Some(&expected));
        assert_eq!(count.total().instructions, 112);
        assert_eq!(
            count.0.keys().filter(|page| page.is_kernel()).count(),
            1,
            "{count:?}"
        );
    }

    #[test]
    fn counts_that_are_cut_off_or_make_no_sense_are_refused() {
        for bad in [
            "",
            "page 1 2 3 4 5 6 7\n",
            "page 1 2 3 4 5 6\nend\n",
            "page 1 2 3 4 5 6 7 8\nend\n",
            "page 1 x 3 4 5 6 7\nend\n",
            "end\npage 1 2 3 4 5 6 7\n",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_came_after_an_earlier_count_is_the_difference_by_page() {
        let earlier = parse("page 1000 1 10 0 0 0 0\nend\n").unwrap();
        let later = parse("page 1000 1 25 0 0 0 0\npage 2000 2 4 0 0 0 0\nend\n").unwrap();
        let since = later.since(&earlier);
        let each: Vec<_> = since.0.values().map(|a| a.instructions).collect();
        assert_eq!(each, [15, 4]);
    }

    #[test]
    fn the_fingerprint_is_fnv_1a() {
        // <http://www.isthe.com/chongo/tech/comp/fnv/>: of the empty text and of "a".
        assert_eq!(fingerprint(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(b"a"), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn the_version_of_qemu_is_the_first_number() {
        let told = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright";
        assert_eq!(major(told), Some(7));
        assert_eq!(major("QEMU emulator version 10.0.2"), Some(10));
        assert_eq!(major("something else"), None);
    }
}
