//! The NIC on a tap device, whose other end is the host's kernel with its offloads.

use qemu::tap;

use crate::harness::PATIENCE;
use crate::harness::bulk::arrives_unchanged_each_way;
use crate::harness::site::{Prepared, Site};

const BULK: u64 = 16 << 20;

/// Does `work` with an image that was booted on a tap device; says so where there can't be
/// one.
fn on_tap(name: &str, work: impl FnOnce(&Site) + Send) {
    if let Some(reason) = tap::missing().unwrap() {
        eprintln!("skipped: {reason}");
        return;
    }
    let prepared = Prepared::build_on_tap(name).unwrap();
    tap::within(|network| {
        let site = prepared.boot_on_tap(network)?;
        work(&site);
        site.assert_unharmed();
        Ok(())
    })
    .unwrap();
}

/// Features of virtio-net that both sides use: CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4,
/// MRG_RXBUF, EVENT_IDX (virtio 1.2 §5.1.3, §6).
const OFFLOADS: u64 = 1 << 0 | 1 << 1 | 1 << 7 | 1 << 11 | 1 << 15 | 1 << 29;

fn features(site: &Site) -> u64 {
    let start = qemu::log::Cursor::default();
    let told = |line: &str| line.contains("netstack-server: NIC ");
    let line = site.guest.log().find(start, PATIENCE, told).unwrap();
    let (_, features) = line.rsplit_once("features 0x").unwrap();
    u64::from_str_radix(features.trim(), 16).unwrap()
}

#[test]
fn bytes_arrive_unchanged_each_way_over_a_tap_device() {
    on_tap("tap", |site| {
        assert_eq!(features(site) & OFFLOADS, OFFLOADS);
        arrives_unchanged_each_way(site, BULK);
    });
}
