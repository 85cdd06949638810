//! Where a domain starts, each time.
//!
//! The monitor holds no page of a domain, so it can't restore the memory of a domain that
//! terminated: the domain does that itself, before anything else, with instructions and
//! data that it can't have changed, because they are mapped read-only. Nothing that was
//! there before survives: not a register, not a byte of stack, heap or writable data.

#[doc(hidden)]
pub use ipc::boot::{Extent, Facts, MAX_EXTENTS, PAGE, place, start};

/// Makes `$main`, a `fn() -> !`, the start of a protection domain.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        // RDI tells why (`ipc::boot::start`), RSP is the end of the stack; no byte of
        // the stack is used before it is cleared.
        core::arch::global_asm!(
            ".pushsection .text._start,\"ax\",@progbits",
            ".global _start",
            ".type _start, @function",
            "_start:",
            "cld",
            "mov r12, rdi",
            "mov r13d, {facts}",
            "xor eax, eax",
            "cmp r12, {first}",
            "je 2f",
            "mov edi, {stack}",
            "mov rcx, [r13 + {stack_bytes}]",
            "shr rcx, 3",
            "rep stosq",
            "mov edi, {heap}",
            "mov rcx, [r13 + {heap_bytes}]",
            "shr rcx, 3",
            "rep stosq",
            "mov edi, {buffer}",
            "mov ecx, {page_words}",
            "rep stosq",
            "fninit",
            "ldmxcsr [rip + handoff_mxcsr]",
            "pxor xmm0, xmm0",
            "pxor xmm1, xmm1",
            "pxor xmm2, xmm2",
            "pxor xmm3, xmm3",
            "pxor xmm4, xmm4",
            "pxor xmm5, xmm5",
            "pxor xmm6, xmm6",
            "pxor xmm7, xmm7",
            "pxor xmm8, xmm8",
            "pxor xmm9, xmm9",
            "pxor xmm10, xmm10",
            "pxor xmm11, xmm11",
            "pxor xmm12, xmm12",
            "pxor xmm13, xmm13",
            "pxor xmm14, xmm14",
            "pxor xmm15, xmm15",
            "2:",
            "lea rbx, [r13 + {extents}]",
            "mov edx, {count}",
            "3:",
            "mov rdi, [rbx + {address}]",
            "mov rcx, [rbx + {bytes}]",
            "shr rcx, 3",
            "rep stosq",
            "mov rdi, [rbx + {address}]",
            "mov rsi, [rbx + {initial}]",
            "mov rcx, [rbx + {initial_bytes}]",
            "shr rcx, 3",
            "rep movsq",
            "add rbx, {extent}",
            "dec edx",
            "jnz 3b",
            "xor ebp, ebp",
            "and rsp, -16",
            "mov rdi, r12",
            "call handoff_domain_start",
            "ud2",
            ".popsection",
            ".pushsection .rodata.handoff_mxcsr,\"a\",@progbits",
            // Every exception masked, round to nearest: what the processor starts with.
            "handoff_mxcsr: .long 0x1f80",
            ".popsection",
            facts = const $crate::runtime::reset::place::FACTS,
            first = const $crate::runtime::reset::start::FIRST,
            stack = const $crate::runtime::reset::place::STACK,
            stack_bytes = const core::mem::offset_of!($crate::runtime::reset::Facts, stack),
            heap = const $crate::runtime::reset::place::HEAP,
            heap_bytes = const core::mem::offset_of!($crate::runtime::reset::Facts, heap),
            buffer = const $crate::runtime::reset::place::IPC_BUFFER,
            page_words = const $crate::runtime::reset::PAGE / 8,
            extents = const core::mem::offset_of!($crate::runtime::reset::Facts, extents),
            count = const $crate::runtime::reset::MAX_EXTENTS,
            address = const core::mem::offset_of!($crate::runtime::reset::Extent, address),
            bytes = const core::mem::offset_of!($crate::runtime::reset::Extent, bytes),
            initial = const core::mem::offset_of!($crate::runtime::reset::Extent, initial),
            initial_bytes = const core::mem::offset_of!($crate::runtime::reset::Extent, initial_bytes),
            extent = const core::mem::size_of::<$crate::runtime::reset::Extent>(),
        );

        #[unsafe(no_mangle)]
        extern "C" fn handoff_domain_start(why: u64) -> ! {
            // SAFETY: called once after each start, by `_start`, in a program
            // that the root task started with its pages in place.
            unsafe { $crate::runtime::start_domain(why) };
            let main: fn() -> ! = $main;
            main()
        }
    };
}
