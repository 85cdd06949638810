//! Linked programs (ELF, System V ABI, x86-64) taken apart, and the root task's image
//! written.

use anyhow::{Context, Result, bail, ensure};
use ipc::boot::PAGE;
use object::LittleEndian;
use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64};
use object::pod::bytes_of;
use object::read::elf::{FileHeader as _, ProgramHeader as _, Sym as _};

/// A linked, static program.
#[derive(Debug)]
pub struct Program<'a> {
    bytes: &'a [u8],
    /// Where it starts.
    pub entry: u64,
    /// What is loaded, in the order of addresses.
    pub segments: Vec<Segment<'a>>,
}

/// One loaded part.
#[derive(Clone, Debug)]
pub struct Segment<'a> {
    /// Its address.
    pub address: u64,
    /// Its bytes in the file.
    pub bytes: &'a [u8],
    /// Its size in memory; the rest is zeros.
    pub memory: u64,
    /// It may be written.
    pub writable: bool,
    /// It may be executed.
    pub executable: bool,
}

type FileHeader = FileHeader64<LittleEndian>;
type ProgramHeader = ProgramHeader64<LittleEndian>;
type SectionHeader = SectionHeader64<LittleEndian>;

impl<'a> Program<'a> {
    /// Reads a program.
    ///
    /// # Errors
    /// When it is no static 64-bit x86 program, or a segment is both writable
    /// and executable.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let header = FileHeader::parse(bytes);
        let header = header.and_then(|header| header.endian().map(|_| header));
        let header = header.context("not a 64-bit x86 ELF file")?;
        ensure!(
            header.e_machine(LittleEndian) == elf::EM_X86_64,
            "not a 64-bit x86 ELF file"
        );
        let mut segments = Vec::new();
        for part in header.program_headers(LittleEndian, bytes)? {
            match part.p_type(LittleEndian) {
                elf::PT_LOAD => {}
                elf::PT_DYNAMIC | elf::PT_INTERP => bail!("the program is not static"),
                elf::PT_TLS => bail!("the program has thread-local data; domains have none"),
                _ => continue,
            }
            let flags = part.p_flags(LittleEndian).0;
            let content = part.data(LittleEndian, bytes);
            let segment = Segment {
                address: part.p_vaddr(LittleEndian),
                bytes: content.ok().context("the ELF file is cut off")?,
                memory: part.p_memsz(LittleEndian),
                writable: flags & elf::PF_W.0 != 0,
                executable: flags & elf::PF_X.0 != 0,
            };
            ensure!(
                !(segment.writable && segment.executable),
                "the segment at {:#x} is both writable and executable",
                segment.address
            );
            if segment.memory > 0 {
                segments.push(segment);
            }
        }
        segments.sort_by_key(|segment| segment.address);
        for pair in segments.windows(2) {
            if let [low, high] = pair {
                ensure!(
                    (low.address + low.memory).next_multiple_of(PAGE)
                        <= high.address - high.address % PAGE,
                    "the segments at {:#x} and {:#x} share a page",
                    low.address,
                    high.address
                );
            }
        }
        Ok(Self {
            bytes,
            entry: header.e_entry(LittleEndian),
            segments,
        })
    }

    /// Visits every symbol: its name, address, and whether it is defined.
    fn symbols(&self, mut visit: impl FnMut(&str, u64, bool)) -> Result<()> {
        let sections = FileHeader::parse(self.bytes)?.sections(LittleEndian, self.bytes)?;
        let table = sections.symbols(LittleEndian, self.bytes, elf::SHT_SYMTAB)?;
        for symbol in table.symbols() {
            let name = table.symbol_name(LittleEndian, symbol)?;
            visit(
                &String::from_utf8_lossy(name),
                symbol.st_value(LittleEndian),
                !symbol.is_undefined(LittleEndian),
            );
        }
        Ok(())
    }

    /// The address of a symbol.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn symbol(&self, wanted: &str) -> Result<u64> {
        let mut found = None;
        self.symbols(|name, address, defined| {
            if name == wanted && defined {
                found = Some(address);
            }
        })?;
        found.with_context(|| format!("the program has no symbol {wanted}"))
    }

    /// Undefined symbols of the program.
    ///
    /// # Errors
    /// When the symbol table makes no sense.
    pub fn undefined_symbols(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        self.symbols(|name, _, defined| {
            if !defined && !name.is_empty() {
                found.push(name.to_string());
            }
        })?;
        Ok(found)
    }
}

