//! The NIC, and I/O ports.

use init::Capability;
use ipc::boot::{PAGE, interrupt};

use super::builder::{ALIGNMENT, Builder};
use super::field::{hex, snake, taken};
use super::placed::{DomainLayout, Source};

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
        domain.field(
            "The NIC and the timer, where the root task found them.",
            "devices",
            "Option<(ipc::boot::NicDevice, ipc::boot::TimerDevice)>",
            taken("sel4::runtime::devices", &hex(address)),
        );
        for (name, what, cptr, bit) in [
            ("nic", "the NIC", nic, interrupt::NIC),
            ("timer", "the timer", timer, interrupt::TIMER),
        ] {
            domain.interrupt(name, what, cptr, bit);
        }
    }

    pub(super) fn ports(&mut self) {
        for port in &self.description.ports {
            let (first, last) = (port.first, port.last);
            let ports = self.give(&port.domain, Capability::Ports { first, last });
            let kind = "sel4::runtime::Ports";
            self.domain(&port.domain).field(
                &format!("I/O ports {first:#x} to {last:#x}."),
                &format!("ports_{}", snake(&port.name)),
                kind,
                taken(&format!("{kind}::new"), &hex(ports)),
            );
            if let Some(pin) = port.interrupt {
                let handler = self.give(&port.domain, Capability::PortInterrupt { pin });
                let what = format!("the ports \"{}\"", port.name);
                let domain = self.domain(&port.domain);
                domain.interrupt(&port.name, &what, handler, interrupt::PORT);
            }
        }
    }
}

impl DomainLayout {
    fn interrupt(&mut self, name: &str, what: &str, cptr: u64, bit: u32) {
        let kind = "sel4::cap::IrqHandler";
        self.field(
            &format!("Acknowledges interrupts of {what}."),
            &format!("irq_{}", snake(name)),
            kind,
            taken(&format!("{kind}::from_bits"), &hex(cptr)),
        );
        self.signals.push((name.to_string(), 1 << bit));
    }
}
