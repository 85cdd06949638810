//! I/O ports of a domain.

use ipc::port::Ports as Access;

use crate::cap::{IOPort, PortWidth};

/// A range of I/O ports.
#[derive(Debug)]
pub struct Ports(IOPort);

impl Ports {
    /// The range that `cptr` names.
    ///
    /// # Safety
    /// A right to I/O ports: a `PORTS_…` constant of a domain, used once.
    pub const unsafe fn new(cptr: u64) -> Self {
        // SAFETY: the caller says so.
        Self(unsafe { IOPort::from_bits(cptr) })
    }
}

impl Access for Ports {
    fn read(&self, port: u16) -> u8 {
        let value = self.0.read(port, PortWidth::Byte);
        value.map_or(u8::MAX, |value| value as u8)
    }

    fn write(&self, port: u16, value: u8) {
        let _ = self.0.write(port, PortWidth::Byte, value.into());
    }

    fn write_word(&self, port: u16, value: u16) {
        let _ = self.0.write(port, PortWidth::Word, value.into());
    }
}
