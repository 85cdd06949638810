//! What only frames of the test's own making can show.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use ipc::stats;

use crate::harness::client::Wish;
use crate::harness::evidence::Counters;
use crate::harness::on_wire;
use crate::harness::site::port;
use crate::harness::wire::{GUEST, GUEST_LINK_LOCAL};

/// Unfinished connections.
const HALF_OPEN: u32 = 10_000;
/// How many at once, before the honest client gets a word in.
const BURST: u32 = 250;
/// A handshake's deadline where the listener says nothing.
const DEADLINE: Duration = Duration::from_secs(10);

#[test]
fn ipv6_clients_are_served() {
    let (site, mut wire) = on_wire("ipv6");
    for wish in [Wish::tls13, Wish::tls12] {
        let to = IpAddr::V6(GUEST_LINK_LOCAL);
        let stream = wire.connect(to, port::STATUS).unwrap();
        let mut session = wish(&site.material)
            .alpn(&["http/1.1"])
            .over(stream)
            .unwrap();
        let page = session.ask("/").unwrap();
        assert!(page.starts_with("HTTP/1.1 200 OK"), "{page}");
    }
}

#[test]
fn ten_thousand_syns_that_never_finish_do_not_lose_a_good_client() {
    let (site, mut wire) = on_wire("syns");
    let mut slowest = Duration::ZERO;
    for number in 0..HALF_OPEN {
        // RFC 2544: unassigned addresses, behind the router.
        let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number);
        let from = SocketAddr::new(IpAddr::V4(source), 1024 + (number % 60_000) as u16);
        wire.send_syn(from, port::STATUS);
        if number % BURST == BURST - 1 {
            let started = Instant::now();
            let stream = wire.connect(IpAddr::V4(GUEST), port::STATUS).unwrap();
            let wish = Wish::tls13(&site.material).alpn(&["http/1.1"]);
            let mut session = wish.over(stream).unwrap();
            let page = session.ask("/metrics").unwrap();
            assert!(page.starts_with("HTTP/1.1 200 OK"), "{page}");
            slowest = slowest.max(started.elapsed());
        }
    }
    assert!(slowest < DEADLINE, "a good client took {slowest:?}");
    // Half-open connections make room for later ones, and it is counted.
    let stream = wire.connect(IpAddr::V4(GUEST), port::STATUS).unwrap();
    let mut session = Wish::any(&site.material).over(stream).unwrap();
    let page = session.ask("/metrics").unwrap();
    let dropped = Counters::parse(&page).of(stats::netstack::HALF_OPEN_DROPPED);
    assert!(dropped > u64::from(HALF_OPEN) / 2, "{dropped} were dropped");
    site.assert_unharmed();
}

#[test]
fn row_09_no_advertisement_of_a_host_on_the_link_ends_the_network_stack() {
    let (site, mut wire) = on_wire("advertisements");
    let network = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0);
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0);
    // Padding that smoltcp looks past, and the alert of another message.
    let headers: [&[u8]; 3] = [&[], &[58, 0, 1, 4, 0, 0, 0, 0], &[58, 0, 5, 2, 0, 0, 1, 0]];
    for length in 0..=u8::MAX {
        for prefix in [network, group] {
            for headers in headers {
                wire.advertise(prefix, length, headers);
                wire.poll();
            }
        }
        // Slowly enough that none is left out for want of room.
        if length % 16 == 15 {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    let stream = wire.connect(IpAddr::V4(GUEST), port::STATUS).unwrap();
    let mut session = Wish::any(&site.material).over(stream).unwrap();
    let page = session.ask("/metrics").unwrap();
    let counters = Counters::parse(&page);
    assert_eq!(counters.of(stats::netstack::RESTARTS), 0);
    assert!(counters.of(stats::netstack::DROPPED) > 1000, "{page}");
    site.assert_unharmed();
}
