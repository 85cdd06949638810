//! Just enough of ELF (System V ABI, x86-64) to take linked programs apart and
//! to write the root task's image.

use anyhow::{Context, Result, bail, ensure};
use ipc::boot::PAGE;

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

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const SYMBOL: usize = 24;
const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const INTERPRETER: u32 = 3;
const THREAD_LOCAL: u32 = 7;
const SYMBOL_TABLE: u32 = 2;
const EXECUTE: u32 = 1;
const WRITE: u32 = 2;
const READ: u32 = 4;

fn number(bytes: &[u8], at: usize, width: usize) -> Result<u64> {
    let field = bytes
        .get(at..at + width)
        .context("the ELF file is cut off")?;
    let low_first = field.iter().rev();
    Ok(low_first.fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn slice(bytes: &[u8], at: u64, length: u64) -> Result<&[u8]> {
    let start = usize::try_from(at)?;
    let end = start.checked_add(usize::try_from(length)?);
    end.and_then(|end| bytes.get(start..end))
        .context("the ELF file is cut off")
}

impl<'a> Program<'a> {
    /// Reads a program.
    ///
    /// # Errors
    /// When it is no static 64-bit x86 program, or a segment is both writable
    /// and executable.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        ensure!(
            bytes.starts_with(b"\x7fELF\x02\x01") && number(bytes, 18, 2)? == 62,
            "not a 64-bit x86 ELF file"
        );
        let first = number(bytes, 32, 8)?;
        let count = number(bytes, 56, 2)?;
        let mut segments = Vec::new();
        for index in 0..count {
            let at = usize::try_from(first)? + index as usize * PROGRAM_HEADER;
            let flags = number(bytes, at + 4, 4)? as u32;
            match number(bytes, at, 4)? as u32 {
                LOAD => {}
                DYNAMIC | INTERPRETER => bail!("the program is not static"),
                THREAD_LOCAL => bail!("the program has thread-local data; domains have none"),
                _ => continue,
            }
            let segment = Segment {
                address: number(bytes, at + 16, 8)?,
                bytes: slice(bytes, number(bytes, at + 8, 8)?, number(bytes, at + 32, 8)?)?,
                memory: number(bytes, at + 40, 8)?,
                writable: flags & WRITE != 0,
                executable: flags & EXECUTE != 0,
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
            entry: number(bytes, 24, 8)?,
            segments,
        })
    }

    /// Visits every symbol: its name, address, and whether it is defined.
    fn symbols(&self, mut visit: impl FnMut(&str, u64, bool)) -> Result<()> {
        let first = usize::try_from(number(self.bytes, 40, 8)?)?;
        let count = number(self.bytes, 60, 2)? as usize;
        let section = |index: usize| first + index * HEADER;
        for index in 0..count {
            let at = section(index);
            if number(self.bytes, at + 4, 4)? as u32 != SYMBOL_TABLE {
                continue;
            }
            let names_at = section(number(self.bytes, at + 40, 4)? as usize);
            let content = |at: usize| -> Result<&[u8]> {
                slice(
                    self.bytes,
                    number(self.bytes, at + 24, 8)?,
                    number(self.bytes, at + 32, 8)?,
                )
            };
            let (symbols, names) = (content(at)?, content(names_at)?);
            for symbol in symbols.chunks_exact(SYMBOL).skip(1) {
                let start = number(symbol, 0, 4)? as usize;
                let name = names.get(start..).unwrap_or_default();
                let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                let defined = number(symbol, 6, 2)? != 0;
                visit(
                    &String::from_utf8_lossy(name),
                    number(symbol, 8, 8)?,
                    defined,
                );
            }
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
    let mut file = vec![0; HEADER];
    file.splice(..16, *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // Type "executable", machine x86-64, version 1; header sizes and counts.
    for (at, value, width) in [
        (16, 2, 2),
        (18, 62, 2),
        (20, 1, 4),
        (24, program.entry, 8),
        (32, HEADER as u64, 8),
        (52, HEADER as u64, 2),
        (54, PROGRAM_HEADER as u64, 2),
        (56, parts.len() as u64, 2),
        (58, 64, 2),
    ] {
        put(&mut file, at, value, width);
    }
    let mut at = (HEADER + parts.len() * PROGRAM_HEADER) as u64;
    for part in &parts {
        let in_page = part.address % PAGE;
        // File offset and address agree modulo the page size.
        at = (at + PAGE - 1 - in_page) / PAGE * PAGE + in_page;
        let header = file.len();
        file.resize(header + PROGRAM_HEADER, 0);
        let flags = READ
            | if part.writable { WRITE } else { 0 }
            | if part.executable { EXECUTE } else { 0 };
        for (offset, value, width) in [
            (0, u64::from(LOAD), 4),
            (4, u64::from(flags), 4),
            (8, at, 8),
            (16, part.address, 8),
            (24, part.address, 8),
            (32, part.bytes.len() as u64, 8),
            (40, part.memory, 8),
            (48, PAGE, 8),
        ] {
            put(&mut file, header + offset, value, width);
        }
        at += part.bytes.len() as u64;
    }
    for part in &parts {
        let in_page = part.address % PAGE;
        let start = (file.len() as u64 + PAGE - 1 - in_page) / PAGE * PAGE + in_page;
        file.resize(start as usize, 0);
        file.extend_from_slice(part.bytes);
    }
    file
}

fn put(file: &mut [u8], at: usize, value: u64, width: usize) {
    if let Some(field) = file.get_mut(at..at + width) {
        field.copy_from_slice(value.to_le_bytes().get(..width).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
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
        write_with_segment(&program, b"the plan", 0x41_0000)
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
        file[HEADER + 4] = (READ | WRITE | EXECUTE) as u8;
        let error = Program::parse(&file).unwrap_err().to_string();
        assert_eq!(
            error,
            "the segment at 0x400000 is both writable and executable"
        );
    }
}
