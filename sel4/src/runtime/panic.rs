//! What happens when a program can't go on, and symbols that the compiler's
//! prebuilt parts name.

use core::fmt;
use core::panic::PanicInfo;

use super::log;

/// Tells where, and why if that is a constant: a formatted message may quote a secret.
/// Then faults, so that the monitor knows.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    log::write(format_args!("{}", Panic(info)));
    stop()
}

struct Panic<'a>(&'a PanicInfo<'a>);

impl fmt::Display for Panic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("panic")?;
        if let Some(place) = self.0.location() {
            write!(f, " at {}:{}", place.file(), place.line())?;
        }
        match self.0.message().as_str() {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
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
