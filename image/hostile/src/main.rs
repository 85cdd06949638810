//! Takes the place of one domain and tries everything that the domain has no right to.
//! Each attempt is one line: "refused" with a count, or "SURVIVED" with what the system
//! let happen. The last attempt must stop it.
#![no_std]
#![no_main]

extern crate alloc;

mod capabilities;
mod memory;
mod messages;
mod nic;
mod random;

use core::arch::asm;

use sel4::log;

/// What a domain holds, out of the system description.
struct Held {
    name: &'static str,
    /// Slots of the root CNode that are not empty.
    slots: &'static [u64],
    calls: &'static [u64],
    signals: &'static [u64],
    /// Ranges of I/O ports.
    ports: &'static [u64],
    /// Slot, and how many slots are below it.
    windows: &'static [(u64, u64)],
    /// How many tables it manages.
    tools: u64,
    /// Address and bytes of regions.
    writable: &'static [(u64, u64)],
    /// Where the NIC is described.
    nic: Option<u64>,
}

include!(concat!(env!("OUT_DIR"), "/held.rs"));

sel4::entry!(main);

/// How often memory is filled with lies.
const ROUNDS: u32 = 64;

fn main() -> ! {
    let name = sel4::runtime::boot_facts().name;
    let is_own = |held: &&Held| name.starts_with(held.name.as_bytes());
    let Some(held) = ALL.iter().find(is_own) else {
        panic!("no such domain")
    };
    log!("hostile: begins");
    capabilities::try_all(held);
    if let Some(snapshot) = held.nic {
        nic::attack(snapshot);
    }
    messages::try_all(held);
    let mut random = random::Random::new(0x7a1e_57a1);
    for _ in 0..ROUNDS {
        memory::lie(held, &mut random);
    }
    log!(
        "hostile: lied {ROUNDS} times in {} regions",
        held.writable.len()
    );
    messages::try_all(held);
    log!("hostile: last act");
    let value: u8;
    // SAFETY: none; the processor must stop it.
    unsafe { asm!("in al, dx", in("dx") 0x3f8_u16, out("al") value) };
    log!("hostile: SURVIVED: port says {value}");
    loop {
        sel4::runtime::wait_signals();
    }
}
