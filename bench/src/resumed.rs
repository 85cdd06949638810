//! Resumed handshakes against full ones, both of a system that gives tickets.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ipc::tls::Mode;
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, NamedGroup};
use sel4::log;
use spin::Mutex;

use crate::meter::median;
use crate::settings::Case;
use crate::site::{Session, Site};
use crate::tls::ClientEnd;

/// What one handshake took.
struct Taken {
    /// Instructions of the machine, less those of the client.
    system: u64,
    /// Bytes of each flight, the client's first, then by turns.
    flights: Vec<usize>,
    was_resumed: bool,
}

/// Counts `rounds` of either kind in each mode; one before that is not counted.
pub(crate) fn measure(site: &mut Site, case: &Case, rounds: usize) {
    for (mode, word) in [(Mode::Autonomous, ""), (Mode::Directed, "directed_")] {
        measure_in(mode, word, site, case, rounds);
    }
}

fn measure_in(mode: Mode, word: &str, site: &mut Site, case: &Case, rounds: usize) {
    let mut case = Case {
        name: case.name.clone(),
        port: case.port,
        parameters: case.parameters.clone(),
        client: case.client.clone(),
        server: case.server.clone(),
    };
    case.parameters.resumption = true;
    let (mut full, mut resumed) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        case.client = with_empty_store(&case.client);
        for (figures, expected) in [(&mut full, false), (&mut resumed, true)] {
            let taken = handshake(site, &case, mode);
            if taken.was_resumed != expected {
                panic!("resumed: {}", taken.was_resumed);
            }
            let start = site.meter.start();
            let pair = site.connect_plain(&case);
            site.play(&pair, &taken.flights);
            let tcp = site.meter.since(&start);
            site.close_plain(pair);
            if round > 0 {
                figures.push(taken.system.saturating_sub(tcp));
            }
        }
    }
    let name = &case.name;
    let (full, resumed) = (median(&mut full), median(&mut resumed));
    log!("figure full_with_tickets_{word}{name} {full}");
    log!("figure resumed_{word}{name} {resumed}");
}

fn handshake(site: &mut Site, case: &Case, mode: Mode) -> Taken {
    let mut client = 0;
    let mut flights = Vec::new();
    let start = site.meter.start();
    let (end, connection) = site.connect(case.port);
    site.start(case, mode, connection);
    let mut tls = site.meter.add(&mut client, || ClientEnd::new(&case.client));
    flights.push(tls.outgoing.len());
    site.say(end, &mut tls);
    while !tls.is_over() {
        let got = site.receive(end);
        // Flights go by turns: what comes in two parts is one.
        match (flights.len() % 2, flights.last_mut()) {
            (0, Some(flight)) => *flight += got,
            _ => flights.push(got),
        }
        let bytes = site.buffer.get(..got).unwrap_or_default();
        site.meter.add(&mut client, || tls.receive(bytes));
        if !tls.outgoing.is_empty() {
            flights.push(tls.outgoing.len());
        }
        site.say(end, &mut tls);
    }
    let result = site.collect();
    let system = site.meter.since(&start).saturating_sub(client);
    // Tickets of TLS 1.3 come after the handshake.
    site.settle();
    while let Some(got) = site.received(end) {
        tls.open(site.buffer.get(..got).unwrap_or_default());
        site.settle();
    }
    let slot = result.slot;
    site.plain.follow(slot);
    site.close_session(Session {
        client: end,
        tls,
        slot,
    });
    Taken {
        system,
        flights,
        was_resumed: result.established.resumed,
    }
}

fn with_empty_store(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.resumption = Resumption::store(Arc::new(Store::default()));
    Arc::new(config)
}

/// What the client keeps of its last session.
#[derive(Debug, Default)]
struct Store(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: Vec<Tls13ClientSessionValue>,
}

impl ClientSessionStore for Store {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.lock().group = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.lock().group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.lock().tls12 = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.lock().tls12.clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.lock().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.lock().tls13.push(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.lock().tls13.pop()
    }
}
