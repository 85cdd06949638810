//! The lines that domains have logged, in the order in which they were written.

use alloc::vec::Vec;

use init::log_quota::Quota;
use ipc::log_ring::{LINE, Reader};
use sel4::log;
use sel4::runtime::SystemClock;

use crate::builder::Watched;
use crate::monitor::ring;
use crate::terminal;

/// How far each domain's log has been printed.
pub(crate) struct Logs {
    places: Vec<Place>,
    /// The counter when all had been printed last: what there is now was written later.
    printed: u64,
}

struct Place {
    reader: Reader,
    /// The counter at the last line: no domain says that the next was earlier.
    last: u64,
    quota: Quota,
    /// The counter when it was told last that lines are dropped.
    told: u64,
}

impl Logs {
    /// Nothing of so many domains has been printed; each may log `rate` bytes a second.
    pub(crate) fn new(domains: usize, rate: u64) -> Self {
        let place = |_| Place {
            reader: Reader::new(),
            last: 0,
            quota: Quota::new(SystemClock::ticks(), rate),
            told: 0,
        };
        Self {
            places: (0..domains).map(place).collect(),
            printed: 0,
        }
    }

    /// Prints what the domains have written since the last time.
    pub(crate) fn print(&mut self, domains: &[Watched], tsc_hz: u64) {
        let mut text = [0; LINE];
        let mut has_printed = false;
        for place in &mut self.places {
            place.last = place.last.max(self.printed);
        }
        while let Some((domain, place)) = self.earliest(domains, tsc_hz) {
            let Some(line) = place.reader.take(ring(domain), &mut text) else {
                break;
            };
            let now = SystemClock::ticks();
            let len = line.text.len() as u64 + 1;
            let allowed = place.quota.allows(len, 1, domain.name.len(), now, tsc_hz)
                && (!place.quota.is_low() || terminal::has_plenty());
            place.last = line.ticks.min(now).max(place.last);
            if !allowed {
                // It has cost enough already: what is there is not read one by one.
                place.reader.skip(ring(domain));
                // Once a second, as long as it does so.
                if place.told == 0 || now.wrapping_sub(place.told) >= tsc_hz {
                    place.told = now;
                    log!("{}: logs too much, lines are dropped", domain.name);
                }
            } else {
                let (ticks, len) = (place.last, line.text.len());
                let text = text.get_mut(..len).unwrap_or_default();
                // A domain can't send control characters to the terminal.
                for byte in text.iter_mut().filter(|byte| !(b' '..=b'~').contains(byte)) {
                    *byte = b'?';
                }
                terminal::write(&domain.name, ticks, text);
                has_printed = true;
            }
        }
        self.printed = SystemClock::ticks();
        if has_printed {
            terminal::flush();
        }
    }

    /// The domain whose next line was written first.
    fn earliest<'a>(
        &mut self,
        domains: &'a [Watched],
        tsc_hz: u64,
    ) -> Option<(&'a Watched, &mut Place)> {
        let next = domains
            .iter()
            .zip(&mut self.places)
            .filter_map(|(domain, place)| {
                let mut lost = 0;
                let ticks = place.reader.peek(ring(domain), &mut lost);
                // That line is the domain's doing, and is charged like its own.
                let now = SystemClock::ticks();
                if lost > 0
                    && place
                        .quota
                        .allows(LINE as u64, 1, domain.name.len(), now, tsc_hz)
                {
                    log!("{}: its log was overrun, lines are lost", domain.name);
                }
                Some((ticks?.max(place.last), domain, place))
            });
        let (_, domain, place) = next.min_by_key(|(ticks, ..)| *ticks)?;
        Some((domain, place))
    }
}
