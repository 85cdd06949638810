//! Clears secrets from registers and the stack.

use core::arch::{asm, naked_asm};

use ipc::boot::place;

/// Zeroes `bytes` of the unused stack below the caller's frame, or all of it
/// when there is less. A handshake used 34 KB at most when measured.
pub fn scrub_stack(bytes: usize) {
    // SAFETY: the root task put this thread's stack there.
    unsafe { zero_below(place::STACK as usize, bytes) };
}

/// Zeroes from just below its own return address down to `bytes` bytes less,
/// or to `bottom`. It has no frame, so nothing in use is below that.
///
/// # Safety
/// `bottom` is the lowest byte of this thread's stack.
#[unsafe(naked)]
unsafe extern "C" fn zero_below(bottom: usize, bytes: usize) {
    naked_asm!(
        "pxor xmm0, xmm0",
        "mov rax, rsp",
        // How much there is, at most `bytes`, in whole blocks.
        "mov rcx, rax",
        "sub rcx, rdi",
        "cmp rcx, rsi",
        "cmova rcx, rsi",
        "and rcx, -1024",
        "jz 3f",
        "2:",
        ".set handoff_scrubbed, 0",
        ".rept 1024 / 16",
        ".set handoff_scrubbed, handoff_scrubbed + 16",
        "movups [rax - handoff_scrubbed], xmm0",
        ".endr",
        "sub rax, 1024",
        "sub rcx, 1024",
        "jnz 2b",
        "3:",
        "ret",
    )
}

/// Zeroes the vector registers.
#[inline(always)]
pub fn scrub_registers() {
    // SAFETY: changes nothing but the registers that it names.
    unsafe {
        asm!(
            "pxor xmm0, xmm0", "pxor xmm1, xmm1", "pxor xmm2, xmm2", "pxor xmm3, xmm3",
            "pxor xmm4, xmm4", "pxor xmm5, xmm5", "pxor xmm6, xmm6", "pxor xmm7, xmm7",
            "pxor xmm8, xmm8", "pxor xmm9, xmm9", "pxor xmm10, xmm10", "pxor xmm11, xmm11",
            "pxor xmm12, xmm12", "pxor xmm13, xmm13", "pxor xmm14, xmm14", "pxor xmm15, xmm15",
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            options(nostack, nomem),
        );
    }
}
