//! How much each client address has of the gateway.

use alloc::vec::Vec;
use core::net::IpAddr;

use ipc::clock::Instant;
use ipc::control::Standing;
use ipc::provision::Limits;

use crate::standing::Standings;
use crate::turned_away::Reason;

/// Whom a peer is counted to: an IPv4 address, or the prefix of an IPv6 address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Prefix {
    bits: u8,
    address: u128,
}

impl Prefix {
    /// One number for both: the length stands where a prefix of IPv6 has zeros.
    fn key(self) -> u128 {
        match self.bits {
            128.. => self.address,
            bits => self.address | u128::from(bits),
        }
    }

    fn of(remote: IpAddr, limits: Limits) -> Self {
        let (address, bits) = match remote.to_canonical() {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped().to_bits(), 128),
            IpAddr::V6(v6) => (v6.to_bits(), limits.ipv6_prefix.min(128)),
        };
        let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
        Self {
            bits,
            address: address & mask,
        }
    }
}

/// Names a guest for as long as it has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GuestId(u16);

impl GuestId {
    /// The number by which the shim tells guests apart
    /// ([`ipc::control::HandshakeRequest::group`]).
    pub(crate) fn group(self) -> u32 {
        self.0.into()
    }
}

/// What handshakes with the backends of a listener are counted to: no guest has this number.
pub(crate) fn group_of_backends(listener: usize) -> u32 {
    let listener = u32::try_from(listener).unwrap_or_default();
    u32::from(u16::MAX) + 1 + listener
}

/// What the two ends of a guest's relay take up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the table of sessions.
    Session,
    /// In the channel to the network stack.
    Connection,
}

/// How many places a relay takes up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) sessions: u16,
    pub(crate) connections: u16,
}

impl Places {
    pub(crate) fn of(&mut self, place: Place) -> &mut u16 {
        match place {
            Place::Session => &mut self.sessions,
            Place::Connection => &mut self.connections,
        }
    }
}

#[derive(Clone, Copy)]
struct Guest {
    prefix: Prefix,
    /// From it: those that wait, too.
    connections: u16,
    handshakes: u16,
    /// Of both ends of its relays.
    places: Places,
}

/// Every address that has a connection.
pub(crate) struct Guests {
    places: Vec<Guest>,
    /// Places without a guest, the next one last.
    free: Vec<u16>,
    /// Places with one, by prefix.
    order: Vec<u16>,
    /// By prefix, those without a connection, too.
    standings: Standings,
    /// What all of them have together.
    taken: Taken,
}

/// Places that all guests have together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) sessions: usize,
    pub(crate) connections: usize,
}

impl Guests {
    /// Bytes for one connection that can be held.
    pub(crate) const PLACE: usize = size_of::<Guest>() + 2 * size_of::<u16>();

    /// Room for so many connections, each from an address of its own; `key` is secret.
    pub(crate) fn new(connections: usize, key: [u8; 16]) -> Self {
        let count = u16::try_from(connections).unwrap_or(u16::MAX);
        let nobody = Guest {
            prefix: Prefix {
                bits: 0,
                address: 0,
            },
            connections: 0,
            handshakes: 0,
            places: Places::default(),
        };
        Self {
            places: (0..count).map(|_| nobody).collect(),
            free: (0..count).rev().collect(),
            order: Vec::with_capacity(usize::from(count)),
            standings: Standings::new(key),
            taken: Taken::default(),
        }
    }

    /// One more connection from `remote`.
    ///
    /// # Errors
    /// Why it is not admitted: refuse it.
    pub(crate) fn enter(&mut self, remote: IpAddr, limits: Limits) -> Result<GuestId, Reason> {
        if limits.connections == 0 {
            return Err(Reason::Connections);
        }
        let prefix = Prefix::of(remote, limits);
        let (order, places) = (&mut self.order, &mut self.places);
        let found = order.binary_search_by_key(&Some(prefix), |place| {
            places.get(usize::from(*place)).map(|guest| guest.prefix)
        });
        let place = match found {
            Ok(at) => order.get(at).copied().ok_or(Reason::Room)?,
            Err(at) => {
                let place = self.free.pop().ok_or(Reason::Room)?;
                order.insert(at, place);
                if let Some(guest) = places.get_mut(usize::from(place)) {
                    *guest = Guest {
                        prefix,
                        connections: 0,
                        handshakes: 0,
                        places: Places::default(),
                    };
                }
                place
            }
        };
        let guest = places.get_mut(usize::from(place)).ok_or(Reason::Room)?;
        if guest.connections >= limits.connections {
            return Err(Reason::Connections);
        }
        if guest.places.sessions >= limits.sessions {
            return Err(Reason::Sessions);
        }
        guest.connections += 1;
        Ok(GuestId(place))
    }

    /// A connection is over.
    pub(crate) fn leave(&mut self, id: GuestId) {
        let Some(guest) = self.places.get_mut(usize::from(id.0)) else {
            return;
        };
        guest.connections = guest.connections.saturating_sub(1);
        if guest.connections > 0 {
            return;
        }
        let prefix = guest.prefix;
        let places = &self.places;
        let found = self.order.binary_search_by_key(&Some(prefix), |place| {
            places.get(usize::from(*place)).map(|guest| guest.prefix)
        });
        if let Ok(at) = found {
            self.free.push(self.order.remove(at));
        }
    }

    /// Whether one more handshake may begin.
    pub(crate) fn may_begin(&self, id: GuestId, limits: Limits) -> bool {
        let guest = self.places.get(usize::from(id.0));
        guest.is_some_and(|guest| guest.handshakes < limits.handshakes)
    }

