//! The NIC, and I/O ports.

use init::Capability;
use ipc::boot::{PAGE, interrupt};

use super::builder::{ALIGNMENT, Builder};
use super::constant::{hex, upper};
use super::placed::Source;

/// The address range for device registers.
const REGISTERS: u64 = ALIGNMENT;

impl Builder<'_> {
    pub(super) fn device(&mut self) {
        let Some(device) = self.description.devices.first() else {
            return;
        };
        let number = self.number(&device.domain);
        let snapshot = self.add_region("device snapshot", PAGE, Source::Snapshot);
        let address = self.map(&device.domain, snapshot, false);
        let registers = self
            .next_address
            .get_mut(usize::from(number))
            .map_or(0, |next| {
                *next += REGISTERS;
                *next - REGISTERS
            });
        self.layout.device = Some((number, registers));
        let nic = self.give(&device.domain, Capability::NicInterrupt);
        let timer = self.give(&device.domain, Capability::TimerInterrupt);
        let domain = self.domain(&device.domain);
        for (doc, name, value) in [
            (
                "The page with an `ipc::boot::DeviceSnapshot`.",
                "DEVICE_SNAPSHOT",
                address,
            ),
            (
                "Acknowledges interrupts of the network card.",
                "IRQ_NIC",
                nic,
            ),
            ("Acknowledges interrupts of the timer.", "IRQ_TIMER", timer),
            (
                "The bit of interrupts of the network card.",
                "FROM_NIC",
                1 << interrupt::NIC,
            ),
            (
                "The bit of interrupts of the timer.",
                "FROM_TIMER",
                1 << interrupt::TIMER,
            ),
        ] {
            domain.constant(doc, name, "u64", hex(value));
        }
    }

    pub(super) fn ports(&mut self) {
        for port in &self.description.ports {
            let (first, last) = (port.first, port.last);
            let ports = self.give(&port.domain, Capability::Ports { first, last });
            let mut constants = vec![(format!("PORTS_{}", upper(&port.name)), ports)];
            if let Some(pin) = port.interrupt {
                let handler = self.give(&port.domain, Capability::PortInterrupt { pin });
                constants.push((format!("IRQ_{}", upper(&port.name)), handler));
                constants.push((format!("FROM_{}", upper(&port.name)), 1 << interrupt::PORT));
            }
            let domain = self.domain(&port.domain);
            for (name, value) in constants {
                let doc = match name.split('_').next() {
                    Some("PORTS") => format!("I/O ports {first:#x} to {last:#x}."),
                    Some("IRQ") => "Acknowledges their interrupt.".to_string(),
                    _ => "The bit of their interrupt.".to_string(),
                };
                domain.constant(&doc, &name, "u64", hex(value));
            }
        }
    }
}
