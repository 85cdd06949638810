//! The root task's plan and the image pages after it, out of the layout, the
//! linked programs and the boot-time data.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use init::{Content, Device, Domain, Plan, Region, Segment, Table, Writable};
use ipc::boot::{MAX_EXTENTS, PAGE, place};

use crate::elf::Program;
use crate::layout::{Layout, Source};

/// Boot-time data by name. Each region with such data starts with its length,
/// a little-endian 64-bit number.
pub type Provisions = BTreeMap<String, Vec<u8>>;

/// Boot-time data for the root task alone: one byte, 1 if each line of the log is a JSON
/// object.
pub const JSON_LOG: &str = "json-log";
/// Boot-time data for the root task alone: seconds since 1970, little-endian, when the
/// newest certificate begins to be valid.
pub const BUILT_AFTER: &str = "built-after";

/// The variable that tells when the sources of a reproducible build were changed last.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// The plan with the image pages after it, ready to be appended to the root
/// task's program.
///
/// # Errors
/// When a program or some boot-time data does not fit its place.
pub fn make(
    layout: &Layout,
    programs: &BTreeMap<String, Vec<u8>>,
    provisions: &Provisions,
) -> Result<Vec<u8>> {
    let mut pages = Vec::new();
    let mut plan = Plan::default();
    for domain in &layout.domains {
        let file = programs.get(&domain.package);
        let file = file.with_context(|| format!("no program for domain {}", domain.name))?;
        let program = Program::parse(file).with_context(|| format!("program {}", domain.name))?;
        let (segments, extents) =
            segments(&program, &mut pages).with_context(|| format!("program {}", domain.name))?;
        plan.domains.push(Domain {
            name: domain.name.clone(),
            priority: domain.priority,
            serves: domain.serves,
            entry: program.entry,
            stack: domain.stack,
            heap: domain.heap,
            segments,
            extents,
            maps: domain.maps.clone(),
            slots: domain.slots.clone(),
            tools: domain.tools.clone(),
            restarts: domain.restarts.clone(),
        });
    }
    for region in &layout.regions {
        let content = match &region.source {
            Source::Zero => Content::Zero,
            Source::Dma => Content::Dma,
            Source::Snapshot => Content::Snapshot,
            Source::Provision(name) => {
                let empty = Vec::new();
                let data = provisions.get(name).unwrap_or(&empty);
                ensure!(
                    data.len() as u64 + 8 <= region.bytes,
                    "boot-time data \"{name}\": {} bytes don't fit region {} of {} bytes",
                    data.len(),
                    region.name,
                    region.bytes
                );
                let first = page_count(&pages);
                pages.extend_from_slice(&(data.len() as u64).to_le_bytes());
                pages.extend_from_slice(data);
                pages.resize((first as u64 * PAGE + region.bytes) as usize, 0);
                Content::Pages(first)
            }
        };
        plan.regions.push(Region {
            name: region.name.clone(),
            bytes: region.bytes,
            content,
        });
    }
    for table in &layout.tables {
        plan.tables.push(Table {
            name: table.name.clone(),
            radix: table.radix,
            endpoints: table.endpoints.clone(),
        });
    }
    plan.device = layout
        .device
        .map(|(domain, address)| Device { domain, address });
    plan.restart = layout.restart;
    plan.rekey_after = layout.rekey_after;
    plan.json_log = provisions.get(JSON_LOG).is_some_and(|bytes| bytes == &[1]);
    plan.built_after = built_after(provisions, std::env::var(EPOCH).ok().as_deref())?;
    let mut image = init::encode(&plan);
    image.extend_from_slice(&pages);
    Ok(image)
}

/// The earliest possible build time of the image, from its inputs alone: the latest
/// moment at which a certificate begins to be valid, or what the caller says
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
fn built_after(provisions: &Provisions, epoch: Option<&str>) -> Result<u64> {
    let bytes = provisions.get(BUILT_AFTER).map(Vec::as_slice);
    let newest = match bytes {
        None => 0,
        Some(bytes) => {
            let bytes = bytes.try_into();
            u64::from_le_bytes(bytes.with_context(|| format!("{BUILT_AFTER}: 8 bytes"))?)
        }
    };
    let said = match epoch {
        None | Some("") => 0,
        Some(text) => text
            .parse()
            .with_context(|| format!("{EPOCH}=\"{text}\" is no number of seconds"))?,
    };
    Ok(newest.max(said))
}

fn page_count(pages: &[u8]) -> u32 {
    (pages.len() as u64 / PAGE) as u32
}

/// Lays a program's bytes out in pages. What may be written starts as zeros;
/// its first bytes are in read-only pages, from where the program itself
/// copies them at each start.
fn segments(program: &Program<'_>, pages: &mut Vec<u8>) -> Result<(Vec<Segment>, Vec<Writable>)> {
    let mut list = Vec::new();
    let mut extents = Vec::new();
    let mut initial = place::INITIAL;
    for segment in &program.segments {
        let start = segment.address - segment.address % PAGE;
        let end = (segment.address + segment.memory).next_multiple_of(PAGE);
        ensure!(
            start >= PAGE && end <= place::INITIAL,
            "the segment at {:#x} is not below {:#x}",
            segment.address,
            place::INITIAL
        );
        let first = page_count(pages);
        if !segment.bytes.is_empty() {
            pages.resize(pages.len() + (segment.address - start) as usize, 0);
            pages.extend_from_slice(segment.bytes);
            pages.resize(pages.len().next_multiple_of(PAGE as usize), 0);
        }
        let count = page_count(pages) - first;
        let all = ((end - start) / PAGE) as u32;
        let filled = Segment {
            address: if segment.writable { initial } else { start },
            page: first,
            pages: count,
            zero_pages: if segment.writable { 0 } else { all - count },
            writable: false,
        };
        if !segment.writable {
            list.push(filled);
            continue;
        }
        let initial_bytes = u64::from(count) * PAGE;
        extents.push(Writable {
            address: start,
            bytes: end - start,
            initial,
            initial_bytes,
        });
        if count > 0 {
            list.push(filled);
        }
        initial += initial_bytes;
        list.push(Segment {
            address: start,
            page: 0,
            pages: 0,
            zero_pages: all,
            writable: true,
        });
    }
    ensure!(
        extents.len() <= MAX_EXTENTS && initial <= place::FACTS,
        "more writable data than {MAX_EXTENTS} parts below {:#x} hold",
        place::FACTS
    );
    Ok((list, extents))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_of_both_dates_is_when_the_image_was_built() {
        let none = Provisions::new();
        let dated = Provisions::from([(BUILT_AFTER.to_string(), 500_u64.to_le_bytes().into())]);
        assert_eq!(built_after(&none, None).unwrap(), 0);
        assert_eq!(built_after(&dated, None).unwrap(), 500);
        assert_eq!(built_after(&dated, Some("")).unwrap(), 500);
        assert_eq!(built_after(&dated, Some("499")).unwrap(), 500);
        assert_eq!(built_after(&dated, Some("501")).unwrap(), 501);
        assert!(built_after(&dated, Some("today")).is_err());
        let short = Provisions::from([(BUILT_AFTER.to_string(), vec![1])]);
        assert!(built_after(&short, None).is_err());
    }
}
