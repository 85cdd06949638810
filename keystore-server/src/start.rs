//! What the server gets of what the system description gives this domain, and the end of a
//! start.

use core::fmt;

use ipc::transport::MAX_MESSAGE;
use keystore_server::{Server, firmware};
use sel4::runtime::{self, Ports, Service, Wake};
use zeroize::Zeroize;

use crate::system::{Capabilities, FACTS};
use crate::updates::Updates;

const _: () = ipc::budget::fits(&keystore_server::budget(), FACTS.heap);

/// More than a decryption uses of the stack.
const STACK_USED: usize = 48 * 1024;

/// The key rings, and what replaces them.
pub(crate) struct Store {
    server: Server<'static>,
    updates: Updates,
    firmware: Ports,
}

/// The caller scrubs: private keys were on the stack.
pub(crate) fn store(held: Capabilities) -> (Store, Service) {
    let firmware = held.ports_firmware;
    let key = || firmware::key(&firmware);
    let blob = held.provision_keyrings;
    let server = match Server::new(blob, runtime::counters(), key) {
        Ok(server) => server,
        Err(error) => stay_down(&held.service, error),
    };
    sel4::log!("{} key rings", server.keyrings());
    let updates = Updates::new(
        &server,
        held.ports_rotation,
        held.irq_rotation,
        held.signal_offload_server,
    );
    let store = Store {
        server,
        updates,
        firmware,
    };
    (store, held.service)
}

impl Store {
    /// Answers a call, or takes what has come on the line. The length of the answer, and
    /// whether secrets may be on the stack or in the answer.
    pub(crate) fn turn(
        &mut self,
        wake: &Wake,
        request: &[u8],
        reply: &mut [u8; MAX_MESSAGE],
    ) -> (Option<usize>, bool) {
        if self.server.has_replaced() {
            self.updates.expire(&mut self.server);
        }
        match *wake {
            Wake::Signal(_) => {
                let has_told_secret = self.server.has_told_secret();
                let key = || firmware::key(&self.firmware);
                let has_run = self.updates.run(&mut self.server, key);
                (None, has_told_secret | has_run)
            }
            Wake::Call { badge, length } => {
                let asked = request.get(..length).unwrap_or_default();
                let length = self.server.serve(badge, asked, reply);
                (Some(length), self.server.has_told_secret())
            }
        }
    }
}

/// Leaves nothing of what was on the stack, in the registers or in the answer.
pub(crate) fn scrub(reply: &mut [u8; MAX_MESSAGE]) {
    reply.zeroize();
    runtime::scrub_stack(STACK_USED);
    runtime::scrub_registers();
}

/// Without key rings no handshake can be served: each call is refused, and the system
/// does not become ready.
fn stay_down(service: &Service, error: impl fmt::Display) -> ! {
    sel4::log!("key rings: {error}; the system does not start");
    let (mut request, mut reply) = ([0; MAX_MESSAGE], [0; MAX_MESSAGE]);
    let mut wake = service.wait(&mut request);
    loop {
        wake = match wake {
            Wake::Signal(_) => service.wait(&mut request),
            Wake::Call { length, .. } => {
                let asked = request.get(..length).unwrap_or_default();
                let length = keystore_server::refuse(runtime::counters(), asked, &mut reply);
                let answer = reply.get(..length).unwrap_or_default();
                service.reply_and_wait(answer, &mut request)
            }
        }
    }
}
