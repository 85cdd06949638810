//! The guest's physical memory, and who has mapped which part of it. Read from the page
//! tables alone: the guest's own claims don't count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use image::elf::Program;
use qemu::Guest;
use serde_json::json;

use super::shipped;

/// The root task's program.
pub(crate) const ROOT: &str = "init";

const PAGE: usize = 4096;
const LARGE_PAGE: usize = 2 << 20;
const ENTRIES: usize = 512;

// Bits of an entry (Intel 64 and IA-32 manual, volume 3A §4.5).
const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const FRAME: u64 = 0x000f_ffff_ffff_f000;

/// Memory at one moment.
pub(crate) struct Memory {
    bytes: Vec<u8>,
    /// Who has mapped each page, by its number.
    owners: BTreeMap<usize, BTreeSet<&'static str>>,
    /// Where each page is for one of them.
    addresses: BTreeMap<usize, u64>,
    /// Who may write to it.
    writers: BTreeMap<usize, BTreeSet<&'static str>>,
}

/// An address space: physical address and the right to write, by virtual
/// address of each page.
type Space = BTreeMap<u64, (usize, bool)>;

impl Memory {
    /// All of a guest's memory, `size` bytes, taken while it stands still. Its
    /// programs are in `folder`.
    pub(crate) fn of(guest: &Guest, size: u64, folder: &Path) -> Result<Self> {
        let file = folder.join("memory");
        let mut qmp = guest.qmp()?;
        qmp.pause()?;
        let taken = qmp.dump_physical(size, &file).and_then(|()| {
            let command = json!({ "command-line": "info registers" });
            qmp.execute("human-monitor-command", command)
        });
        qmp.resume()?;
        let registers = taken?;
        let bytes = fs::read(&file)?;
        // It has private keys in it.
        fs::remove_file(&file)?;
        let root = page_table(registers.as_str().unwrap_or_default())?;
        let mut memory = Self {
            bytes,
            owners: BTreeMap::new(),
            addresses: BTreeMap::new(),
            writers: BTreeMap::new(),
        };
        for (name, space) in memory.spaces(root, folder)? {
            for (address, (page, writable)) in space {
                let page = page / PAGE;
                memory.addresses.insert(page, address);
                memory.owners.entry(page).or_default().insert(name);
                if writable {
                    memory.writers.entry(page).or_default().insert(name);
                }
            }
        }
        Ok(memory)
    }

