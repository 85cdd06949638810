//! What a program needs around its `main`.
//!
//! A domain's `main.rs`:
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//!
//! #![deny(unsafe_code)]
//!
//! sel4::system!();
//! sel4::entry!(main);
//!
//! fn main() -> ! {
//!     let capabilities = system::Capabilities::take();
//!     // build the server, loop
//! }
//! ```

mod clock;
mod heap;
pub mod log;
#[cfg(handoff_guest)]
mod memory;
#[cfg(handoff_guest)]
mod panic;
mod ports;
mod provided;
#[doc(hidden)]
pub mod reset;
mod scrub;
mod service;
mod window;

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

use ipc::boot::{FACTS_MAGIC, Facts, place, start};

pub use clock::{DEADLINE_SIGNAL, SystemClock, wake_at};
pub use heap::{heap_peak, heap_used};
pub use log::{note_progress, note_untaken};
pub use ports::Ports;
pub use provided::{counters, counters_at, devices, provision, take_once};
pub use scrub::{scrub_registers, scrub_stack};
pub use service::{Bell, Caller, Service, Wake, next_signals, poll_signals, wait_signals};
pub use window::{HeldWindow, MintSource, Window};

use crate::BootInfo;
use crate::message;

/// Makes `$main`, a `fn(sel4::BootInfo) -> !`, the start of the root task,
/// with a stack of `$stack` and a heap of `$heap` bytes.
#[macro_export]
macro_rules! root_task {
    ($main:path, stack = $stack:expr, heap = $heap:expr) => {
        #[repr(C, align(4096))]
        struct RootMemory<const N: usize>(core::cell::UnsafeCell<[u8; N]>);
        // SAFETY: only the start code takes the address, once.
        unsafe impl<const N: usize> Sync for RootMemory<N> {}

        #[unsafe(no_mangle)]
        static HANDOFF_ROOT_STACK: RootMemory<{ $stack }> =
            RootMemory(core::cell::UnsafeCell::new([0; $stack]));
        static HANDOFF_ROOT_HEAP: RootMemory<{ $heap }> =
            RootMemory(core::cell::UnsafeCell::new([0; $heap]));

        core::arch::global_asm!(
            ".section .text._start,\"ax\",@progbits",
            ".global _start",
            ".type _start, @function",
            "_start:",
            "lea rsp, [HANDOFF_ROOT_STACK + {stack}]",
            "xor ebp, ebp",
            "call handoff_root_start",
            "ud2",
            stack = const $stack,
        );

        #[unsafe(no_mangle)]
        extern "C" fn handoff_root_start(boot_info: *const u8) -> ! {
            let heap = HANDOFF_ROOT_HEAP.0.get().cast::<u8>();
            // SAFETY: called once, by `_start`, with the kernel's pointer; the
            // heap is a static that nothing else uses.
            let boot_info = unsafe { $crate::runtime::start_root(boot_info, heap, $heap) };
            let main: fn($crate::BootInfo) -> ! = $main;
            main(boot_info)
        }
    };
}

/// The module `system`: what the build makes of the system description for this program,
/// its `Capabilities` and `FACTS`.
#[macro_export]
macro_rules! system {
    () => {
        #[allow(
            unsafe_code,
            reason = "the layout vouches for each number, and the root task builds by it"
        )]
        mod system {
            include!(concat!(env!("OUT_DIR"), "/system.rs"));
        }
    };
}

/// Where the seed of this program's random numbers is, in a page of this domain alone;
/// null in the root task, which has none. The crate `getrandom` of this workspace reads
/// it by this name, so that programs without random numbers don't need it.
#[unsafe(no_mangle)]
pub static HANDOFF_SEED: AtomicPtr<u8> = AtomicPtr::new(null_mut());

/// Sets a domain's runtime up; does not return to a domain that is parked.
///
/// # Safety
/// Called once after each start, before anything else, in a program that the
/// root task started with its pages at the places of [`ipc::boot::place`].
pub unsafe fn start_domain(why: u64) {
    // SAFETY: the root task mapped the IPC buffer of this only thread there.
    unsafe { message::set_ipc_buffer(place::IPC_BUFFER as *mut u8) };
    let facts = boot_facts();
    assert!(facts.magic == FACTS_MAGIC, "no boot facts page");
    // SAFETY: the root task mapped that many bytes there for the heap.
    unsafe { heap::claim(place::HEAP as *mut u8, facts.heap as usize) };
    // SAFETY: the root task mapped the log ring for this domain.
    unsafe { log::use_ring() };
    counters().set(ipc::stats::HEAP_LIMIT, facts.heap);
    HANDOFF_SEED.store(place::SEED as *mut _, Ordering::Release);
    if why != start::FIRST {
        // A caller may still wait for an answer to a call from before.
        service::refuse();
    }
    match why {
        start::PARKED => service::refuse_all(),
        start::AGAIN => {
            counters().add(ipc::stats::RESTARTS, 1);
        }
        _ => {}
    }
}

/// Sets the root task's runtime up.
///
/// # Safety
/// Called once, before anything else, with the pointer that the kernel gave
/// and `size` bytes at `heap` that nothing else uses.
pub unsafe fn start_root(boot_info: *const u8, heap: *mut u8, size: usize) -> BootInfo {
    // SAFETY: the caller passes the kernel's pointer.
    let boot_info = unsafe { BootInfo::new(boot_info) };
    // SAFETY: the kernel mapped the root task's IPC buffer there.
    unsafe { message::set_ipc_buffer(boot_info.ipc_buffer()) };
    // SAFETY: the caller passes ownership of the memory.
    unsafe { heap::claim(heap, size) };
    boot_info
}

/// What the root task tells this domain.
pub fn boot_facts() -> &'static Facts {
    // SAFETY: in every domain the root task has mapped a page with the facts
    // there, read-only and for good.
    unsafe { &*(place::FACTS as *const Facts) }
}
