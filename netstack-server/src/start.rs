//! Takes what the system description gives this domain.

use ipc::clock::Clock;
use ipc::provision::Network;
use ipc::transport::decode;
use netstack_server::nic::Hpet;
use netstack_server::{Application, Channels, Config, Limits, NetStack, budget};
use sel4::runtime::{self, SystemClock};

use crate::program::Program;
use crate::system::{Capabilities, FACTS};

#[cfg(feature = "loopback")]
pub(crate) use netstack_server::loopback::Loopback as Nic;
#[cfg(not(feature = "loopback"))]
pub(crate) use netstack_server::nic::Nic;

/// Those of the description: what one application has is none of what another may have.
const LIMITS: Limits = {
    let mut connections = 0;
    let mut applications = FACTS.applications;
    while let [application, rest @ ..] = applications {
        connections += application.tcp_connections as usize;
        applications = rest;
    }
    Limits::of(connections)
};

/// The network stack over the NIC, the timer, and the counters.
///
/// # Panics
/// At start-up: without a NIC, a timer, addresses, randomness or enough memory
/// there is no network.
pub(crate) fn start(held: Capabilities) -> Program {
    let Some((device, timer)) = held.devices else {
        panic!("no NIC");
    };
    #[cfg(feature = "loopback")]
    let nic = {
        drop(device);
        Nic::default()
    };
    #[cfg(not(feature = "loopback"))]
    let nic = match Nic::new(device) {
        Ok(nic) => nic,
        Err(error) => panic!("NIC: {error:?}"),
    };
    let Some(network) = decode::<Network>(held.provision_network) else {
        panic!("the network's description can't be read");
    };
    let mut entropy = [0; 24];
    if let Err(error) = getrandom::getrandom(&mut entropy) {
        panic!("{error}");
    }
    let limits = LIMITS;
    let needed = budget::most(&limits, network.rights.iter().map(|r| r.listen.len()).sum());
    let heap = FACTS.heap;
    assert!(
        needed <= heap,
        "a heap of {heap} bytes, {needed} are needed"
    );
    let features = nic.features();
    let config = Config {
        hardware: nic.hardware(),
        network,
        entropy,
        limits,
    };
    let applications = held.connections.map(|of| Application {
        client: of.client,
        channel: of.channel,
        most: of.most.into(),
    });
    let channels = Channels {
        applications: applications.into(),
        offload: held.channel_handshake,
        record: held.channel_protected,
    };
    sel4::log!("NIC {:02x?} features {features:#x}", config.hardware);
    let now = SystemClock.now();
    Program {
        stack: NetStack::new(config, nic, channels, runtime::counters(), now),
        timer: Hpet::new(timer),
        nic_irq: held.irq_nic,
        timer_irq: held.irq_timer,
        service: held.service,
    }
}
