//! The status page and the counters.

use crate::harness::client::Wish;
use crate::harness::program::curl;
use crate::harness::site::port;
use crate::harness::{shipped, system};

#[test]
fn the_status_page_shows_a_session_with_version_suite_and_mode() {
    let site = system();
    let held = Wish::tls12(&site.material)
        .suite(rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256)
        .connect(site.address(port::ECHO))
        .unwrap();
    site.handshake(held.port());
    let ended = curl(site.address(port::STATUS), &site.material, "/", &[""; 0]);
    ended.expect(&[
        "HTTP/1.1 200 OK",
        "text/html",
        "name=viewport",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "autonomous",
    ]);
    ended.expect(&shipped::domains().collect::<Vec<_>>());
}

#[test]
fn the_capability_graph_is_a_picture() {
    let site = system();
    let ended = curl(
        site.address(port::STATUS),
        &site.material,
        "/graph.svg",
        &[""; 0],
    );
    ended.expect(&["image/svg+xml", "<svg", "keystore-server"]);
}

#[test]
fn metrics_are_openmetrics_text() {
    let site = system();
    let mut session = Wish::any(&site.material)
        .connect(site.address(port::STATUS))
        .unwrap();
    let answer = session.ask("/metrics").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    assert!(body.ends_with("# EOF\n"), "{body}");
    let mut family = "";
    for line in body.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(declared) => family = declared.split(' ').next().unwrap(),
            None => assert!(line == "# EOF" || line.starts_with(family), "{line}"),
        }
    }
    site.counters().unwrap().of(ipc::stats::keystore::SIGNED);
}

#[test]
fn paths_and_methods_that_do_not_exist_are_refused() {
    let site = system();
    let address = site.address(port::STATUS);
    let ended = curl(address, &site.material, "/no-such-page", &[""; 0]);
    ended.expect(&["HTTP/1.1 404"]);
    let ended = curl(address, &site.material, "/", &["--request", "POST"]);
    ended.expect(&["HTTP/1.1 405"]);
}
