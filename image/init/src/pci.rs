//! Where devices are, and what is between them and the host: buses and bridges.

use alloc::vec::Vec;

/// The place of a function of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u16);

impl Place {
    /// The function (0–7) of a device (0–31) on a bus.
    pub const fn new(bus: u8, device: u8, function: u8) -> Self {
        Self((bus as u16) << 8 | (device as u16 & 31) << 3 | (function as u16 & 7))
    }

    /// Bus, device and function in one number, as the IOMMU sees them in its accesses
    /// (PCI Express 2.1 §2.2.4.2).
    pub const fn requester(self) -> u16 {
        self.0
    }

    /// Its bus.
    pub const fn bus(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// Its device number on that bus.
    pub const fn device(self) -> u8 {
        (self.0 >> 3) as u8 & 31
    }
}

impl core::fmt::Display for Place {
    /// As `lspci` writes it.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus(), self.device(), self.0 & 7)
    }
}

/// The bridges that were found, each with the bus that it leads to.
#[derive(Debug, Default)]
pub struct Bridges(Vec<(Place, u8)>);

impl Bridges {
    /// Notes a bridge. One whose bus is known, or that leads to none, is left out: the
    /// firmware gave it no number.
    pub fn add(&mut self, bridge: Place, to: u8) {
        if to > bridge.bus() && !self.0.iter().any(|(_, known)| *known == to) {
            self.0.push((bridge, to));
        }
    }

    /// The bus that was found after `bus`, in the order in which they were.
    pub fn after(&self, bus: u8) -> Option<u8> {
        let at = self.0.iter().position(|(_, to)| *to == bus);
        let next = at.map_or(0, |at| at + 1);
        self.0.get(next).map(|(_, to)| *to)
    }

    /// The bridges between a device and the host, the nearest to the device first.
    pub fn above(&self, place: Place) -> impl Iterator<Item = Place> {
        core::iter::successors(self.to(place.bus()), |bridge| self.to(bridge.bus()))
    }

    /// Where the interrupt of a device arrives on bus 0: the device there, and the pin,
    /// counted from zero. Each bridge turns pins by the number of the device below it
    /// (PCI-to-PCI Bridge Architecture 1.2 §9.1).
    pub fn interrupt(&self, place: Place, pin: u8) -> (u8, u8) {
        let mut at = (place.device(), pin);
        for bridge in self.above(place) {
            at = (bridge.device(), (at.0 + at.1) % 4);
        }
        at
    }

    fn to(&self, bus: u8) -> Option<Place> {
        let found = self.0.iter().find(|(_, to)| *to == bus);
        found.map(|(bridge, _)| *bridge)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn each_bus_that_a_bridge_leads_to_is_looked_at_once() {
        let mut bridges = Bridges::default();
        assert_eq!(bridges.after(0), None);
        bridges.add(Place::new(0, 3, 0), 2);
        bridges.add(Place::new(0, 4, 0), 1);
        // Without a number, the same again, back up.
        bridges.add(Place::new(0, 5, 0), 0);
        bridges.add(Place::new(0, 6, 0), 1);
        assert_eq!(bridges.after(0), Some(2));
        bridges.add(Place::new(2, 0, 0), 3);
        bridges.add(Place::new(2, 1, 0), 1);
        assert_eq!(bridges.after(2), Some(1));
        assert_eq!(bridges.after(1), Some(3));
        bridges.add(Place::new(3, 0, 0), 3);
        assert_eq!(bridges.after(3), None);
    }

    #[test]
    fn an_interrupt_turns_at_each_bridge() {
        let mut bridges = Bridges::default();
        bridges.add(Place::new(0, 5, 1), 1);
        bridges.add(Place::new(1, 2, 0), 2);
        let nic = Place::new(2, 3, 0);
        let above: Vec<_> = bridges.above(nic).collect();
        assert_eq!(above, [Place::new(1, 2, 0), Place::new(0, 5, 1)]);
        // INTA of device 3 is INTD of the bridge at 2, and that INTB of the one at 5.
        assert_eq!(bridges.interrupt(nic, 0), (5, 1));
        assert_eq!(bridges.interrupt(Place::new(0, 7, 0), 1), (7, 1));
    }

    #[test]
    fn a_place_is_written_as_lspci_does() {
        let place = Place::new(0x1a, 0x1f, 7);
        assert_eq!(place.to_string(), "1a:1f.7");
        assert_eq!(place.requester(), 0x1aff);
        assert_eq!((place.bus(), place.device()), (0x1a, 0x1f));
    }
}
