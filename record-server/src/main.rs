//! The program of the domain `record-server`.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod start;

use ipc::clock::Clock;
use ipc::stats::record::HEAP;
use ipc::transport::MAX_MESSAGE;
use sel4::runtime::{self, SystemClock, Wake};

sel4::system!();
sel4::entry!(main);

fn main() -> ! {
    let (mut server, service) = start::server(system::Capabilities::take());
    let (mut request, mut reply) = ([0; MAX_MESSAGE], [0; MAX_MESSAGE]);
    let mut wake = service.wait(&mut request);
    loop {
        match wake {
            Wake::Signal(_) => server.run(SystemClock.now()),
            Wake::Call { badge, length } => {
                let asked = request.get_mut(..length).unwrap_or_default();
                let answer = start::answer(&mut server, &service, badge, asked, &mut reply);
                if let Some(answer) = answer
                    && !server.is_busy()
                {
                    start::rest(&server);
                    wake = service.reply_and_wait(answer, &mut request);
                    continue;
                }
                answer.into_iter().for_each(|answer| service.reply(answer));
            }
        }
        runtime::counters().set(HEAP, runtime::heap_used() as u64);
        wake = start::next(&mut server, &service, &mut request);
    }
}