/// Writes a program with one more, read-only segment after it: `extra` at
/// `extra_address`.
pub fn write_with_segment(program: &Program<'_>, extra: &[u8], extra_address: u64) -> Vec<u8> {
    let mut parts: Vec<Segment<'_>> = program.segments.clone();
    parts.push(Segment {
        address: extra_address,
        bytes: extra,
        memory: extra.len() as u64,
        writable: false,
        executable: false,
    });
    let header = FileHeader {
        e_ident: elf::Ident {
            magic: elf::ELFMAG,
            class: elf::ELFCLASS64,
            data: elf::ELFDATA2LSB,
            version: elf::EV_CURRENT,
            os_abi: elf::ELFOSABI_NONE,
            abi_version: 0,
            padding: [0; 7],
        },
        e_type: elf::ET_EXEC.into(),
        e_machine: elf::EM_X86_64.into(),
        e_version: u32::from(elf::EV_CURRENT.0).into(),
        e_entry: program.entry.into(),
        e_phoff: (size_of::<FileHeader>() as u64).into(),
        e_shoff: 0.into(),
        e_flags: elf::FileFlags(0).into(),
        e_ehsize: (size_of::<FileHeader>() as u16).into(),
        e_phentsize: (size_of::<ProgramHeader>() as u16).into(),
        e_phnum: (parts.len() as u16).into(),
        e_shentsize: (size_of::<SectionHeader>() as u16).into(),
        e_shnum: 0.into(),
        e_shstrndx: elf::SHN_UNDEF.into(),
    };
    let mut file = bytes_of(&header).to_vec();
    let mut at = (file.len() + parts.len() * size_of::<ProgramHeader>()) as u64;
    for part in &parts {
        at = place(at, part.address);
        let write = if part.writable { elf::PF_W.0 } else { 0 };
        let execute = if part.executable { elf::PF_X.0 } else { 0 };
        file.extend_from_slice(bytes_of(&ProgramHeader {
            p_type: elf::PT_LOAD.into(),
            p_flags: elf::ProgramFlags(elf::PF_R.0 | write | execute).into(),
            p_offset: at.into(),
            p_vaddr: part.address.into(),
            p_paddr: part.address.into(),
            p_filesz: (part.bytes.len() as u64).into(),
            p_memsz: part.memory.into(),
            p_align: PAGE.into(),
        }));
        at += part.bytes.len() as u64;
    }
    for part in &parts {
        let start = place(file.len() as u64, part.address);
        file.resize(start as usize, 0);
        file.extend_from_slice(part.bytes);
    }
    file
}

/// The next place in the file for what goes to that address: both agree modulo the page
/// size.
const fn place(at: u64, address: u64) -> u64 {
    let in_page = address % PAGE;
    (at + PAGE - 1 - in_page) / PAGE * PAGE + in_page
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        sample_with(b"the plan")
    }

    /// Two segments, and one more at the end.
    pub(crate) fn sample_with(extra: &[u8]) -> Vec<u8> {
        let program = Program {
            bytes: &[],
            entry: 0x40_1000,
            segments: vec![
                Segment {
                    address: 0x40_0000,
                    bytes: b"read only",
                    memory: 9,
                    writable: false,
                    executable: false,
                },
                Segment {
                    address: 0x40_1010,
                    bytes: b"code",
                    memory: 4,
                    writable: false,
                    executable: true,
                },
            ],
        };
        write_with_segment(&program, extra, 0x41_0000)
    }

    #[test]
    fn a_written_program_is_read_back() {
        let file = sample();
        let program = Program::parse(&file).unwrap();
        assert_eq!(program.entry, 0x40_1000);
        let contents: Vec<_> = program.segments.iter().map(|s| s.bytes).collect();
        assert_eq!(contents, [&b"read only"[..], b"code", b"the plan"]);
        assert_eq!(program.segments[2].address, 0x41_0000);
    }

    #[test]
    fn a_file_that_is_cut_off_is_refused() {
        let file = sample();
        for length in [0, 10, 63, 100, file.len() - 1] {
            assert!(Program::parse(&file[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_segment_that_is_writable_and_executable_is_refused() {
        let mut file = sample();
        let flags = size_of::<FileHeader>() + std::mem::offset_of!(ProgramHeader, p_flags);
        file[flags] = (elf::PF_R.0 | elf::PF_W.0 | elf::PF_X.0) as u8;
        let error = Program::parse(&file).unwrap_err().to_string();
        assert_eq!(
            error,
            "the segment at 0x400000 is both writable and executable"
        );
    }
}
