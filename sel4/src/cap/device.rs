//! Interrupts and I/O ports.

use super::{CNode, Cap, IOPort, IrqControl, IrqHandler, cap_type};
use crate::error::Error;
use crate::facts;

/// How wide an access to an I/O port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortWidth {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Word,
    /// 32 bits.
    Long,
}

impl IrqControl {
    /// Puts a handler for `pin` of the first I/O APIC into slot `index` of
    /// `root`, delivered as `vector`.
    ///
    /// # Errors
    /// The kernel's: pin or vector are taken or don't exist.
    #[expect(clippy::too_many_arguments, reason = "the kernel's own list")]
    pub fn issue_ioapic(
        &self,
        root: &CNode,
        index: u64,
        depth: u8,
        pin: u64,
        level: bool,
        active_low: bool,
        vector: u64,
    ) -> Result<(), Error> {
        let words = [
            index,
            u64::from(depth),
            0,
            pin,
            u64::from(level),
            u64::from(active_low),
            vector,
        ];
        self.invoke(facts::IRQ_ISSUE_IOAPIC, &[root.bits()], words)
            .map(drop)
    }
}

impl IrqHandler {
    /// Lets the next interrupt through.
    ///
    /// # Errors
    /// The kernel's: this is no interrupt.
    pub fn ack(&self) -> Result<(), Error> {
        self.invoke(facts::IRQ_ACK, &[], []).map(drop)
    }

    /// Signals `notification` at each interrupt.
    ///
    /// # Errors
    /// The kernel's: that is no notification.
    pub fn set_notification(
        &self,
        notification: &Cap<cap_type::Notification>,
    ) -> Result<(), Error> {
        self.invoke(facts::IRQ_SET_HANDLER, &[notification.bits()], [])
            .map(drop)
    }
}

impl IOPort {
    /// Reads a port.
    ///
    /// # Errors
    /// The kernel's: the port is out of this capability's range.
    pub fn read(&self, port: u16, width: PortWidth) -> Result<u32, Error> {
        let label = match width {
            PortWidth::Byte => facts::IO_PORT_IN8,
            PortWidth::Word => facts::IO_PORT_IN16,
            PortWidth::Long => facts::IO_PORT_IN32,
        };
        let [value, ..] = self.invoke(label, &[], [u64::from(port)])?;
        Ok(value as u32)
    }

    /// Writes a port.
    ///
    /// # Errors
    /// The kernel's: the port is out of this capability's range.
    pub fn write(&self, port: u16, width: PortWidth, value: u32) -> Result<(), Error> {
        let label = match width {
            PortWidth::Byte => facts::IO_PORT_OUT8,
            PortWidth::Word => facts::IO_PORT_OUT16,
            PortWidth::Long => facts::IO_PORT_OUT32,
        };
        self.invoke(label, &[], [u64::from(port), u64::from(value)])
            .map(drop)
    }
}
