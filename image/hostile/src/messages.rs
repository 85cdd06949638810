//! Messages that make no sense, on every endpoint that the domain may call.

use ipc::boot::slot;
use ipc::transport::{MAX_MESSAGE, Transport};
use sel4::cap::Endpoint;
use sel4::message::MESSAGE_WORDS;
use sel4::runtime::Caller;
use sel4::{Cap, MessageInfo, log};

use crate::Held;
use crate::random::Random;

/// Messages to each server.
const MESSAGES: u32 = 1000;

/// Sends them; each is answered, or the line is missing.
pub(crate) fn try_all(held: &Held) {
    let mut random = Random::new(0x5eed_5eed);
    for number in held.calls {
        // SAFETY: the description gives this domain that call.
        let server = unsafe { Caller::new(slot::cptr(*number)) };
        let mut answered = 0_u32;
        for _ in 0..MESSAGES {
            let mut request = [0; MAX_MESSAGE];
            for byte in &mut request {
                *byte = random.next() as u8;
            }
            // Mostly small numbers first: they pass for the number of an operation.
            if let Some(first) = request.first_mut()
                && random.below(4) > 0
            {
                *first %= 16;
            }
            let length = random.below(MAX_MESSAGE as u64 + 1) as usize;
            let request = request.get(..length).unwrap_or_default();
            answered += u32::from(server.call(request, &mut [0; MAX_MESSAGE]).is_ok());
        }
        oversized(*number);
        log!("hostile: {answered} answers to {MESSAGES} messages to slot {number}");
    }
}

/// As long as the kernel carries, with an unsolicited label and capabilities.
fn oversized(number: u64) {
    // SAFETY: the description gives this domain that call.
    let server: Endpoint = unsafe { Cap::from_bits(slot::cptr(number)) };
    for label in [0, 1, 77, 0xf_ffff] {
        for capabilities in 0..4 {
            server.call(MessageInfo::new(label, capabilities, MESSAGE_WORDS));
        }
    }
}
