use alloc::format;
use alloc::vec;

use ipc::control::SessionId;
use ipc::net::Address;
use ipc::provision::{Limits, Timeouts};
use ipc::tls::{Label, Mode};
use std::collections::BTreeSet;
use tls::{CipherSuite, Role, Version};

use super::*;
use crate::metrics::metrics;
use crate::reason;
use crate::turned_away::Reason;

const DOMAINS: [&str; 7] = [
    "netstack-server",
    "keystore-server",
    "record-server",
    "kernel-shim",
    "director",
    "offload-server",
    "gateway",
];

fn view(pages: &[Page; 7]) -> View<'_> {
    View::new(b"<svg/>", "seL4 5", DOMAINS.into_iter().zip(pages))
}

fn listener(name: &str) -> Listener {
    Listener {
        name: name.into(),
        port: 65_535,
        tls: None,
        rules: Vec::new(),
        backend: Backend::Status,
        limits: Limits::default(),
        timeouts: Timeouts::default(),
    }
}

fn remote() -> Address {
    Address(
        "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"
            .parse()
            .unwrap(),
    )
}

/// The metrics of a system in which this and that has happened.
fn text(form: Form) -> String {
    let pages: [Page; 7] = Default::default();
    pages[1].add(stats::keystore::SIGNED, 3);
    pages[0].add(stats::netstack::FRAMES_OUT, 7);
    let listeners = [listener("a\"\n")];
    let mut turned_away = TurnedAway::new(1);
    turned_away.count(0, "", Reason::Silent, (remote(), 1), Instant::default());
    let mut observed = Observed::default();
    observed.failures.count(Role::Server, reason::Reason::Suite);
    observed.failures.count(Role::Server, reason::Reason::Suite);
    observed
        .failures
        .count(Role::Client, reason::Reason::Timeout);
    pages[2].set_ring(0, &Label::from_text("a\"").unwrap(), 1_800_000_000);
    let shown = Shown {
        view: &view(&pages),
        listeners: &listeners,
        turned_away: &turned_away,
        observed: &observed,
        sessions: (),
        now: Instant::default(),
        unix_seconds: 1_796_000_000,
    };
    metrics(&shown, form, String::with_capacity(MAX_BODY))
}

