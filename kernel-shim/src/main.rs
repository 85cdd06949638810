//! The program of the domain `kernel-shim`.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod start;
mod windows;

use ipc::stats::shim::HEAP;
use ipc::transport::MAX_MESSAGE;
use sel4::runtime::{self, Wake};

sel4::system!();
sel4::entry!(main);

fn main() -> ! {
    let (mut server, service) = start::server(system::Capabilities::take());
    let (mut request, mut reply) = ([0; MAX_MESSAGE], [0; MAX_MESSAGE]);
    let mut wake = service.wait(&mut request);
    loop {
        let answer = match wake {
            Wake::Signal(_) => {
                server.run();
                None
            }
            Wake::Call { badge, length } => {
                let asked = request.get(..length).unwrap_or_default();
                let length = server.serve(badge, asked, &mut reply);
                reply.get_mut(..length)
            }
        };
        runtime::counters().set(HEAP, runtime::heap_used() as u64);
        runtime::wake_at(server.next_deadline());
        runtime::note_untaken(|| server.untaken());
        wake = service.next_clearing(answer, &mut request);
    }
}