    /// Handshakes in progress.
    pub(crate) fn handshakes(&self, id: GuestId) -> u16 {
        let guest = self.places.get(usize::from(id.0));
        guest.map_or(u16::MAX, |guest| guest.handshakes)
    }

    /// A handshake has begun.
    pub(crate) fn begin(&mut self, id: GuestId) {
        if let Some(guest) = self.places.get_mut(usize::from(id.0)) {
            guest.handshakes = guest.handshakes.saturating_add(1);
        }
    }

    /// A handshake is over.
    pub(crate) fn finish(&mut self, id: GuestId) {
        if let Some(guest) = self.places.get_mut(usize::from(id.0)) {
            guest.handshakes = guest.handshakes.saturating_sub(1);
        }
    }

    /// Its handshake came to nothing.
    pub(crate) fn note_failure(&mut self, id: GuestId, now: Instant) {
        if let Some(guest) = self.places.get(usize::from(id.0)) {
            self.standings.note_failure(guest.prefix.key(), now);
        }
    }

    /// What is known of its address.
    pub(crate) fn standing(&self, id: GuestId, now: Instant) -> Standing {
        let guest = self.places.get(usize::from(id.0));
        guest.map_or(Standing::New, |guest| {
            self.standings.of(guest.prefix.key(), now)
        })
    }

    /// It has a session: its address is known from now on.
    pub(crate) fn note_session(&mut self, id: GuestId, now: Instant) {
        if let Some(guest) = self.places.get(usize::from(id.0)) {
            self.standings.note_session(guest.prefix.key(), now);
        }
    }

    /// One more place for an end of its relays; false when it must not have one more.
    pub(crate) fn take(&mut self, id: GuestId, place: Place, limits: Limits) -> bool {
        let limit = match place {
            Place::Session => limits.sessions,
            Place::Connection => limits.connections,
        };
        let guest = self.places.get_mut(usize::from(id.0));
        let held = guest.map(|guest| guest.places.of(place));
        match held.filter(|held| **held < limit) {
            Some(held) => {
                *held += 1;
                match place {
                    Place::Session => self.taken.sessions += 1,
                    Place::Connection => self.taken.connections += 1,
                }
                true
            }
            None => false,
        }
    }

    /// Gives places back.
    pub(crate) fn give(&mut self, id: GuestId, back: Places) {
        if let Some(guest) = self.places.get_mut(usize::from(id.0)) {
            let held = &mut guest.places;
            held.sessions = held.sessions.saturating_sub(back.sessions);
            held.connections = held.connections.saturating_sub(back.connections);
            let taken = &mut self.taken;
            taken.sessions = taken.sessions.saturating_sub(back.sessions.into());
            taken.connections = taken.connections.saturating_sub(back.connections.into());
        }
    }

    /// What all of them have together.
    pub(crate) const fn taken(&self) -> Taken {
        self.taken
    }

    /// How many addresses have a connection.
    pub(crate) fn count(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        connections: 2,
        handshakes: 1,
        sessions: 1,
        ipv6_prefix: 64,
    };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_own_limits_and_ipv6_those_of_its_prefix() {
        let mut guests = Guests::new(9, [0; 16]);
        let enter = |guests: &mut Guests, text| guests.enter(address(text), LIMITS);
        let a = enter(&mut guests, "10.0.0.1").unwrap();
        // The same written as IPv6.
        assert_eq!(enter(&mut guests, "::ffff:10.0.0.1"), Ok(a));
        assert_eq!(enter(&mut guests, "10.0.0.1"), Err(Reason::Connections));
        let b = enter(&mut guests, "2001:db8::1").unwrap();
        assert_eq!(enter(&mut guests, "2001:db8::ffff:0:0:2"), Ok(b));
        assert_eq!(enter(&mut guests, "2001:db8::3"), Err(Reason::Connections));
        let c = enter(&mut guests, "2001:db8:0:1::1").unwrap();
        assert_ne!(b, c);
        assert_eq!(guests.count(), 3);
        guests.leave(a);
        assert_eq!(enter(&mut guests, "10.0.0.1"), Ok(a));
    }

    #[test]
    fn handshakes_and_sessions_are_counted_apart() {
        let mut guests = Guests::new(3, [0; 16]);
        let id = guests.enter(address("10.0.0.1"), LIMITS).unwrap();
        assert!(guests.may_begin(id, LIMITS));
        guests.begin(id);
        assert!(!guests.may_begin(id, LIMITS));
        guests.finish(id);
        assert!(guests.take(id, Place::Session, LIMITS));
        assert!(!guests.take(id, Place::Session, LIMITS));
        let refused = guests.enter(address("10.0.0.1"), LIMITS);
        assert_eq!(refused, Err(Reason::Sessions));
        let one = Places {
            sessions: 1,
            ..Places::default()
        };
        guests.give(id, one);
        assert_eq!(guests.enter(address("10.0.0.1"), LIMITS), Ok(id));
    }

    #[test]
    fn the_table_is_as_long_as_connections_are_held_and_no_longer() {
        let mut guests = Guests::new(3, [0; 16]);
        let enter = |guests: &mut Guests, last: u8| guests.enter([10, 0, 0, last].into(), LIMITS);
        let held: Vec<_> = (0..3)
            .map(|last| enter(&mut guests, last).unwrap())
            .collect();
        assert_eq!(enter(&mut guests, 9), Err(Reason::Room));
        for id in held {
            guests.leave(id);
        }
        assert_eq!((guests.count(), guests.free.len()), (0, 3));
        assert!(enter(&mut guests, 9).is_ok());
    }
}
