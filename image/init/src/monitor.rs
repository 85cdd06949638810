//! What the root task does for the rest of its life: prints what the domains
//! log, and what stops them.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use ipc::boot::LogRing;
use sel4::cap::REGISTER_NAMES;
use sel4::fault::Fault;
use sel4::log;
use sel4::runtime::SystemClock;

use crate::builder::{Built, Watched};
use crate::serial;

/// Set in the badge of faults; the rest is the domain's number.
const FAULT_BADGE: u64 = 1 << 27;
/// Longest line that is printed; longer ones are broken.
const LINE: usize = 512;

/// Bytes that a domain may log at once, and in each second after that: the
/// monitor runs before everybody else, so a domain that never stops talking
/// would stop the system.
const BURST: u64 = 256 * 1024;
const RATE: u64 = 32 * 1024;

/// How far a domain's log has been printed.
struct Reader {
    read: u64,
    line: Vec<u8>,
    allowance: u64,
    refilled: u64,
    limited: bool,
}

impl Reader {
    fn new() -> Self {
        Self {
            read: 0,
            line: Vec::with_capacity(LINE),
            allowance: BURST,
            refilled: SystemClock::ticks(),
            limited: false,
        }
    }

    /// Takes `bytes` out of what the domain may log; `false` when it is too
    /// much.
    fn allows(&mut self, bytes: u64, tsc_hz: u64) -> bool {
        let now = SystemClock::ticks();
        let earned = u128::from(now.wrapping_sub(self.refilled)) * u128::from(RATE);
        let earned = (earned / u128::from(tsc_hz.max(1))) as u64;
        if earned > 0 {
            self.allowance = self.allowance.saturating_add(earned).min(BURST);
            self.refilled = now;
        }
        let left = self.allowance.checked_sub(bytes);
        self.allowance = left.unwrap_or(self.allowance);
        left.is_some()
    }
}

/// Watches for ever.
pub(crate) fn run(built: &Built) -> ! {
    let mut readers: Vec<Reader> = built.domains.iter().map(|_| Reader::new()).collect();
    loop {
        let (badge, info) = built.endpoint.recv();
        let fault = (badge & FAULT_BADGE != 0).then(|| Fault::from_message(info));
        // Lines that a domain wrote before its fault come first.
        for (domain, reader) in built.domains.iter().zip(&mut readers) {
            drain(domain, reader, built.tsc_hz);
        }
        if let Some(fault) = fault {
            let number = usize::try_from(badge & !FAULT_BADGE).unwrap_or(usize::MAX);
            if let Some(domain) = built.domains.get(number) {
                report(domain, fault);
            }
        }
        // No answer: the domain stays stopped, the others run.
    }
}

/// Prints the lines that `domain` has finished.
fn drain(domain: &Watched, reader: &mut Reader, tsc_hz: u64) {
    // SAFETY: `Work::map_log` mapped the ring there for good; it is atomics,
    // which another domain writes.
    let ring = unsafe { &*(domain.log as *const LogRing) };
    let capacity = ring.data.len() as u64 * 8;
    let written = ring.written.load(Ordering::Acquire);
    let fresh = written.wrapping_sub(reader.read);
    if fresh == 0 {
        return;
    }
    let allowed = fresh <= capacity && reader.allows(fresh, tsc_hz);
    if !allowed && !reader.limited {
        log!("{}: logs too much, lines are dropped", domain.name);
    }
    reader.limited = !allowed;
    if !allowed {
        reader.read = written;
        reader.line.clear();
    }
    while reader.read != written {
        let at = reader.read % capacity;
        let word = ring.data.get((at / 8) as usize);
        let byte = word.map_or(0, |word| {
            (word.load(Ordering::Relaxed) >> (at % 8 * 8)) as u8
        });
        reader.read = reader.read.wrapping_add(1);
        if byte == b'\n' || reader.line.len() >= LINE {
            print(domain, &reader.line);
            reader.line.clear();
        }
        // A domain can't send control characters to the terminal.
        match byte {
            b'\n' => {}
            b' '..=b'~' => reader.line.push(byte),
            _ => reader.line.push(b'?'),
        }
    }
}

fn print(domain: &Watched, line: &[u8]) {
    serial::write(domain.name.as_bytes());
    serial::write(b": ");
    serial::write(line);
    serial::write(b"\n");
}

/// Tells which domain stopped, why, and its registers.
fn report(domain: &Watched, fault: Fault) {
    let name = &domain.name;
    log!("fault: {name}: {fault}");
    let Ok(registers) = domain.tcb.read_registers() else {
        return;
    };
    log!(
        "fault: {name}: rip {:016x} rsp {:016x} rflags {:08x}",
        registers.rip,
        registers.rsp,
        registers.rflags
    );
    let pairs: Vec<_> = REGISTER_NAMES.iter().zip(registers.others).collect();
    for row in pairs.chunks(3) {
        serial::write(b"fault:");
        for (register, value) in row {
            sel4::runtime::log::write_part(format_args!(" {register:>3} {value:016x}"));
        }
        serial::write(b"\n");
    }
}
