//! Metrics, as Prometheus reads them: its own text format 0.0.4, or OpenMetrics 1.0 for
//! who asks for it. All series of a family stand together, after its type, unit and help.

use alloc::string::String;
use core::fmt::{self, Write};
use core::time::Duration;

use ipc::stats::Counter;
use ipc::tls::Mode;
use tls::Version;

use crate::page::{Bounded, Domain, Shown};
use crate::reason::Failures;
use crate::report::{mode_name, version_name};

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Prometheus,
    OpenMetrics,
}

impl Form {
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Upper bounds of the handshakes' buckets, in microseconds.
const HANDSHAKE: [u64; 10] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000,
];
/// Upper bounds of the sessions' buckets, in bytes.
const SESSION: [u64; 8] = [
    0,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
];
const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];
const MODES: [Mode; 2] = [Mode::Autonomous, Mode::Directed];

/// How often a value was in each bucket, and the sum of all.
struct Histogram<const BUCKETS: usize> {
    bounds: &'static [u64; BUCKETS],
    counts: [u64; BUCKETS],
    all: u64,
    sum: u64,
}

impl<const BUCKETS: usize> Histogram<BUCKETS> {
    const fn new(bounds: &'static [u64; BUCKETS]) -> Self {
        Self {
            bounds,
            counts: [0; BUCKETS],
            all: 0,
            sum: 0,
        }
    }

    fn observe(&mut self, value: u64) {
        self.all += 1;
        self.sum = self.sum.saturating_add(value);
        let buckets = self.bounds.iter().zip(&mut self.counts);
        if let Some((_, count)) = buckets.into_iter().find(|(bound, _)| value <= **bound) {
            *count += 1;
        }
    }
}

/// What the gateway has seen of handshakes and sessions.
pub(crate) struct Observed {
    /// By version and mode.
    handshakes: [[Histogram<10>; 2]; 2],
    /// From clients, and to them.
    sessions: [Histogram<8>; 2],
    /// Handshakes that came to nothing.
    pub(crate) failures: Failures,
}

impl Default for Observed {
    fn default() -> Self {
        let handshake = || Histogram::new(&HANDSHAKE);
        let session = || Histogram::new(&SESSION);
        Self {
            handshakes: [[handshake(), handshake()], [handshake(), handshake()]],
            sessions: [session(), session()],
            failures: Failures::default(),
        }
    }
}

impl Observed {
    /// A client's handshake took so long.
    pub(crate) fn handshake(&mut self, version: Version, mode: Mode, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        for (of_version, histograms) in VERSIONS.iter().zip(&mut self.handshakes) {
            for (of_mode, histogram) in MODES.iter().zip(histograms) {
                if (*of_version, *of_mode) == (version, mode) {
                    histogram.observe(took);
                }
            }
        }
    }

    /// A session is over.
    pub(crate) fn session(&mut self, (up, down): (u64, u64)) {
        let [from_client, to_client] = &mut self.sessions;
        from_client.observe(up);
        to_client.observe(down);
    }
}

/// The whole text.
pub(crate) fn metrics<I>(shown: &Shown<'_, '_, I>, form: Form, memory: String) -> String {
    let mut text = Bounded::new(memory);
    // What does not fit is left out, and all that is not about listeners fits.
    let _ = write_all(&mut text, shown, form);
    if form == Form::OpenMetrics {
        let _ = text.write_str("# EOF\n");
    }
    text.0
}

fn write_all<I>(text: &mut Bounded, shown: &Shown<'_, '_, I>, form: Form) -> fmt::Result {
    write_build(text, shown.view.kernel, form)?;
    write_counters(text, shown, form)?;
    write_clock(text, shown.unix_seconds, form)?;
    write_handshakes(text, shown.observed, form)?;
    write_sessions(text, shown.observed, form)?;
    write_failures(text, &shown.observed.failures, form)?;
    write_certificates(text, &shown.view.domains, form)?;
    let family = Family {
        name: "listener_turned_away",
        kind: "counter",
        unit: None,
        help: "Connections of clients turned away, by listener and reason.",
    };
    family.begin(text, form)?;
    for (place, listener) in shown.listeners.iter().enumerate() {
        for (reason, count) in shown.turned_away.of(place) {
            if count > 0 && text.has_room() {
                let (name, reason) = (Label(&listener.name), reason.name());
                writeln!(
                    text,
                    "handoff_listener_turned_away_total{{listener=\"{name}\",reason=\"{reason}\"}} {count}"
                )?;
            }
        }
    }
    Ok(())
}

