//! What the root task finds out about the machine before it deletes the I/O port
//! capabilities: the NIC, the console and the source of entropy, the time of day.

use alloc::vec::Vec;

use init::calendar::Fields;
use init::pci::{Bridges, Place};
use ipc::boot::DeviceSnapshot;
use sel4::Error;
use sel4::cap::{IOPort, PortWidth};

/// First and last port of the PCI configuration mechanism (PCI 3.0 §3.2.2.3.2).
pub(crate) const PCI_PORTS: (u16, u16) = (0xcf8, 0xcff);
/// First and last port of the real-time clock.
pub(crate) const CLOCK_PORTS: (u16, u16) = (0x70, 0x71);

/// First and last port of the old interval timer.
pub(crate) const INTERVAL_TIMER_PORTS: (u16, u16) = (0x40, 0x43);

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;

const VENDOR_VIRTIO: u32 = 0x1af4;
/// Modern virtio devices: NIC, console, source of entropy (virtio 1.2 §4.1.2, §5).
const DEVICE_NET: u32 = 0x1041;
const DEVICE_CONSOLE: u32 = 0x1043;
const DEVICE_ENTROPY: u32 = 0x1044;
const COMMAND: u8 = 0x04;
const COMMAND_MEMORY_AND_BUS_MASTER: u32 = 0b110;
const COMMAND_DECODE: u32 = 0b011;
const COMMAND_ALL: u32 = COMMAND_MEMORY_AND_BUS_MASTER | COMMAND_DECODE;
const CLASS: u8 = 0x08;
const HEADER_TYPE: u8 = 0x0c;
const BUSES: u8 = 0x18;
const CLASS_NETWORK: u32 = 0x02;
const BAR_0: u8 = 0x10;
const BARS: u8 = 6;
const INTERRUPT_LINE: u8 = 0x3c;
/// Host bridge of the Q35 machine: vendor and device.
const HOST_BRIDGE_Q35: u32 = 0x29c0_8086;
/// Registers that a driver may need; larger windows are left unmapped.
const MAX_BAR: u64 = 64 * 1024;

/// The NIC's place on the bus, and how its interrupt arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nic {
    pub(crate) place: Place,
    /// The I/O APIC pin; level-triggered.
    pub(crate) pin: u64,
    /// The pin is active low.
    pub(crate) active_low: bool,
}

/// The PCI configuration ports.
pub(crate) struct Pci(IOPort);

impl Pci {
    pub(crate) const fn new(ports: IOPort) -> Self {
        Self(ports)
    }

    fn select(&self, place: Place, register: u8) -> Result<(), Error> {
        let address = 1 << 31 | u32::from(place.requester()) << 8 | u32::from(register & !3);
        self.0.write(ADDRESS, PortWidth::Long, address)
    }

    fn read(&self, place: Place, register: u8) -> Result<u32, Error> {
        self.select(place, register)?;
        self.0.read(DATA, PortWidth::Long)
    }

    fn write(&self, place: Place, register: u8, value: u32) -> Result<(), Error> {
        self.select(place, register)?;
        self.0.write(DATA, PortWidth::Long, value)
    }

    /// The first function, on any bus that a bridge leads to, for which `is_meant` holds;
    /// it gets the place and its first register. The bridges on the way are in `bridges`.
    fn search(
        &self,
        bridges: &mut Bridges,
        is_meant: impl Fn(Place, u32) -> Result<bool, Error>,
    ) -> Result<Option<(Place, u32)>, Error> {
        let mut next = Some(0);
        while let Some(bus) = next {
            for device in 0..32 {
                for function in 0..8 {
                    let place = Place::new(bus, device, function);
                    let identifier = self.read(place, 0)?;
                    if identifier == u32::MAX {
                        // Without function 0 there is no device (PCI 3.0 §3.2.2.3.4).
                        if function == 0 {
                            break;
                        }
                        continue;
                    }
                    if is_meant(place, identifier)? {
                        return Ok(Some((place, identifier)));
                    }
                    let header = self.read(place, HEADER_TYPE)? >> 16;
                    if header & 0x7f == 1 {
                        let secondary = self.read(place, BUSES)? >> 8;
                        bridges.add(place, secondary as u8);
                    }
                    if function == 0 && header & 0x80 == 0 {
                        break;
                    }
                }
            }
            next = bridges.after(bus);
        }
        Ok(None)
    }

