//! rustls alone in one domain, both ends in memory.

use alloc::vec::Vec;

use crate::meter::{Meter, median};
use crate::settings::Case;
use crate::tls::{ClientEnd, ServerEnd};

/// What a handshake costs without a system around it.
pub(crate) struct Alone {
    /// Instructions of the server.
    pub(crate) server: u64,
    /// Instructions of the client.
    pub(crate) client: u64,
    /// Bytes of each flight, the client's first, then by turns.
    pub(crate) flights: Vec<usize>,
}

/// Makes `rounds` handshakes, and one before that is not counted.
pub(crate) fn measure(meter: &Meter, case: &Case, rounds: usize) -> Alone {
    let (mut servers, mut clients) = (Vec::new(), Vec::new());
    let mut flights = Vec::new();
    for round in 0..=rounds {
        let (mut server, mut client) = (0, 0);
        flights.clear();
        let mut near = meter.add(&mut client, || ClientEnd::new(&case.client));
        let mut far = meter.add(&mut server, || ServerEnd::new(&case.server));
        while !(near.is_over() && far.is_over()) {
            flights.push(near.outgoing.len());
            meter.add(&mut server, || {
                far.receive(&near.outgoing);
                near.outgoing.clear();
            });
            if far.outgoing.is_empty() {
                continue;
            }
            flights.push(far.outgoing.len());
            meter.add(&mut client, || {
                near.receive(&far.outgoing);
                far.outgoing.clear();
            });
        }
        if round > 0 {
            servers.push(server);
            clients.push(client);
        }
    }
    Alone {
        server: median(&mut servers),
        client: median(&mut clients),
        flights,
    }
}
