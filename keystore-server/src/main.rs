//! The program of the domain `keystore-server`.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod start;
mod updates;

use ipc::stats::keystore::HEAP;
use ipc::transport::MAX_MESSAGE;
use sel4::runtime::{self, Wake};

sel4::system!();
sel4::entry!(main);

fn main() -> ! {
    let (mut store, service) = start::store(system::Capabilities::take());
    let (mut request, mut reply) = ([0; MAX_MESSAGE], [0; MAX_MESSAGE]);
    start::scrub(&mut reply);
    let mut wake = Wake::Signal(u64::MAX);
    loop {
        let (answer, has_secrets) = store.turn(&wake, &request, &mut reply);
        runtime::counters().set(HEAP, runtime::heap_used() as u64);
        let told = answer.and_then(|length| reply.get(..length));
        wake = match (told, has_secrets) {
            (Some(told), false) => service.reply_and_wait(told, &mut request),
            (None, false) => service.wait(&mut request),
            (told, true) => {
                told.into_iter().for_each(|told| service.reply(told));
                start::scrub(&mut reply);
                service.wait(&mut request)
            }
        }
    }
}
