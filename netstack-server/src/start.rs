//! Takes what the system description gives this domain.

use ipc::channel::Channel;
use ipc::clock::Clock;
use ipc::provision::Network;
use ipc::stats::Page;
use ipc::transport::decode;
use netstack_server::config::PAIRS;
use netstack_server::nic::Hpet;
use netstack_server::{Application, Channels, Config, Limits, NetStack, budget};
use sel4::runtime::{self, Bell, SystemClock};

use crate::system;

#[cfg(feature = "loopback")]
pub(crate) use netstack_server::loopback::Loopback as Nic;
#[cfg(not(feature = "loopback"))]
pub(crate) use netstack_server::nic::Nic;

// The limits are those of the description: a connection for each slot.
const _: () = assert!(system::SLOTS_PROTECTED as usize <= PAIRS);
const _: () = {
    let (mut slots, mut connections) = (0, 0);
    let mut applications = system::CONNECTIONS.as_slice();
    while let [application, rest @ ..] = applications {
        slots += application.channel.slots as usize;
        connections += application.most as usize;
        applications = rest;
    }
    assert!(slots <= PAIRS);
    // What one application has is none of what another may have.
    assert!(connections <= Limits::SHIPPED.connections);
};

/// The network stack over the NIC, the timer, and the counters.
///
/// # Panics
/// At start-up: without a NIC, a timer, addresses, randomness or enough memory
/// there is no network.
///
/// # Safety
/// Called once.
pub(crate) unsafe fn start() -> (NetStack<'static, Nic, Bell>, Hpet, &'static Page) {
    // SAFETY: the constant of this domain.
    let Some(device) = (unsafe { runtime::device_snapshot(system::DEVICE_SNAPSHOT) }) else {
        panic!("no NIC");
    };
    #[cfg(feature = "loopback")]
    let nic = Nic::default();
    #[cfg(not(feature = "loopback"))]
    // SAFETY: the root task has mapped what the snapshot names for this domain
    // alone, and the caller calls once.
    let nic = match unsafe { Nic::new(device) } {
        Ok(nic) => nic,
        Err(error) => panic!("NIC: {error:?}"),
    };
    // SAFETY: as above.
    let timer = unsafe { Hpet::new(device.timer_address, device.timer_pin) };
    // SAFETY: the constant of this domain.
    let network = unsafe { runtime::provision(system::PROVISION_NETWORK) };
    let Some(network) = decode::<Network>(network) else {
        panic!("the network's description can't be read");
    };
    let mut entropy = [0; 24];
    if let Err(error) = getrandom::getrandom(&mut entropy) {
        panic!("{error}");
    }
    let limits = Limits::SHIPPED;
    let needed = budget::most(&limits, network.rights.iter().map(|r| r.listen.len()).sum());
    let heap = runtime::boot_facts().heap as usize;
    assert!(
        needed <= heap,
        "a heap of {heap} bytes, {needed} are needed"
    );
    let config = Config {
        hardware: nic.hardware(),
        network,
        entropy,
        limits,
    };
    // SAFETY: the only reference of this domain to its own page.
    let stats = unsafe { runtime::stats(system::STATS) };
    // SAFETY: the caller calls once.
    let channels = unsafe { channels() };
    sel4::log!("NIC {:02x?}", config.hardware);
    let stack = NetStack::new(config, nic, channels, stats, SystemClock.now());
    (stack, timer, stats)
}

/// # Safety
/// Called once.
unsafe fn channels() -> Channels<Bell> {
    // SAFETY: the caller calls once, so each constant is used once.
    let offload = unsafe { Bell::new(system::SIGNAL_OFFLOAD_SERVER) };
    // SAFETY: as above.
    let record = unsafe { Bell::new(system::SIGNAL_RECORD_SERVER) };
    Channels {
        applications: system::CONNECTIONS
            .map(|of| {
                // SAFETY: as above.
                let bell = unsafe { Bell::new(of.signal) };
                // SAFETY: as above.
                let channel = unsafe { Channel::new(of.channel, bell) };
                Application {
                    client: of.client,
                    channel,
                    most: of.most.into(),
                }
            })
            .into(),
        // SAFETY: as above.
        offload: unsafe { Channel::new(system::CHANNEL_HANDSHAKE, offload) },
        // SAFETY: as above.
        record: unsafe { Channel::new(system::CHANNEL_PROTECTED, record) },
    }
}