#[test]
fn metrics_are_grouped_by_family_with_labels_and_end_as_openmetrics_must() {
    let text = text(Form::OpenMetrics);
    for part in [
        "# HELP handoff_signatures Signatures made.\n# TYPE handoff_signatures counter\n\
         handoff_signatures_total{domain=\"keystore-server\"} 3\n",
        "handoff_frames_total{domain=\"netstack-server\",direction=\"in\"} 0\n\
         handoff_frames_total{domain=\"netstack-server\",direction=\"out\"} 7\n",
        "# TYPE handoff_heap_bytes gauge\n# UNIT handoff_heap_bytes bytes\n",
        "# TYPE handoff_build info\nhandoff_build_info{version=\"",
        "# TYPE handoff_handshake_seconds histogram\n# UNIT handoff_handshake_seconds seconds\n",
        "_bucket{version=\"TLSv1.3\",mode=\"directed\",le=\"+Inf\"} 0\n",
        "# TYPE handoff_clock_seconds gauge\n# UNIT handoff_clock_seconds seconds\n",
        "\nhandoff_clock_seconds 1796000000\n",
        "# TYPE handoff_handshake_failures counter\n\
         handoff_handshake_failures_total{peer=\"client\",reason=\"suite\"} 2\n\
         handoff_handshake_failures_total{peer=\"backend\",reason=\"timeout\"} 1\n",
        "# UNIT handoff_certificate_not_after_seconds seconds\n",
        ",ring=\"a\\\"\"} 1800000000\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let end = "_turned_away_total{listener=\"a\\\"\\n\",reason=\"silent\"} 1\n# EOF\n";
    assert!(text.ends_with(end), "{text}");
    let families: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("# TYPE "))
        .collect();
    let distinct: BTreeSet<_> = families.iter().collect();
    assert_eq!(families.len(), distinct.len(), "a family in two places");
}

#[test]
fn prometheus_own_format_names_the_series() {
    let text = text(Form::Prometheus);
    assert!(
        !text.contains("# EOF") && !text.contains("# UNIT"),
        "{text}"
    );
    for part in [
        "# TYPE handoff_signatures_total counter\nhandoff_signatures_total{",
        "# TYPE handoff_build_info gauge\nhandoff_build_info{",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn text_from_the_configuration_is_escaped() {
    assert_eq!(format!("{}", Escaped("<a&\"b>")), "&lt;a&amp;&quot;b&gt;");
}

#[test]
fn lengths_of_time_are_told_as_people_say_them() {
    for (micros, expected) in [
        (0, "0 µs"),
        (999, "999 µs"),
        (4_899, "4.8 ms"),
        (1_000_000, "1 s"),
        (59_999_999, "59 s"),
        (3_599_000_000, "59 min 59 s"),
        (86_399_000_000, "23 h 59 min"),
        (26 * 3_600_000_000, "1 d 2 h"),
    ] {
        assert_eq!(format!("{}", Span(Duration::from_micros(micros))), expected);
    }
}

#[test]
fn a_refusal_says_what_to_do() {
    let text = format!("{}", Start::refusal("503 Service Unavailable"));
    assert!(text.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
    assert!(text.contains("\r\nRetry-After: 1\r\n") && text.ends_with("\r\n\r\n"));
    let text = format!("{}", Start::refusal("405 Method Not Allowed"));
    assert!(text.contains("\r\nAllow: GET, HEAD\r\n"));
}

#[test]
fn the_longest_pages_there_are_stay_within_their_memory_and_have_their_end() {
    let pages: [Page; 7] = Default::default();
    for (page, counters) in pages.iter().zip(view(&pages).domains.iter().map(|d| d.2)) {
        for counter in counters {
            page.set(*counter, u64::MAX);
        }
        for place in 0..stats::RINGS {
            page.set_ring(
                place,
                &Label::from_text(&"\"".repeat(32)).unwrap(),
                u64::MAX,
            );
        }
    }
    let mut observed = Observed::default();
    for reason in reason::Reason::ALL {
        observed.failures.count(Role::Server, *reason);
        observed.failures.count(Role::Client, *reason);
    }
    // As long and as awkward as configuration and clients can make them.
    let listeners = vec![listener(&"\"".repeat(64)); 128];
    let mut turned_away = TurnedAway::new(listeners.len());
    for place in 0..listeners.len() {
        for reason in Reason::ALL {
            turned_away.count(place, "", reason, (remote(), 1), Instant::default());
        }
    }
    let facts = Facts {
        session: SessionId(u64::MAX),
        listener: 0,
        remote: remote(),
        version: Version::Tls12,
        suite: CipherSuite::EcdheEcdsaChaCha20Poly1305Sha256,
        mode: Mode::Autonomous,
        started: Instant::default(),
        completed: Instant::NEVER,
        agreed: None,
    };
    let view = view(&pages);
    let shown = Shown {
        view: &view,
        listeners: &listeners,
        turned_away: &turned_away,
        observed: &observed,
        sessions: (),
        now: Instant::NEVER,
        unix_seconds: u64::MAX,
    };
    let text = metrics(&shown, Form::OpenMetrics, String::with_capacity(MAX_BODY));
    assert_eq!(text.capacity(), MAX_BODY);
    assert!(text.ends_with("# EOF\n"));
    // No other domain leaves what this one counts out.
    let last = "reason=\"internal\"} 1\n";
    assert_eq!(text.matches(last).count(), 2);
    let shown = Shown {
        view: &view,
        listeners: &listeners,
        turned_away: &turned_away,
        observed: &observed,
        sessions: core::iter::repeat_n(&facts, 1152),
        now: Instant::NEVER,
        unix_seconds: u64::MAX,
    };
    let text = html(shown, String::with_capacity(MAX_BODY));
    assert_eq!(text.capacity(), MAX_BODY);
    assert!(
        text.contains(" more.</p>") && text.ends_with("</a>"),
        "{} bytes",
        text.len()
    );
}

#[test]
fn text_takes_no_more_than_it_was_made_for() {
    let mut text = Bounded::new(String::with_capacity(MAX_BODY));
    let part = "x".repeat(MAX_BODY - 1);
    assert!(text.write_str(&part).is_ok() && text.write_str("xx").is_err());
    assert!(text.write_str("x").is_ok() && text.write_str("x").is_err());
    assert_eq!((text.0.len(), text.0.capacity()), (MAX_BODY, MAX_BODY));
}

/// Names of series in a text.
fn series(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_part(c));
    let named = words.filter(|word| word.starts_with("handoff_"));
    named.map(Into::into).collect()
}

/// Those that the metrics have.
fn served() -> BTreeSet<String> {
    let text = text(Form::Prometheus);
    let kinds = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    kinds
        .flat_map(|(name, kind)| match kind {
            "histogram" => ["_bucket", "_count", "_sum"]
                .map(|end| format!("{name}{end}"))
                .to_vec(),
            _ => vec![name.to_string()],
        })
        .collect()
}

const RULES: &str = include_str!("../../../deploy/prometheus/handoff.rules.yml");
const DASHBOARD: &str = include_str!("../../../deploy/grafana/handoff.json");

#[test]
fn what_rules_and_dashboard_look_at_is_among_the_metrics() {
    let served = served();
    for (what, text) in [("rules", RULES), ("dashboard", DASHBOARD)] {
        let asked = series(text);
        assert!(asked.len() > 5, "{what}: {asked:?}");
        let missing: Vec<_> = asked.difference(&served).collect();
        assert!(missing.is_empty(), "{what}: {missing:?}");
    }
    assert_eq!(series("rate(handoff_x_total{a=\"b\"}[5m])").len(), 1);
}

#[test]
fn the_dashboard_can_be_loaded() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    // Who imports it names its Prometheus.
    assert_eq!(dashboard["__inputs"][0]["name"], "DS_PROMETHEUS");
    assert!(dashboard["id"].is_null() && dashboard["uid"].is_string());
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let of = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for (x, y) in (of("x")..of("x") + of("w"))
            .flat_map(|x| (of("y")..of("y") + of("h")).map(move |y| (x, y)))
        {
            assert!(x < 24 && places.insert((x, y)), "{title} lies on another");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(
            panel["description"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{title}"
        );
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            let expression = target["expr"].as_str().unwrap();
            assert!(
                !series(expression).is_empty() || expression.starts_with("up{"),
                "{title}"
            );
            assert!(
                expression.contains("instance=~\"$instance\""),
                "{title}: {expression}"
            );
            assert_eq!(target["datasource"]["uid"], "${DS_PROMETHEUS}", "{title}");
        }
    }
    assert!(ids.len() > 10);
}