/// What stands before the series of a family.
struct Family<'a> {
    name: &'a str,
    kind: &'a str,
    unit: Option<&'a str>,
    help: &'a str,
}

impl Family<'_> {
    fn begin(&self, text: &mut Bounded, form: Form) -> fmt::Result {
        let Self {
            name,
            kind,
            unit,
            help,
        } = self;
        // The older format has no family apart from the name of its series.
        let (end, kind) = match (form, *kind) {
            (Form::Prometheus, "counter") => ("_total", "counter"),
            (Form::Prometheus, "info") => ("_info", "gauge"),
            (_, kind) => ("", kind),
        };
        writeln!(text, "# HELP handoff_{name}{end} {help}")?;
        writeln!(text, "# TYPE handoff_{name}{end} {kind}")?;
        match (form, unit) {
            (Form::OpenMetrics, Some(unit)) => writeln!(text, "# UNIT handoff_{name} {unit}"),
            _ => Ok(()),
        }
    }
}

fn write_build(text: &mut Bounded, kernel: &str, form: Form) -> fmt::Result {
    let family = Family {
        name: "build",
        kind: "info",
        unit: None,
        help: "What runs.",
    };
    family.begin(text, form)?;
    let (version, kernel) = (env!("CARGO_PKG_VERSION"), Label(kernel));
    writeln!(
        text,
        "handoff_build_info{{version=\"{version}\",kernel=\"{kernel}\"}} 1"
    )
}

fn write_counters<I>(text: &mut Bounded, shown: &Shown<'_, '_, I>, form: Form) -> fmt::Result {
    let domains = &shown.view.domains;
    let all = || domains.iter().flat_map(|(_, _, counters)| *counters);
    for (place, first) in all().enumerate() {
        if all().take(place).any(|earlier| earlier.name == first.name) {
            continue;
        }
        let (name, kind) = first.family();
        let family = Family {
            name,
            kind,
            unit: first.unit(),
            help: first.help(),
        };
        family.begin(text, form)?;
        for (domain, page, counters) in domains {
            let of_family = |counter: &&Counter| counter.name == first.name;
            for counter in counters.iter().filter(of_family) {
                let (name, labels) = (counter.name, counter.labels);
                let comma = if labels.is_empty() { "" } else { "," };
                let value = page.read(*counter);
                writeln!(
                    text,
                    "handoff_{name}{{domain=\"{domain}\"{comma}{labels}}} {value}"
                )?;
            }
        }
    }
    Ok(())
}

fn write_handshakes(text: &mut Bounded, observed: &Observed, form: Form) -> fmt::Result {
    let family = Family {
        name: "handshake_seconds",
        kind: "histogram",
        unit: Some("seconds"),
        help: "Handshakes of clients that led to a session, by how long they took.",
    };
    family.begin(text, form)?;
    for (version, histograms) in VERSIONS.iter().zip(&observed.handshakes) {
        for (mode, histogram) in MODES.iter().zip(histograms) {
            let labels = [
                ("version", version_name(*version)),
                ("mode", mode_name(*mode)),
            ];
            write_histogram(text, family.name, &labels, histogram, &|f, value| {
                write!(f, "{}", Micros(value))
            })?;
        }
    }
    Ok(())
}

fn write_sessions(text: &mut Bounded, observed: &Observed, form: Form) -> fmt::Result {
    let family = Family {
        name: "session_bytes",
        kind: "histogram",
        unit: Some("bytes"),
        help: "Sessions that are over, by their plaintext from the client (up) and to it (down).",
    };
    family.begin(text, form)?;
    for (direction, histogram) in ["up", "down"].into_iter().zip(&observed.sessions) {
        let labels = [("direction", direction)];
        write_histogram(text, family.name, &labels, histogram, &|f, value| {
            write!(f, "{value}")
        })?;
    }
    Ok(())
}

