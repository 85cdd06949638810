//! The status page and the counters.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use image::workspace;

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
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text; \
                    version=1.0.0\r\n\r\n";
    session.0.write_all(request).unwrap();
    let mut answer = String::new();
    session.0.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    assert!(body.ends_with("# EOF\n"), "{body}");
    let mut family = "";
    for line in body.lines() {
        match line.strip_prefix("# HELP ") {
            Some(declared) => family = declared.split(' ').next().unwrap(),
            None => {
                let named = line
                    .trim_start_matches("# TYPE ")
                    .trim_start_matches("# UNIT ");
                assert!(line == "# EOF" || named.starts_with(family), "{line}");
            }
        }
    }
    site.counters().unwrap().of(ipc::stats::keystore::SIGNED);
}

/// What a subcommand of promtool, which `cargo xtask setup` brings, says of `input`.
fn promtool(arguments: &[&str], input: &str) -> (bool, String) {
    let program = workspace::program("promtool").unwrap();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let ended = child.wait_with_output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn prometheus_own_tool_finds_nothing_to_complain_of() {
    let site = system();
    let mut session = Wish::any(&site.material)
        .connect(site.address(port::STATUS))
        .unwrap();
    let answer = session.ask("/metrics").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("handoff_handshake_seconds_count{"), "{body}");
    assert_eq!(promtool(&["check", "metrics"], body), (true, String::new()));
    // It would find something.
    let (is_good, said) = promtool(&["check", "metrics"], "handoff_x_total{} 1\n");
    assert!(!is_good && said.contains("no help text"), "{said}");
    // The rules and the configuration that an operator begins with.
    let folder = workspace::root().unwrap().join("deploy/prometheus");
    for (what, file) in [("rules", "handoff.rules.yml"), ("config", "prometheus.yml")] {
        let file = folder.join(file).display().to_string();
        let (is_good, said) = promtool(&["check", what, &file], "");
        assert!(is_good, "{said}");
    }
    // Each family that a rule names is there.
    let rules = fs::read_to_string(folder.join("handoff.rules.yml")).unwrap();
    let names = rules.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let mut names: Vec<_> = names.filter(|name| name.starts_with("handoff_")).collect();
    names.dedup();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        let family = name.trim_end_matches("_bucket");
        assert!(body.contains(&format!("\n# TYPE {family} ")), "{name}");
    }
}

#[test]
fn who_asks_whether_it_is_well_is_told() {
    let site = system();
    for path in ["/healthz", "/readyz"] {
        let ended = curl(site.address(port::STATUS), &site.material, path, &[""; 0]);
        ended.expect(&["HTTP/1.1 200 OK", "text/plain", "ok"]);
    }
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
