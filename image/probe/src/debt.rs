//! A server that waits although it owes an answer, and its client.

use ipc::boot::slot;
use ipc::transport::{MAX_MESSAGE, Transport, TransportError};
use sel4::log;
use sel4::runtime::{Caller, Service, Wake, wait_signals};

/// The caller can still be refused.
const KEEP: &[u8] = b"keep";
/// The kernel has forgotten the caller.
const LOSE: &[u8] = b"lose";

const ANSWER: &[u8] = &[0; 4];

pub(crate) fn owe() -> ! {
    // SAFETY: this domain serves, and this is its only service.
    let service = unsafe { Service::new() };
    let mut request = [0; MAX_MESSAGE];
    let mut wake = service.wait(&mut request);
    loop {
        let length = match wake {
            Wake::Signal(_) => 0,
            Wake::Call { length, .. } => length,
        };
        wake = match request.get(..length) {
            Some(KEEP) => Wake::Signal(wait_signals()),
            Some(LOSE) => service.wait(&mut request),
            _ => service.reply_and_wait(ANSWER, &mut request),
        };
    }
}

pub(crate) fn ask() -> ! {
    // SAFETY: the description gives this domain that capability first.
    let server = unsafe { Caller::new(slot::cptr(slot::FIRST)) };
    let mut reply = [0; MAX_MESSAGE];
    let answered = server.call(b"answer", &mut reply) == Ok(ANSWER.len());
    log!("{} an answer comes", if answered { "ok" } else { "FAILED" });
    let refused = server.call(KEEP, &mut reply) == Err(TransportError::Gone);
    log!(
        "{} who waited is refused",
        if refused { "ok" } else { "FAILED" }
    );
    loop {
        // Until it is restarted it refuses every call.
        let answer = server.call(LOSE, &mut reply);
        if answer != Err(TransportError::Gone) {
            log!("FAILED {answer:?} for a call that was lost");
        }
    }
}
