//! The program of the domain `keystore-server`.
#![no_std]
#![no_main]

use ipc::stats::keystore::HEAP;
use ipc::transport::MAX_MESSAGE;
use keystore_server::Server;
use sel4::runtime::{self, Service, Wake};
use zeroize::Zeroize;

mod system {
    include!(concat!(env!("OUT_DIR"), "/system.rs"));
}

sel4::entry!(main);

/// More than a decryption uses of the stack.
const STACK_USED: usize = 48 * 1024;

fn main() -> ! {
    // SAFETY: the only reference of this domain to its own page.
    let stats = unsafe { runtime::stats(system::STATS) };
    // SAFETY: the constant of this domain.
    let blob = unsafe { runtime::provision(system::PROVISION_KEYRINGS) };
    // SAFETY: this domain serves; the only `Service`.
    let service = unsafe { Service::new() };
    let mut server = match Server::new(blob, stats) {
        Ok(server) => server,
        Err(error) => panic!("key rings: {error:?}"),
    };
    sel4::log!("{} key rings", server.keyrings());
    let mut request = [0; MAX_MESSAGE];
    let mut reply = [0; MAX_MESSAGE];
    let mut wake = service.wait(&mut request);
    loop {
        stats.set(HEAP, runtime::heap_used() as u64);
        wake = match wake {
            Wake::Signal(_) => service.wait(&mut request),
            Wake::Call { badge, length } => {
                let asked = request.get(..length).unwrap_or_default();
                let length = server.serve(badge, asked, &mut reply);
                let answer = reply.get(..length).unwrap_or_default();
                if server.has_told_secret() {
                    service.reply(answer);
                    reply.zeroize();
                    runtime::scrub_stack(STACK_USED);
                    runtime::scrub_registers();
                    service.wait(&mut request)
                } else {
                    service.reply_and_wait(answer, &mut request)
                }
            }
        }
    }
}
