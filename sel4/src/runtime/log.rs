//! Lines for the monitor. Never for secrets.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use ipc::boot::{LogRing, place, slot};
use ipc::log_ring::Writer;

use super::clock::SystemClock;
use crate::syscall;

/// Writes one line to the log. Never give it a secret.
#[macro_export]
macro_rules! log {
    ($($arg:tt)*) => { $crate::runtime::log::write(format_args!($($arg)*)) };
}

/// Takes a line.
pub type Sink = fn(fmt::Arguments<'_>);

static SINK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Sends lines to `sink`: the root task prints its own.
pub fn use_sink(sink: Sink) {
    SINK.store(sink as *mut (), Ordering::Relaxed);
}

/// Sends lines to the ring that the monitor drains.
///
/// # Safety
/// The root task has mapped the log ring of this domain at its place.
pub(super) unsafe fn use_ring() {
    use_sink(to_ring);
}

/// Writes one line. Without a sink nothing happens.
pub fn write(line: fmt::Arguments<'_>) {
    let pointer = SINK.load(Ordering::Relaxed);
    if pointer.is_null() {
        return;
    }
    // SAFETY: only `use_sink` stores a pointer there, made from a `Sink`.
    let sink: Sink = unsafe { core::mem::transmute::<*mut (), Sink>(pointer) };
    sink(line);
}

/// Sends the monitor a heartbeat: this domain waits for work, calls another, or has done
/// a piece of work and goes on with the next. A domain that does none of these for
/// `silence_ms` is restarted.
#[inline(always)]
pub fn note_progress() {
    count();
}

/// Counts a heartbeat; the new count, which is not zero: 64 bits do not wrap.
#[inline(always)]
fn count() -> u64 {
    let ring = ring();
    let progress = ring.progress.load(Ordering::Relaxed).wrapping_add(1);
    ring.progress.store(progress, Ordering::Relaxed);
    progress
}

/// Tells the monitor that this domain has taken a call and owes an answer. The first
/// unanswered call counts.
#[inline(always)]
pub(super) fn note_taken() {
    let owed = &ring().owed;
    if owed.load(Ordering::Relaxed) == 0 {
        owed.store(count(), Ordering::Relaxed);
    }
}

/// Tells it that the call is answered.
#[inline(always)]
pub(super) fn note_answered() {
    ring().owed.store(0, Ordering::Relaxed);
}

/// Tells it that this domain calls another, or has its answer.
#[inline(always)]
pub(super) fn note_asking(asks: bool) {
    let call = if asks { count() } else { 0 };
    ring().asked.store(call, Ordering::Relaxed);
}

/// Of so many waits the queues are looked at before one.
const SELDOM: u32 = 16;
/// Waits since the last one before which they were.
static WAITS: AtomicU32 = AtomicU32::new(0);

/// Tells the monitor, before a wait, which event of this domain's queues was not taken:
/// `find` names it, or is zero. A domain that waits has taken all, so a name that stays is
/// a queue that nobody reads. It is looked for now and then, and as long as there is one.
#[inline(always)]
pub fn note_untaken(find: impl FnOnce() -> u64) {
    let untaken = &ring().untaken;
    // One thread counts.
    let waits = WAITS.load(Ordering::Relaxed).wrapping_add(1);
    WAITS.store(waits, Ordering::Relaxed);
    if waits.is_multiple_of(SELDOM) || untaken.load(Ordering::Relaxed) != 0 {
        untaken.store(find(), Ordering::Relaxed);
    }
}

/// Tells it that there are no queues yet.
pub(super) fn note_none_untaken() {
    ring().untaken.store(0, Ordering::Relaxed);
}

fn ring() -> &'static LogRing {
    // SAFETY: the root task mapped the ring there for good; all of it is atomics.
    unsafe { &*(place::LOG as *const LogRing) }
}

fn to_ring(line: fmt::Arguments<'_>) {
    let mut writer = Writer::begin(ring());
    // The writer itself never fails; a failing Display cuts the line short.
    let _ = writer.write_fmt(line);
    if writer.end(SystemClock::ticks()) {
        syscall::signal(slot::cptr(slot::LOG));
    }
}