    /// All buses, the first of them first.
    pub(crate) fn buses(&self) -> Result<Vec<u8>, Error> {
        let mut bridges = Bridges::default();
        self.search(&mut bridges, |_, _| Ok(false))?;
        let next = |bus: &u8| bridges.after(*bus);
        Ok(core::iter::successors(Some(0), next).collect())
    }

    /// Looks for a virtio device of that kind.
    fn find(&self, bridges: &mut Bridges, kind: u32) -> Result<Option<Place>, Error> {
        let wanted = kind << 16 | VENDOR_VIRTIO;
        let found = self.search(bridges, |_, identifier| Ok(identifier == wanted))?;
        Ok(found.map(|(place, _)| place))
    }

    /// Looks for a NIC of any kind: its place, and its vendor and device as the first
    /// register has them.
    pub(crate) fn find_other_nic(&self) -> Result<Option<(Place, u32)>, Error> {
        self.search(&mut Bridges::default(), |place, _| {
            // The upper byte is the class (PCI 3.0 §D).
            Ok(self.read(place, CLASS)? >> 24 == CLASS_NETWORK)
        })
    }

    /// Looks for the source of entropy.
    pub(crate) fn find_entropy(&self) -> Result<Option<Place>, Error> {
        self.find(&mut Bridges::default(), DEVICE_ENTROPY)
    }

    /// Looks for the console.
    pub(crate) fn find_console(&self) -> Result<Option<Place>, Error> {
        self.find(&mut Bridges::default(), DEVICE_CONSOLE)
    }

    /// Looks for the NIC.
    pub(crate) fn find_nic(&self) -> Result<Option<Nic>, Error> {
        let mut bridges = Bridges::default();
        let Some(place) = self.find(&mut bridges, DEVICE_NET)? else {
            return Ok(None);
        };
        for bridge in bridges.above(place) {
            let command = self.read(bridge, COMMAND)?;
            self.write(bridge, COMMAND, command | COMMAND_MEMORY_AND_BUS_MASTER)?;
        }
        let line = self.read(place, INTERRUPT_LINE)?;
        let inta_is_one = (line >> 8) as u8;
        let (device, inta_is_zero) = bridges.interrupt(place, inta_is_one.saturating_sub(1));
        let q35 = self.read(Place::new(0, 0, 0), 0)? == HOST_BRIDGE_Q35;
        Ok(Some(Nic {
            place,
            // Q35 routes slots 0–24 to pins 20–23; the older machine to the pin
            // that the firmware wrote down.
            pin: if q35 {
                20 + (u64::from(device) + u64::from(inta_is_zero)) % 4
            } else {
                u64::from(line & 0xff)
            },
            active_low: false,
        }))
    }

    /// Switches a device off: it answers nothing, and reaches no memory.
    pub(crate) fn switch_off(&self, device: Place) -> Result<(), Error> {
        let command = self.read(device, COMMAND)?;
        self.write(device, COMMAND, command & !COMMAND_ALL)
    }

