//! The root task: builds the domains by its plan, then watches them.
#![no_std]
#![no_main]

extern crate alloc;

mod builder;
mod hardware;
mod logs;
mod machine;
mod monitor;
mod resources;
mod serial;
mod space;
mod terminal;
mod ticker;

use init::Plan;
use ipc::boot::PAGE;
use sel4::cap::IOPort;
use sel4::{BootInfo, Cap, Error, init_slot, log};

use builder::{Image, Refusal};

sel4::root_task!(main, stack = 0x1_0000, heap = 0x14_0000);

unsafe extern "C" {
    /// First byte of this program's image (linker).
    static __executable_start: u8;
    /// First byte after it (linker); the plan starts at the next page.
    static _end: u8;
}

fn main(boot: BootInfo) -> ! {
    if let Err(error) = open_serial(&boot) {
        panic!("no serial port: {error}");
    }
    test_random_numbers();
    let (plan, image) = read_plan(&boot);
    match builder::build(&boot, &plan, image) {
        Ok(built) => {
            let count = built.domains.len();
            log!("init: {count} domains, {} capabilities", built.capabilities);
            if let Err(error) = builder::start(&plan, &built) {
                log!("init: a domain does not start: {error}");
            }
            monitor::run(&plan, built)
        }
        Err(Refusal::Policy) => {
            log!("init: no system: it is not as declared");
            panic!("no system")
        }
        Err(Refusal::Random(error)) => {
            log!("init: no random numbers: {error}");
            panic!("no system")
        }
        Err(Refusal::Entropy(why)) => {
            log!("init: no random numbers: virtio-rng {why}");
            panic!("no system")
        }
        Err(Refusal::Machine(unfit)) => {
            log!("init: no system: {unfit}");
            panic!("no system")
        }
        Err(Refusal::Kernel(error)) => {
            log!("init: the plan can't be carried out: {error}");
            panic!("no system")
        }
    }
}

/// No system without random numbers: each domain draws its own, from the source
/// that is tested here.
fn test_random_numbers() {
    match getrandom::test() {
        Ok(true) => log!("init: random numbers: RDRAND with RDSEED, sound"),
        Ok(false) => log!("init: random numbers: RDRAND, sound"),
        Err(error) => {
            log!("init: no random numbers: {error}");
            panic!("no system")
        }
    }
}

/// Takes COM1 out of the right to all I/O ports.
fn open_serial(boot: &BootInfo) -> Result<(), Error> {
    // SAFETY: the kernel put the root task's CNode there.
    let root: sel4::cap::CNode = unsafe { Cap::from_bits(init_slot::CNODE) };
    // The last empty slot: the rest is handed out from the first.
    let slot = boot.empty().end - 1;
    let ports = root.slot(init_slot::IO_PORT, 64);
    root.slot(slot, 64)
        .issue_ports(&ports, serial::FIRST_PORT, serial::LAST_PORT)?;
    // SAFETY: made just now.
    serial::init(unsafe { IOPort::from_bits(slot) })?;
    sel4::runtime::log::use_sink(serial::line);
    Ok(())
}

/// The plan after this program, and the frames of the image pages.
fn read_plan(boot: &BootInfo) -> (Plan, Image) {
    let start = &raw const __executable_start as u64;
    let plan = (&raw const _end as u64).next_multiple_of(PAGE);
    let frames = boot.user_image_frames();
    let before = plan / PAGE - start / PAGE;
    let pages = (frames.end - frames.start).saturating_sub(before);
    // SAFETY: the kernel mapped `pages` pages there, and nothing writes them.
    let bytes = unsafe { core::slice::from_raw_parts(plan as *const u8, (pages * PAGE) as usize) };
    let found = init::read_header(bytes)
        .and_then(|(place, skipped)| Some((init::decode(bytes.get(place)?)?, skipped as u64)));
    let Some((decoded, skipped)) = found else {
        log!("init: no plan after the program");
        panic!("no plan")
    };
    let image = Image {
        first_slot: frames.start + before + skipped,
        pages: pages - skipped,
    };
    (decoded, image)
}
