//! Bytes through the record layer, against the same bytes in plaintext.

use alloc::vec;

use ipc::channel::SlotIndex;
use ipc::tls::Mode;
use sel4::log;
use sel4::runtime::wait_signals;

use crate::settings::Case;
use crate::site::{CHUNK, End, Pair, Session, Site};

/// Bytes of each pass.
const TOTAL: usize = 4 << 20;

/// Four passes: to the application and from it, in plaintext and by TLS.
pub(crate) fn measure(site: &mut Site, case: &Case) {
    let pair = site.connect_plain(case);
    log!("figure bulk_bytes {TOTAL}");
    log!("figure bulk_up_plain {}", up_plain(site, &pair));
    log!("figure bulk_down_plain {}", down_plain(site, &pair));
    site.close_plain(pair);
    let mut session = site.handshake(case, Mode::Autonomous);
    let (whole, client) = up(site, &mut session);
    log!("figure bulk_up_tls {}", whole - client);
    let (whole, client) = down(site, &mut session);
    log!("figure bulk_down_tls {}", whole - client);
    site.close_session(session);
}

fn up_plain(site: &mut Site, pair: &Pair) -> u64 {
    pass_plain(site, pair.client, pair.server)
}

fn down_plain(site: &mut Site, pair: &Pair) -> u64 {
    pass_plain(site, pair.server, pair.client)
}

fn pass_plain(site: &mut Site, from: End, to: End) -> u64 {
    let text = vec![7; CHUNK];
    let start = site.meter.start();
    let (mut written, mut read) = (0, 0);
    while read < TOTAL {
        let rest = text.get(..CHUNK.min(TOTAL - written)).unwrap_or_default();
        let wrote = moved(site.backend.write(from.slot, rest));
        site.settle();
        let got = moved(site.backend.read(to.slot, &mut site.buffer));
        site.settle();
        written += wrote;
        read += got;
        if wrote == 0 && got == 0 {
            wait_signals();
        }
    }
    site.meter.since(&start)
}

/// From the client to the application; all instructions, and those of the
/// client's own sealing.
fn up(site: &mut Site, session: &mut Session) -> (u64, u64) {
    let text = vec![7; CHUNK];
    let (mut client, mut sealed, mut read, mut at) = (0, 0, 0, 0);
    let start = site.meter.start();
    while read < TOTAL {
        if at == session.tls.outgoing.len() && sealed < TOTAL {
            site.meter.add(&mut client, || {
                session.tls.outgoing.clear();
                session.tls.seal(&text);
            });
            at = 0;
            sealed += text.len();
        }
        let rest = session.tls.outgoing.get(at..).unwrap_or_default();
        let wrote = moved(site.backend.write(session.client.slot, rest));
        at += wrote;
        site.settle();
        let got = read_plain(site, session.slot);
        read += got;
        site.settle();
        if wrote == 0 && got == 0 {
            wait_signals();
        }
    }
    (site.meter.since(&start), client)
}

/// From the application to the client.
fn down(site: &mut Site, session: &mut Session) -> (u64, u64) {
    let text = vec![7; CHUNK];
    let (mut client, mut written, mut opened) = (0, 0, 0);
    let start = site.meter.start();
    while opened < TOTAL {
        let rest = text.get(..CHUNK.min(TOTAL - written)).unwrap_or_default();
        let wrote = moved(site.plain.write(session.slot, rest));
        written += wrote;
        site.settle();
        let got = moved(site.backend.read(session.client.slot, &mut site.buffer));
        site.settle();
        let bytes = site.buffer.get(..got).unwrap_or_default();
        opened += site.meter.add(&mut client, || session.tls.open(bytes));
        if wrote == 0 && got == 0 {
            wait_signals();
        }
    }
    (site.meter.since(&start), client)
}

fn read_plain(site: &mut Site, slot: SlotIndex) -> usize {
    moved(site.plain.read(slot, &mut site.buffer))
}

fn moved<E>(count: Result<usize, E>) -> usize {
    match count {
        Ok(count) => count,
        Err(_) => panic!("a ring is broken"),
    }
}
