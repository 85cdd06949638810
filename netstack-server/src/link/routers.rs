//! Which router advertisements are taken.

use core::net::Ipv6Addr;
use core::time::Duration;

use ipc::clock::Instant;

use crate::discovery::RouterAdvertisement;

/// Routers whose advertisements are taken; RFC 4861 §6.3.4 asks for two.
const ROUTERS: usize = 3;

/// Advertisements that are taken in a row, and how soon each of them comes back:
/// routers send them to all three seconds apart at the least (RFC 4861 §10). Each
/// that changes an address or route costs smoltcp all its neighbours.
const ADVERTISEMENTS: u32 = 6;
const ADVERTISEMENT_TIME: Duration = Duration::from_secs(3);

/// The routers of the link.
pub(super) struct Routers {
    /// Whether routers are listened to.
    is_enabled: bool,
    known: [Option<(Ipv6Addr, Instant)>; ROUTERS],
    /// Advertisements that are taken now, and when the next one came back.
    quota: (u32, Instant),
}

impl Routers {
    pub(super) fn new(is_enabled: bool, now: Instant) -> Self {
        Self {
            is_enabled,
            known: [None; ROUTERS],
            quota: (ADVERTISEMENTS, now),
        }
    }

    /// Whether an advertisement of this router is taken now.
    pub(super) fn admit(&mut self, message: &RouterAdvertisement, now: Instant) -> bool {
        let (count, since) = &mut self.quota;
        while *count < ADVERTISEMENTS && now >= *since + ADVERTISEMENT_TIME {
            *count += 1;
            *since = *since + ADVERTISEMENT_TIME;
        }
        if *count == 0 || !self.is_enabled {
            return false;
        }
        let mut routers = self.known.iter();
        let known = routers.position(|r| r.is_some_and(|(router, _)| router == message.from));
        let mut routers = self.known.iter();
        let place = known.or_else(|| routers.position(|r| r.is_none_or(|(_, until)| until <= now)));
        let Some(place) = place.and_then(|place| self.known.get_mut(place)) else {
            return false;
        };
        let lifetime = Duration::from_secs(u64::from(message.lifetime));
        *place = (message.lifetime > 0).then_some((message.from, now + lifetime));
        if *count == ADVERTISEMENTS {
            *since = now;
        }
        *count -= 1;
        true
    }
}
