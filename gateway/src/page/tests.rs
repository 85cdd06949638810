use alloc::format;
use alloc::vec;

use ipc::control::SessionId;
use ipc::net::Address;
use ipc::provision::{Limits, Timeouts};
use ipc::tls::Mode;
use tls::{CipherSuite, Version};

use super::*;
use crate::metrics::metrics;
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
    let shown = Shown {
        view: &view(&pages),
        listeners: &listeners,
        turned_away: &turned_away,
        observed: &Observed::default(),
        sessions: (),
        now: Instant::default(),
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
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let end = "_turned_away_total{listener=\"a\\\"\\n\",reason=\"silent\"} 1\n# EOF\n";
    assert!(text.ends_with(end), "{text}");
    let families: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("# TYPE "))
        .collect();
    let distinct: std::collections::BTreeSet<_> = families.iter().collect();
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
        observed: &Observed::default(),
        sessions: (),
        now: Instant::NEVER,
    };
    let text = metrics(&shown, Form::OpenMetrics, String::with_capacity(MAX_BODY));
    assert_eq!(text.capacity(), MAX_BODY);
    assert!(text.ends_with("# EOF\n"));
    let shown = Shown {
        view: &view,
        listeners: &listeners,
        turned_away: &turned_away,
        observed: &Observed::default(),
        sessions: core::iter::repeat_n(&facts, 1152),
        now: Instant::NEVER,
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
