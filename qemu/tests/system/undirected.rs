//! An image whose configuration has no directed handshakes.

use crate::harness::PATIENCE;
use crate::harness::client::{Session, Wish};
use crate::harness::site::{Prepared, Site, port};

/// KiB of the director's stack and heap and of its channels: those that its image has more.
const OF_THE_DIRECTOR: u64 = 1248 + 1168;
/// The root task hands memory out in pieces of so many KiB.
const PIECE: u64 = 512;

fn booted(name: &str, modes: &'static [&'static str]) -> Site {
    Prepared::build_in_modes(name, modes)
        .unwrap()
        .boot()
        .unwrap()
}

/// Domains that the root task has built, and KiB of memory that it has left.
fn built(site: &Site) -> (u64, u64) {
    let number_in = |is_meant: fn(&str) -> bool, before: &str, after: &str| {
        let start = qemu::log::Cursor::default();
        let line = site.guest.log().find(start, PATIENCE, is_meant).unwrap();
        let (_, rest) = line.split_once(before).unwrap();
        rest.split_once(after).unwrap().0.parse().unwrap()
    };
    let domains = number_in(|line| line.contains(" domains, "), "init: ", " domains");
    let left = number_in(|line| line.starts_with("init: memory "), "left ", " KiB");
    (domains, left)
}

fn echoed(site: &Site, port: u16) -> Session {
    let mut session = Wish::tls13(&site.material)
        .connect(site.address(port))
        .unwrap();
    assert_eq!(session.echo(b"there and back").unwrap(), b"there and back");
    session
}

#[test]
fn c06_an_image_without_directed_listeners_has_no_director() {
    let without = booted("undirected", &["autonomous"]);
    let session = echoed(&without, port::ECHO);
    let handshake = without.handshake(session.port());
    assert!(handshake.done);
    assert_eq!(handshake.agreed().last(), Some(&"autonomous"));
    // Neither the status page, nor the counters, nor the picture know of one.
    for path in ["/", "/metrics", "/graph.svg"] {
        let mut page = Wish::any(&without.material)
            .connect(without.address(port::STATUS))
            .unwrap();
        let answer = page.ask(path).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("offload"), "{answer}");
        assert!(!answer.contains("director"), "{answer}");
    }
    without.assert_unharmed();
    let (domains, left) = built(&without);
    assert_eq!(domains, 6);
    drop(session);
    drop(without);

    let with = booted("directed-too", &["autonomous", "directed"]);
    let session = echoed(&with, port::directed(port::ECHO));
    assert!(with.handshake(session.port()).done);
    let (domains, left_with) = built(&with);
    assert_eq!(domains, 7);
    assert!(
        left >= left_with + OF_THE_DIRECTOR - PIECE,
        "{left} KiB left without it, {left_with} with it"
    );
}
