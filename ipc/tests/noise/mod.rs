//! Messages that are almost right, messages that are nothing, and what they
//! leave in memory: for the tests of every server (`#[path]`).
#![allow(dead_code, reason = "each test uses its part")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ipc::sample::Sampled;
use ipc::transport::{MAX_MESSAGE, Protocol, decode};

/// Messages for each operation.
pub(crate) const MESSAGES: usize = 10_000;
/// What a collection may keep for its next use. A server that kept one byte of
/// every message would exceed it.
const SLACK: isize = 4096;

/// Pseudo-random numbers, the same in each run (xorshift64).
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[1]
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    /// `valid` with some damage, or nothing but noise after its first byte,
    /// or nothing but noise.
    pub(crate) fn message(&mut self, valid: &[u8]) -> Vec<u8> {
        let mut message = valid.to_vec();
        let at = self.below(message.len());
        match self.below(8) {
            0 => {
                let length = self.below(MAX_MESSAGE + 1);
                return self.bytes(length);
            }
            1 => {
                let length = self.below(MAX_MESSAGE);
                message.truncate(1);
                message.extend(self.bytes(length));
            }
            2 => message.truncate(at),
            3 => {
                let length = 1 + self.below(16);
                message.extend(self.bytes(length));
            }
            4 => {
                message.remove(at);
            }
            5 => {
                let byte = self.byte();
                message.insert(at, byte);
            }
            6 => message[at] = [0, 0x7f, 0x80, 0xff][self.below(4)],
            _ => {
                for _ in 0..=self.below(4) {
                    let at = self.below(message.len());
                    message[at] ^= 1 << self.below(8);
                }
            }
        }
        message.truncate(MAX_MESSAGE);
        message
    }
}

/// What a world's server is asked.
pub(crate) type Request<S> = <<S as Sufferer>::Protocol as Protocol>::Request;

/// A world around one server.
pub(crate) trait Sufferer {
    type Protocol: Protocol;

    /// Serves a message as from the one who may ask for `valid`.
    fn serve(
        &mut self,
        valid: &Request<Self>,
        message: &[u8],
        reply: &mut [u8; MAX_MESSAGE],
    ) -> usize;

    /// Looks at an answer.
    fn look(&mut self, _answer: &<Self::Protocol as Protocol>::Reply) {}

    /// Undoes what messages that were right by chance have done, then asks for
    /// something, which must work.
    fn recover(&mut self);
}

/// Ten thousand messages for each of `valid`, and for the sample of each other operation,
/// twice: the second time, no more memory is in use afterwards.
pub(crate) fn storm<S: Sufferer>(server: &mut S, valid: impl IntoIterator<Item = Request<S>>)
where
    Request<S>: Sampled,
{
    let encoded = |request: &Request<S>| postcard::to_allocvec(request).unwrap();
    let valid = valid
        .into_iter()
        .map(|request| (encoded(&request), request));
    let mut valid: Vec<_> = valid.collect();
    for (sample, _) in Request::<S>::samples() {
        let sample = (encoded(&sample), sample);
        // An operation is the first byte.
        if valid.iter().all(|(bytes, _)| bytes[0] != sample.0[0]) {
            valid.push(sample);
        }
    }
    let mut in_use = isize::MAX - SLACK;
    for round in 0..2 {
        for (operation, (bytes, valid)) in valid.iter().enumerate() {
            let mut noise = Noise::new(((operation as u64) << 32) + round + 77);
            for _ in 0..MESSAGES {
                let message = noise.message(bytes);
                let mut reply = [0xa5; MAX_MESSAGE];
                let length = server.serve(valid, &message, &mut reply);
                let answer = decode(&reply[..length]);
                let Some(answer) = answer else {
                    panic!("operation {operation}: no answer to {message:02x?}");
                };
                server.look(&answer);
            }
            server.recover();
        }
        let now = LIVE.with(Cell::get);
        assert!(now <= in_use + SLACK, "{in_use} bytes in use, then {now}");
        in_use = now;
    }
}

// ---- memory ----

/// Counts, on each thread, the bytes in use.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends has no count any more.
    let _ = LIVE.try_with(|live| live.set(live.get() + bytes));
}

// SAFETY: all memory is the system's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;
