//! What a domain may not do. The kernel stops each; a line that says
//! "survived" is a failure of the platform.

use core::arch::asm;
use core::hint::black_box;

use ipc::boot::{place, slot};
use ipc::transport::{MAX_MESSAGE, Transport, TransportError};
use sel4::cap::CNode;
use sel4::runtime::Caller;

pub(crate) fn read_elsewhere() {
    let nowhere = black_box(0x3000_0000 as *const u64);
    // SAFETY: none; the kernel must stop it.
    let value = unsafe { nowhere.read_volatile() };
    sel4::log!("survived: read {value}");
}

pub(crate) fn write_program() {
    let own = black_box(write_program as fn() as *mut u8);
    // SAFETY: none; the kernel must stop it.
    unsafe { own.write_volatile(0xc3) };
    sel4::log!("survived: wrote its program");
}

pub(crate) fn write_time() {
    let time = black_box(place::CLOCK as *mut u64);
    // SAFETY: none; the kernel must stop it.
    unsafe { time.write_volatile(1) };
    sel4::log!("survived: wrote the time");
}

#[expect(unconditional_recursion, reason = "that is the probe")]
pub(crate) fn overflow_stack() {
    let frame = black_box([1_u8; 512]);
    overflow_stack();
    black_box(frame);
}

/// The kernel refuses a call of an empty slot and lets the caller go on.
pub(crate) fn call_empty_slot() {
    // SAFETY: none; the kernel must refuse it.
    let nobody = unsafe { Caller::new(slot::cptr(200)) };
    let answer = nobody.call(b"hello", &mut [0; MAX_MESSAGE]);
    let refused = answer == Err(TransportError::Gone);
    sel4::log!("{} {answer:?}", if refused { "ok" } else { "FAILED" });
}

/// An address outside the CSpace is a fault.
pub(crate) fn call_outside() {
    // SAFETY: none; the kernel must stop it.
    let nobody = unsafe { Caller::new(0xdead_0000_0000) };
    let answer = nobody.call(b"hello", &mut [0; MAX_MESSAGE]);
    sel4::log!("survived: {answer:?}");
}

pub(crate) fn read_port() {
    let value: u8;
    // SAFETY: none; the processor must stop it.
    unsafe { asm!("in al, dx", in("dx") 0x3f8_u16, out("al") value) };
    sel4::log!("survived: port says {value}");
}

pub(crate) fn make_up_system_call() {
    // SAFETY: none; the kernel must stop it.
    unsafe {
        asm!("mov r14, rsp", "syscall", "mov rsp, r14",
            in("rdx") 1000_u64, out("rcx") _, out("r11") _, out("r14") _);
    }
    sel4::log!("survived: there is a system call 1000");
}

/// No domain holds a capability of its own CSpace: whatever it tries to delete
/// a capability with, the kernel refuses. (Left out: the fault endpoint takes any
/// message, for the monitor to print, and the log's notification any signal.)
pub(crate) fn invoke_cspace() {
    let others = (0..64).filter(|number| ![slot::FAULT, slot::LOG].contains(number));
    let refused = others.into_iter().all(|number| {
        [number, slot::cptr(number)].into_iter().all(|address| {
            // SAFETY: none; the kernel must refuse it.
            let root = unsafe { CNode::from_bits(address) };
            root.slot(slot::FAULT, slot::RADIX).delete().is_err()
        })
    });
    sel4::log!("{} no CNode", if refused { "ok" } else { "FAILED" });
}

/// The monitor stops listening after a while.
pub(crate) fn talk_without_end() {
    loop {
        sel4::log!("and another line that nobody wants to read, again and again");
    }
}
