//! What the server gets of what the system description gives this domain.

use ipc::director::OrderQueue;
use ipc::handshake::{DirectiveQueue, ForgetQueue};
use ipc::transport::Client;
use kernel_shim::{Application, Ports, Rights, Server};
use sel4::runtime::{self, Bell, Caller, Service, SystemClock};

use crate::system::{Capabilities, FACTS};
use crate::windows::SystemWindows;

const HANDSHAKES: u16 = FACTS.slots("handshake");
const SESSIONS: u16 = FACTS.slots("protected");

const _: () = ipc::budget::fits(&kernel_shim::budget(HANDSHAKES, SESSIONS), FACTS.heap);

// Every slot of the channels is one application's.
const _: () = assert!(FACTS.is_shared_out(HANDSHAKES, SESSIONS));

type System = Server<'static, Caller, Caller, Bell, Bell, SystemWindows, SystemClock>;

pub(crate) fn server(held: Capabilities) -> (System, Service) {
    let rights = Rights::decode(held.provision_rights).unwrap_or_else(|| panic!("no rights"));
    let applications = held.applications.map(|of| {
        let application = Application {
            client: of.client,
            bell: of.bell,
            handshakes: of.handshakes,
            sessions: of.sessions,
        };
        (application, (of.client, of.window))
    });
    let (applications, sessions) = applications.into_iter().unzip();
    let ports = Ports {
        net: Client::new(held.call_netstack_server),
        record: Client::new(held.call_record_server),
        offload: DirectiveQueue::new(held.channel_directives),
        forget: ForgetQueue::new(held.channel_session_ends),
        director: held.channel_orders.map(OrderQueue::new),
        applications,
        windows: SystemWindows {
            install: held.manage_install,
            sessions,
            record: held.mint_record_record_server,
            shim: held.mint_shim_kernel_shim,
        },
        stats: runtime::counters(),
    };
    (Server::new(ports, rights, SystemClock), held.service)
}
