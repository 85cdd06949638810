//! Leaves no secret behind in registers and on the stack.

use core::arch::asm;

use ipc::boot::place;

/// Zeroes `bytes` of the unused stack below the caller's frame, or all of it
/// when there is less. A handshake used 34 KB at most when measured.
#[inline(never)]
pub fn scrub_stack(bytes: usize) {
    let bottom = place::STACK as usize;
    // SAFETY: writes only the part of this thread's stack that is below the
    // red zone and not in use; the stack starts at `bottom`.
    unsafe {
        asm!(
            "pxor {x}, {x}",
            "lea {at}, [rsp - 128]",
            "and {at}, -64",
            "mov {end}, {at}",
            "sub {end}, {bytes}",
            "jb 3f",
            "cmp {end}, {bottom}",
            "jae 4f",
            "3:",
            "mov {end}, {bottom}",
            "4:",
            "cmp {at}, {end}",
            "jbe 6f",
            "5:",
            "sub {at}, 64",
            "movaps [{at}], {x}",
            "movaps [{at} + 16], {x}",
            "movaps [{at} + 32], {x}",
            "movaps [{at} + 48], {x}",
            "cmp {at}, {end}",
            "ja 5b",
            "6:",
            x = out(xmm_reg) _, at = out(reg) _, end = out(reg) _,
            bytes = in(reg) bytes & !63, bottom = in(reg) bottom,
        );
    }
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
