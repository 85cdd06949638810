//! A KeyUpdate that asks for one: new keys in both directions.

use alloc::vec::Vec;

use ipc::tls::Mode;
use sel4::log;

use crate::meter::median;
use crate::settings::Case;
use crate::site::Site;

/// Counts `rounds` of them in a session of TLS 1.3, less TCP less client; one
/// before that is not counted.
pub(crate) fn measure(site: &mut Site, case: &Case, rounds: usize) {
    let mut figures = Vec::new();
    let mut session = site.handshake(case, Mode::Autonomous);
    let pair = site.connect_plain(case);
    for round in 0..=rounds {
        let mut client = 0;
        let start = site.meter.start();
        let tls = &mut session.tls;
        site.meter.add(&mut client, || tls.update_keys());
        let asked = tls.outgoing.len();
        site.say(session.client, &mut session.tls);
        let answered = site.receive(session.client);
        let tls = &mut session.tls;
        let bytes = site.buffer.get(..answered).unwrap_or_default();
        site.meter.add(&mut client, || tls.open(bytes));
        site.settle();
        let whole = site.meter.since(&start);
        let start = site.meter.start();
        site.play(&pair, &[asked, answered]);
        let tcp = site.meter.since(&start);
        if round > 0 {
            figures.push(whole.saturating_sub(client + tcp));
        }
    }
    log!("figure key_update {}", median(&mut figures));
    site.close_plain(pair);
    site.close_session(session);
}
