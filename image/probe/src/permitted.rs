//! What a domain may do: calls, heap, memory functions, clock, clean-up.
#![expect(
    clippy::indexing_slicing,
    reason = "checks over buffers of sizes that stand beside them; a panic is a red test"
)]

use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;

use ipc::badge::Badge;
use ipc::boot::slot;
use ipc::channel::Doorbell;
use ipc::clock::Clock;
use ipc::transport::{MAX_MESSAGE, Transport, TransportError};
use sel4::log;
use sel4::runtime::{Bell, Caller, Service, SystemClock, Wake, scrub_registers, scrub_stack};

use crate::manager;

/// Answers every call with its own bytes, the badge in front when asked for.
pub(crate) fn echo() {
    // SAFETY: this domain serves, and this is its only service.
    let service = unsafe { Service::new() };
    let mut request = [0; MAX_MESSAGE];
    let mut wake = service.wait(&mut request);
    loop {
        wake = match wake {
            Wake::Signal(_) => service.wait(&mut request),
            Wake::Call { badge, length } => {
                let mut answer = [0; MAX_MESSAGE];
                let mut used = length;
                if length == 5 {
                    answer[..8].copy_from_slice(&badge.to_le_bytes());
                    used = 8;
                } else {
                    answer[..length].copy_from_slice(&request[..length]);
                }
                service.reply_and_wait(&answer[..used], &mut request)
            }
        };
    }
}

pub(crate) fn call() {
    // SAFETY: the description gives this domain that capability first.
    let server = unsafe { Caller::new(slot::cptr(slot::FIRST)) };
    messages(&server);
    window();
    memory_functions();
    heap();
    stack();
    clock();
    costs(&server);
}

/// Tells each second of the wall clock when it begins.
pub(crate) fn tell_time() -> ! {
    let mut told = 0;
    loop {
        let second = SystemClock.unix_seconds();
        if second != told {
            told = second;
            log!("second {second}");
        }
    }
}

fn verdict(what: &str, good: bool) {
    log!("{} {what}", if good { "ok" } else { "FAILED" });
}

fn messages(server: &Caller) {
    let mut reply = [0; MAX_MESSAGE];
    let length = server.call(b"badge", &mut reply);
    let expected = (ipc::badge::CALL | 7).to_le_bytes();
    verdict("a badge arrives", length == Ok(8) && reply[..8] == expected);
    let sent: Vec<u8> = (0..MAX_MESSAGE).map(|at| (at % 251) as u8).collect();
    let lengths = [0, 1, 7, 8, 9, 31, 32, 33, 100, 959, 960];
    // Downwards too: a short message after a long one.
    let good = lengths
        .into_iter()
        .chain(lengths.into_iter().rev())
        .all(|length| {
            server.call(&sent[..length], &mut reply) == Ok(length)
                && reply[..length] == sent[..length]
        });
    verdict("messages of every length come back", good);
    let left = (0..sel4::message::MESSAGE_WORDS).all(|index| sel4::message::word(index) == 0);
    verdict("nothing is left in the IPC buffer", left);
}

/// Uses what the manager put into the window.
fn window() {
    // The description gives this domain a call, a signal, then the window.
    let window = slot::cptr(slot::FIRST + 2);
    let mut reply = [0; MAX_MESSAGE];
    let mut call = |index: u64| {
        // SAFETY: the address is in the window; that it may be empty is the
        // point.
        let caller = unsafe { Caller::new(window | index) };
        caller.call(b"badge", &mut reply).map(|length| {
            let badge = reply[..8].try_into().map(u64::from_le_bytes);
            (length, badge.ok().and_then(Badge::from_word))
        })
    };
    let granted = call(manager::GRANTED) == Ok((8, Some(manager::BADGE)));
    verdict("a granted capability works", granted);
    let gone = Err(TransportError::Gone);
    verdict(
        "a revoked capability is gone",
        call(manager::REVOKED) == gone,
    );
    verdict("an empty slot is gone", call(manager::EMPTY) == gone);
    // SAFETY: the description gives this domain that signal second.
    unsafe { Bell::new(slot::cptr(slot::FIRST + 1)) }.ring();
    verdict(
        "what was used can be taken back",
        call(manager::GRANTED) == gone,
    );
}

