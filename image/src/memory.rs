//! How much memory a machine must have for an image: told before the boot.

use anyhow::{Context, Result};
use ipc::boot::PAGE;

use crate::elf::Program;

/// What the firmware keeps of a PC's first mebibyte and at the end, and what the kernel
/// takes: its own pages, the root task's CNode and tables. It was measured with the
/// embedded kernel as what is between the machine's memory and what the kernel left, less
/// the root task's image; a test compares it with each boot.
const KERNEL: u64 = 11 << 19;

/// MiB of memory for the root task's program with `after`, the plan and its pages, after
/// it.
///
/// # Errors
/// The program is none, or there is no plan.
pub(crate) fn needed_mib(root: &Program<'_>, after: &[u8]) -> Result<u32> {
    let (place, _) = init::read_header(after).context("no plan")?;
    let plan = after.get(place).and_then(init::decode).context("no plan")?;
    let starts = root.segments.iter().map(|segment| segment.address);
    let start = starts.min().unwrap_or_default();
    let end = root.symbol("_end")?.next_multiple_of(PAGE);
    let image = end.saturating_sub(start) + after.len() as u64;
    let bytes = KERNEL + image + init::memory::needed(&plan);
    Ok(u32::try_from(bytes.div_ceil(1 << 20))?)
}