    /// The owners of every page that is mapped, each combination once.
    pub(crate) fn sharing(&self) -> BTreeMap<&BTreeSet<&'static str>, usize> {
        let mut counts = BTreeMap::new();
        for owners in self.owners.values() {
            *counts.entry(owners).or_default() += 1;
        }
        counts
    }

    /// Domains that may write to a page that another may write to as well.
    pub(crate) fn rivals(&self) -> BTreeSet<&BTreeSet<&'static str>> {
        let writers = self.writers.values();
        writers.filter(|writers| writers.len() > 1).collect()
    }

    /// Where `pattern` is: for each place, who has mapped it. A pattern that
    /// lies across a page's end is looked for only in memory that follows on.
    pub(crate) fn owners_of(&self, pattern: &[u8]) -> Vec<BTreeSet<&'static str>> {
        let found = self.bytes.windows(pattern.len()).enumerate();
        found
            .filter(|(_, bytes)| *bytes == pattern)
            .map(|(at, _)| self.owners.get(&(at / PAGE)).cloned().unwrap_or_default())
            .collect()
    }

    /// Who has mapped any place where any of `patterns` is, looked for at once.
    pub(crate) fn owners_of_any(&self, patterns: &[&[u8]]) -> BTreeSet<&'static str> {
        // Few places begin like any of them.
        let mut begins = vec![false; 1 << 16];
        for pattern in patterns {
            begins[usize::from(u16::from_le_bytes([pattern[0], pattern[1]]))] = true;
        }
        let starts = self.bytes.windows(2).enumerate();
        starts
            .filter(|(_, bytes)| begins[usize::from(u16::from_le_bytes([bytes[0], bytes[1]]))])
            .filter(|(at, _)| {
                let rest = &self.bytes[*at..];
                patterns.iter().any(|pattern| rest.starts_with(pattern))
            })
            .filter_map(|(at, _)| self.owners.get(&(at / PAGE)))
            .flatten()
            .copied()
            .collect()
    }

    /// Where `pattern` is in memory that `owner` alone has mapped, read-only: physical
    /// addresses.
    pub(crate) fn read_only(&self, owner: &str, pattern: &[u8]) -> Vec<usize> {
        let own = |page: &usize| {
            let owners = self.owners.get(page);
            owners.is_some_and(|owners| owners.len() == 1 && owners.contains(owner))
                && !self.writers.contains_key(page)
        };
        let pages = self.owners.keys().copied().filter(own);
        pages
            .flat_map(|page| {
                let bytes = &self.bytes[page * PAGE..(page + 1) * PAGE];
                let places = bytes.windows(pattern.len()).enumerate();
                places
                    .filter(|(_, bytes)| *bytes == pattern)
                    .map(move |(at, _)| page * PAGE + at)
            })
            .collect()
    }

    /// Where `pattern` is, for a person: owners and an address of theirs.
    pub(crate) fn places_of(&self, pattern: &[u8]) -> Vec<String> {
        let found = self.bytes.windows(pattern.len()).enumerate();
        found
            .filter(|(_, bytes)| *bytes == pattern)
            .map(|(at, _)| {
                let owners = self.owners.get(&(at / PAGE));
                let address = self.addresses.get(&(at / PAGE)).copied();
                let address = address.unwrap_or_default() + (at % PAGE) as u64;
                format!("{:?} at {address:#x}", owners.unwrap_or(&BTreeSet::new()))
            })
            .collect()
    }

    /// Every address space shares the kernel's part, which is the last entry
    /// of its topmost table; whose it is tells the program in it.
    fn spaces(&self, current: usize, folder: &Path) -> Result<Vec<(&'static str, Space)>> {
        let kernel = self.entry(current, ENTRIES - 1) & !(ACCESSED | DIRTY);
        ensure!(kernel & PRESENT != 0, "no page table at {current:#x}");
        let is_top = |table: &usize| {
            let last = self.entry(*table, ENTRIES - 1) & !(ACCESSED | DIRTY);
            last == kernel
        };
        let tables = (0..self.bytes.len()).step_by(PAGE).filter(is_top);
        let mut spaces: Vec<Space> = tables.map(|table| self.walk(table)).collect();
        spaces.retain(|space| !space.is_empty());
        let mut named = Vec::new();
        for name in shipped::domains().chain([ROOT]) {
            let file = folder.join(name);
            let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            let program = Program::parse(&bytes)?;
            let (own, others) = spaces
                .into_iter()
                .partition::<Vec<_>, _>(|space| self.runs(space, &program));
            spaces = others;
            ensure!(own.len() == 1, "{} address spaces run {name}", own.len());
            named.extend(own.into_iter().map(|space| (name, space)));
        }
        ensure!(spaces.is_empty(), "{} more address spaces", spaces.len());
        Ok(named)
    }

    /// Whether the page of the program's entry is in an address space.
    fn runs(&self, space: &Space, program: &Program<'_>) -> bool {
        const COMPARED: usize = 256;
        let entry = program.entry as usize;
        let page = entry / PAGE * PAGE;
        let Some((physical, _)) = space.get(&(page as u64)) else {
            return false;
        };
        program.segments.iter().any(|segment| {
            let offset = program.entry.wrapping_sub(segment.address) as usize;
            let Some(rest) = segment.bytes.get(offset..) else {
                return false;
            };
            let length = rest.len().min(COMPARED).min(page + PAGE - entry);
            let loaded = physical + entry - page;
            self.bytes.get(loaded..loaded + length) == Some(&rest[..length])
        })
    }

    /// What user space may touch through a topmost table. Devices, which lie
    /// after the memory, are left out.
    fn walk(&self, top: usize) -> Space {
        let mut space = Space::new();
        // The upper half is the kernel's.
        let whole = (PRESENT | WRITE | USER, top);
        for (first, third) in self.below(whole).filter(|(index, _)| *index < ENTRIES / 2) {
            for (second, directory) in self.below(third) {
                for (third, entry) in self.below(directory) {
                    let start = ((first * ENTRIES + second) * ENTRIES + third) * LARGE_PAGE;
                    let mut map = |offset: usize, (rights, page): (u64, usize)| {
                        let address = (start + offset) as u64;
                        space.insert(address, (page, rights & WRITE != 0));
                    };
                    if entry.0 & LARGE != 0 {
                        for offset in (0..LARGE_PAGE).step_by(PAGE) {
                            map(offset, (entry.0, entry.1 + offset));
                        }
                    } else {
                        for (index, page) in self.below(entry) {
                            map(index * PAGE, page);
                        }
                    }
                }
            }
        }
        space.retain(|_, (page, _)| *page < self.bytes.len());
        space
    }

    /// What user space may reach through a table: rights and address, by the
    /// entry's place. A right counts only if the table was reached with it.
    fn below(&self, (rights, table): (u64, usize)) -> impl Iterator<Item = (usize, (u64, usize))> {
        (0..ENTRIES)
            .map(move |index| (index, self.entry(table, index)))
            .filter(|(_, entry)| entry & (PRESENT | USER) == PRESENT | USER)
            .map(move |(index, entry)| {
                let rights = entry & (rights | !WRITE);
                (index, (rights, (entry & FRAME) as usize))
            })
    }

    /// An entry of a table; none outside memory.
    fn entry(&self, table: usize, index: usize) -> u64 {
        let at = table + index * 8;
        let bytes = self.bytes.get(at..at + 8);
        bytes.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
    }
}

/// The topmost page table in use, out of QEMU's list of registers.
fn page_table(registers: &str) -> Result<usize> {
    let (_, after) = registers.split_once("CR3=").context("no CR3")?;
    let digits = after.split_whitespace().next().unwrap_or_default();
    let value = u64::from_str_radix(digits, 16)?;
    Ok((value & FRAME) as usize)
}
