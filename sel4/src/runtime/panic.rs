//! What happens when a program can't go on, and symbols that the compiler's
//! prebuilt parts name.

use core::panic::PanicInfo;

use super::log;

/// Tells where, and why if that is a constant: a formatted message may quote a secret.
/// Then faults, so that the monitor knows.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    match info.location() {
        Some(place) => log::write_part(format_args!("panic at {}:{}", place.file(), place.line())),
        None => log::write_part(format_args!("panic")),
    }
    match info.message().as_str() {
        Some(text) => log::write(format_args!(": {text}")),
        None => log::write(format_args!("")),
    }
    stop()
}

/// Raises an invalid opcode exception.
fn stop() -> ! {
    // SAFETY: the exception ends this thread; nothing runs afterwards.
    unsafe { core::arch::asm!("ud2", options(noreturn, nostack)) }
}

/// Named by the prebuilt `alloc`, never reached: panics abort.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Named by the prebuilt `alloc`, never reached: panics abort.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    stop()
}
