//! The program of the domain `keystore-server`.
#![no_std]
#![no_main]

use ipc::stats::keystore::HEAP;
use ipc::transport::MAX_MESSAGE;
use keystore_server::{Server, firmware};
use sel4::runtime::{self, Ports, Service, Wake};
use zeroize::Zeroize;

mod start;
mod system {
    include!(concat!(env!("OUT_DIR"), "/system.rs"));
}

sel4::entry!(main);

const _: () = ipc::budget::fits(&keystore_server::budget(), system::HEAP);

/// More than a decryption uses of the stack.
const STACK_USED: usize = 48 * 1024;

fn main() -> ! {
    // SAFETY: the only reference of this domain to its own page.
    let stats = unsafe { runtime::stats(system::STATS) };
    // SAFETY: the constant of this domain.
    let blob = unsafe { runtime::provision(system::PROVISION_KEYRINGS) };
    // SAFETY: this domain serves; the only `Service`.
    let service = unsafe { Service::new() };
    // SAFETY: the constant of this domain, used once.
    let ports = unsafe { Ports::new(system::PORTS_FIRMWARE) };
    let key = || firmware::key(&ports);
    let (mut request, mut reply) = ([0; MAX_MESSAGE], [0; MAX_MESSAGE]);
    let mut server = match Server::new(blob, stats, key) {
        Ok(server) => server,
        Err(error) => start::stay_down(&service, stats, error),
    };
    runtime::scrub_stack(STACK_USED);
    runtime::scrub_registers();
    sel4::log!("{} key rings", server.keyrings());
    // SAFETY: called once.
    let mut updates = unsafe { start::Updates::new(&server) };
    let mut wake = Wake::Signal(u64::MAX);
    loop {
        let mut answer = None;
        if server.has_replaced() {
            updates.expire(&mut server);
        }
        let mut has_secrets = server.has_told_secret();
        match wake {
            Wake::Signal(_) => has_secrets |= updates.run(&mut server, key),
            Wake::Call { badge, length } => {
                let asked = request.get(..length).unwrap_or_default();
                let length = server.serve(badge, asked, &mut reply);
                has_secrets = server.has_told_secret();
                answer = reply.get(..length);
            }
        }
        stats.set(HEAP, runtime::heap_used() as u64);
        wake = match (answer, has_secrets) {
            (Some(answer), false) => service.reply_and_wait(answer, &mut request),
            (None, false) => service.wait(&mut request),
            (answer, true) => {
                answer.into_iter().for_each(|answer| service.reply(answer));
                reply.zeroize();
                runtime::scrub_stack(STACK_USED);
                runtime::scrub_registers();
                service.wait(&mut request)
            }
        }
    }
}
