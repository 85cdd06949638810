//! Which code is whose: the pages of each program, as the finished image has them.

use anyhow::{Context, Result};
use init::{decode, read_header};
use ipc::boot::PAGE;

use crate::elf::Program;
use crate::guest::ROOT;

/// Tells `each` of the read-only pages of every domain's program, and of the root task's:
/// whose it is, its address, and its [`PAGE`] bytes. `root` is the content of `root.elf`.
///
/// # Errors
/// It is no root task with a plan after it.
pub fn pages(root: &[u8], mut each: impl FnMut(&str, u64, &[u8])) -> Result<()> {
    let program = Program::parse(root)?;
    let (image, own) = program.segments.split_last().context("no segments")?;
    let (plan, first) = read_header(image.bytes).context("no plan after the root task")?;
    let plan = image.bytes.get(plan).and_then(decode);
    let plan = plan.context("the plan can't be read")?;
    for segment in own.iter().filter(|segment| !segment.writable) {
        let within = segment.address % PAGE;
        let mut bytes = vec![0; within as usize];
        bytes.extend_from_slice(segment.bytes);
        bytes.resize(bytes.len().next_multiple_of(PAGE as usize), 0);
        let addresses = (segment.address - within..).step_by(PAGE as usize);
        for (address, page) in addresses.zip(bytes.chunks(PAGE as usize)) {
            each(ROOT, address, page);
        }
    }
    let all: Vec<&[u8]> = image
        .bytes
        .chunks_exact(PAGE as usize)
        .skip(first)
        .collect();
    for domain in &plan.domains {
        for segment in domain.segments.iter().filter(|segment| !segment.writable) {
            let first = segment.page as usize;
            let pages = all.get(first..first + segment.pages as usize);
            let pages = pages.with_context(|| format!("{}: pages are missing", domain.name))?;
            for (address, page) in (segment.address..).step_by(PAGE as usize).zip(pages) {
                each(&domain.name, address, page);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use init::{Domain, Plan, Segment};

    use super::*;
    use crate::elf::tests::sample_with;

    #[test]
    fn each_page_of_code_has_its_owner() {
        let plan = Plan {
            domains: vec![Domain {
                name: "one".into(),
                segments: vec![Segment {
                    address: 0x40_1000,
                    page: 1,
                    pages: 1,
                    zero_pages: 0,
                    writable: false,
                }],
                ..Domain::default()
            }],
            ..Plan::default()
        };
        let mut image = init::encode(&plan);
        for byte in [7, 8] {
            image.resize(image.len() + PAGE as usize, byte);
        }
        let mut found = Vec::new();
        pages(&sample_with(&image), |owner, address, page| {
            assert_eq!(page.len(), PAGE as usize);
            let first = page.iter().position(|byte| *byte != 0).unwrap();
            found.push((owner.to_string(), address, first, page[first]));
        })
        .unwrap();
        let expected = [
            (ROOT.to_string(), 0x40_0000, 0, b'r'),
            (ROOT.to_string(), 0x40_1000, 0x10, b'c'),
            ("one".to_string(), 0x40_1000, 0, 8),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_root_task_without_a_plan_is_refused() {
        let refused = pages(&sample_with(b"no plan"), |_, _, _| {}).unwrap_err();
        assert!(refused.to_string().contains("no plan after the root task"));
    }
}