    /// Switches a device on and takes down what its driver needs to know.
    pub(crate) fn describe(
        &self,
        device: Place,
        snapshot: &mut DeviceSnapshot,
    ) -> Result<(), Error> {
        let command = self.read(device, COMMAND)?;
        self.write(device, COMMAND, command & !COMMAND_DECODE)?;
        let mut index = 0;
        while index < BARS {
            let register = BAR_0 + index * 4;
            let low = self.read(device, register)?;
            let wide = low & 0b111 == 0b100;
            let high = if wide {
                self.read(device, register + 4)?
            } else {
                0
            };
            let size = self.bar_size(device, register, wide)?;
            if low & 1 == 0
                && (1..=MAX_BAR).contains(&size)
                && let Some(bar) = snapshot.bars.get_mut(usize::from(index))
            {
                bar.physical = u64::from(high) << 32 | u64::from(low & !0xf);
                bar.size = size;
            }
            index += if wide { 2 } else { 1 };
        }
        let command = command | COMMAND_MEMORY_AND_BUS_MASTER;
        self.write(device, COMMAND, command)?;
        for (index, bytes) in snapshot.config.chunks_exact_mut(4).enumerate() {
            let value = self.read(device, (index * 4) as u8)?;
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        Ok(())
    }

    /// A register's size by writing ones and reading back (PCI 3.0 §6.2.5.1).
    fn bar_size(&self, device: Place, register: u8, wide: bool) -> Result<u64, Error> {
        let probe = |register| -> Result<u32, Error> {
            let kept = self.read(device, register)?;
            self.write(device, register, u32::MAX)?;
            let mask = self.read(device, register)?;
            self.write(device, register, kept)?;
            Ok(mask)
        };
        let low = probe(register)? & !0xf;
        let high = if wide { probe(register + 4)? } else { u32::MAX };
        if low == 0 && (!wide || high == 0) {
            return Ok(0);
        }
        let mask = u64::from(high) << 32 | u64::from(low);
        Ok((!mask).wrapping_add(1))
    }
}

/// Stops the old interval timer: the firmware left it ticking, on the pin that
/// the HPET uses. In mode 0 it counts once.
pub(crate) fn stop_interval_timer(ports: &IOPort) -> Result<(), Error> {
    const CHANNEL_0: u16 = 0x40;
    const CONTROL: u16 = 0x43;
    const CHANNEL_0_MODE_0: u32 = 0x30;
    ports.write(CONTROL, PortWidth::Byte, CHANNEL_0_MODE_0)?;
    // The shortest count, low byte first.
    ports.write(CHANNEL_0, PortWidth::Byte, 1)?;
    ports.write(CHANNEL_0, PortWidth::Byte, 0)
}

/// How often the real-time clock is read for two equal readings; one that is there
/// updates itself within 2 ms of each second.
const READINGS: u32 = 10_000;

/// The real-time clock, by its ports.
pub(crate) struct Cmos<'a>(&'a IOPort);

impl<'a> Cmos<'a> {
    pub(crate) const fn new(ports: &'a IOPort) -> Self {
        Self(ports)
    }

    /// Reads a register.
    pub(crate) fn read(&self, register: u32) -> Result<u8, Error> {
        self.0.write(0x70, PortWidth::Byte, register)?;
        Ok(self.0.read(0x71, PortWidth::Byte)? as u8)
    }

    /// Writes a register.
    pub(crate) fn write(&self, register: u32, value: u32) -> Result<(), Error> {
        self.0.write(0x70, PortWidth::Byte, register)?;
        self.0.write(0x71, PortWidth::Byte, value)
    }

    /// Seconds since 1970-01-01 00:00 UTC, the clock being taken to run in UTC; `None`
    /// when it tells no date.
    pub(crate) fn unix_seconds(&self) -> Result<Option<u64>, Error> {
        for _ in 0..READINGS {
            let before = self.fields()?;
            // Between two updates two readings agree.
            if self.read(0x0a)? & 0x80 == 0 && before == self.fields()? {
                return Ok(before.unix_seconds(self.read(0x0b)?));
            }
        }
        Ok(None)
    }

    /// Its registers, whatever they are at this moment.
    pub(crate) fn fields(&self) -> Result<Fields, Error> {
        Ok(Fields {
            second: self.read(0)?,
            minute: self.read(2)?,
            hour: self.read(4)?,
            day: self.read(7)?,
            month: self.read(8)?,
            year: self.read(9)?,
            century: self.read(0x32)?,
        })
    }
}
