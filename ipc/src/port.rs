//! I/O ports, as a driver sees them that knows no kernel.

/// The right to a range of I/O ports. What is outside it reads as ones and is
/// written to no effect.
pub trait Ports {
    /// Reads a byte.
    fn read(&self, port: u16) -> u8;
    /// Writes a byte.
    fn write(&self, port: u16, value: u8);
    /// Writes 16 bits.
    fn write_word(&self, port: u16, value: u16);
}