fn write_clock(text: &mut Bounded, unix_seconds: u64, form: Form) -> fmt::Result {
    let family = Family {
        name: "clock_seconds",
        kind: "gauge",
        unit: Some("seconds"),
        help: "This system's clock, in seconds since 1970: beside the scraper's, its offset.",
    };
    family.begin(text, form)?;
    writeln!(text, "handoff_clock_seconds {unix_seconds}")
}

fn write_certificates(text: &mut Bounded, domains: &[Domain<'_>], form: Form) -> fmt::Result {
    let family = Family {
        name: "certificate_not_after_seconds",
        kind: "gauge",
        unit: Some("seconds"),
        help: "When the first certificate of a key ring's chain expires, in seconds since 1970.",
    };
    family.begin(text, form)?;
    for (domain, page, _) in domains {
        for (ring, not_after) in page.rings() {
            if text.has_room() {
                let ring = Label(&ring);
                writeln!(
                    text,
                    "handoff_certificate_not_after_seconds{{domain=\"{domain}\",ring=\"{ring}\"}} {not_after}"
                )?;
            }
        }
    }
    Ok(())
}

fn write_failures(text: &mut Bounded, failures: &Failures, form: Form) -> fmt::Result {
    let family = Family {
        name: "handshake_failures",
        kind: "counter",
        unit: None,
        help: "Handshakes that came to nothing, by whether with a client or a backend, and why.",
    };
    family.begin(text, form)?;
    for (peer, reason, count) in failures.all() {
        let reason = reason.name();
        writeln!(
            text,
            "handoff_handshake_failures_total{{peer=\"{peer}\",reason=\"{reason}\"}} {count}"
        )?;
    }
    Ok(())
}

/// Writes a value in the family's unit.
type InUnit<'a> = &'a dyn Fn(&mut Bounded, u64) -> fmt::Result;

fn write_histogram<const BUCKETS: usize>(
    text: &mut Bounded,
    name: &str,
    labels: &[(&str, &str)],
    histogram: &Histogram<BUCKETS>,
    in_unit: InUnit<'_>,
) -> fmt::Result {
    let mut up_to = 0;
    for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
        up_to += count;
        write!(text, "handoff_{name}_bucket{{{},le=\"", Labels(labels))?;
        in_unit(text, *bound)?;
        writeln!(text, "\"}} {up_to}")?;
    }
    let (labels, all) = (Labels(labels), histogram.all);
    writeln!(text, "handoff_{name}_bucket{{{labels},le=\"+Inf\"}} {all}")?;
    writeln!(text, "handoff_{name}_count{{{labels}}} {all}")?;
    write!(text, "handoff_{name}_sum{{{labels}}} ")?;
    in_unit(text, histogram.sum)?;
    text.write_str("\n")
}

/// Labels between commas.
struct Labels<'a>(&'a [(&'a str, &'a str)]);

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, value)) in self.0.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(f, "{comma}{name}=\"{}\"", Label(value))?;
        }
        Ok(())
    }
}

/// Microseconds as seconds.
struct Micros(u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// The value of a label, as both formats escape it.
struct Label<'a>(&'a str);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\n' => f.write_str("\\n"),
            '"' => f.write_str("\\\""),
            '\\' => f.write_str("\\\\"),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_first_bucket_that_it_fits_into_and_all_after_that() {
        let mut histogram = Histogram::new(&HANDSHAKE);
        for micros in [0, 1_000, 1_001, 99_999, 5_000_001] {
            histogram.observe(micros);
        }
        let mut text = Bounded::new(String::with_capacity(4096));
        write_histogram(&mut text, "x", &[("a", "b")], &histogram, &|f, value| {
            write!(f, "{}", Micros(value))
        })
        .unwrap();
        let of = |le: &str| {
            let start = alloc::format!("handoff_x_bucket{{a=\"b\",le=\"{le}\"}} ");
            let line = text.0.lines().find_map(|line| line.strip_prefix(&*start));
            line.unwrap().parse::<u64>().unwrap()
        };
        assert_eq!([of("0.001000"), of("0.002500"), of("0.050000")], [2, 3, 3]);
        assert_eq!([of("0.100000"), of("5.000000"), of("+Inf")], [4, 4, 5]);
        assert!(text.0.contains("handoff_x_count{a=\"b\"} 5\n"));
        assert!(text.0.ends_with("handoff_x_sum{a=\"b\"} 5.102001\n"));
    }
}