fn memory_functions() {
    const SIZE: usize = 600;
    let pattern: Vec<u8> = (0..SIZE).map(|at| (at * 7 % 253) as u8).collect();
    let mut copies = true;
    let mut moves = true;
    let mut fills = true;
    for length in 0..SIZE / 2 {
        for shift in [0, 1, 8, 15, 16, 17, 63, 64, 65, 120] {
            let mut bytes = black_box(vec![0xee; SIZE]);
            bytes[shift..shift + length].copy_from_slice(black_box(&pattern[..length]));
            copies &= bytes[shift..shift + length] == pattern[..length]
                && bytes[..shift].iter().all(|byte| *byte == 0xee)
                && bytes[shift + length..].iter().all(|byte| *byte == 0xee);
            for (from, to) in [(shift, 60), (60, shift)] {
                let mut bytes = black_box(pattern.clone());
                bytes.copy_within(from..from + length, to);
                moves &= bytes[to..to + length] == pattern[from..from + length]
                    && bytes[..to] == pattern[..to]
                    && bytes[to + length..] == pattern[to + length..];
            }
            let mut bytes = black_box(pattern.clone());
            bytes[shift..shift + length].fill(black_box(0x5a));
            fills &= bytes[shift..shift + length]
                .iter()
                .all(|byte| *byte == 0x5a)
                && bytes[..shift] == pattern[..shift]
                && bytes[shift + length..] == pattern[shift + length..];
        }
    }
    verdict("memcpy copies", copies);
    verdict("memmove moves", moves);
    verdict("memset fills", fills);
    let mut compares = true;
    for at in 0..40 {
        let mut other = pattern.clone();
        other[at] = other[at].wrapping_add(1);
        compares &= pattern[..at] == other[..at]
            && (pattern[..40].cmp(&other[..40]) == pattern[at].cmp(&other[at]));
    }
    verdict("memcmp compares", compares);
}

fn heap() {
    let mut secret = vec![0x77_u8; 4000];
    let place = black_box(secret.as_mut_ptr());
    drop(secret);
    // SAFETY: the heap stays mapped; what is read is freed memory, volatile so
    // that the compiler makes no use of that. The allocator keeps its own words
    // at the ends.
    let cleared = (64..3900).all(|at| unsafe { place.wrapping_add(at).read_volatile() } != 0x77);
    verdict("freed memory is zeroed", cleared);
    let used = sel4::runtime::heap_used();
    let mut grown = vec![0x77_u8; 64];
    let place = black_box(grown.as_mut_ptr());
    grown.reserve_exact(100_000);
    let moved = grown.as_mut_ptr() != place;
    // SAFETY: as above.
    let cleared = (16..48).all(|at| unsafe { place.wrapping_add(at).read_volatile() } != 0x77);
    verdict("a block that moved is zeroed", !moved || cleared);
    drop(grown);
    verdict("all memory comes back", sel4::runtime::heap_used() == used);
}

#[inline(never)]
fn leave_a_secret() -> *const u8 {
    let secret = black_box([0x99_u8; 2048]);
    black_box(secret.as_ptr())
}

fn stack() {
    let place = leave_a_secret();
    scrub_stack(64 * 1024);
    scrub_registers();
    // SAFETY: that part of the stack is mapped and not in use.
    let cleared = (0..2048).all(|at| unsafe { place.wrapping_add(at).read_volatile() } != 0x99);
    verdict("the stack is scrubbed", cleared);
}

fn clock() {
    let clock = SystemClock;
    let (first, second) = (clock.now(), clock.now());
    verdict("time goes forward", second >= first);
    log!("unix time {}", clock.unix_seconds());
}

fn costs(server: &Caller) {
    const ROUNDS: u64 = 1000;
    let mut reply = [0; MAX_MESSAGE];
    for bytes in [8, 32, 64, 256, 960] {
        let request = [1; MAX_MESSAGE];
        let start = SystemClock::ticks();
        for _ in 0..ROUNDS {
            // The server's answers were checked above.
            let _ = server.call(&request[..bytes], &mut reply);
        }
        let ticks = (SystemClock::ticks() - start) / ROUNDS;
        log!("call and reply of {bytes} bytes: {ticks} ticks");
    }
}
