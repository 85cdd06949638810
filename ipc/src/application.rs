//! What the constants of a server say of each application that it serves
//! (`[[application]]` of the system description). Addresses are those of the server's own
//! capability space.

use crate::channel::Layout;

/// For the network stack.
#[derive(Clone, Copy)]
pub struct Connections {
    /// The application's client number.
    pub client: u16,
    /// Signals it.
    pub signal: u64,
    /// Connections without TLS.
    pub channel: Layout,
    /// TCP connections at once, in any domain that works on them for it.
    pub most: u16,
}

/// For the record layer.
#[derive(Clone, Copy)]
pub struct Plaintext {
    /// Signals the application.
    pub signal: u64,
    /// Plaintext of its sessions.
    pub channel: Layout,
}

/// For the kernel shim.
#[derive(Clone, Copy)]
pub struct Share {
    /// The application's client number.
    pub client: u16,
    /// Signals it.
    pub signal: u64,
    /// Handshakes at once.
    pub handshakes: u16,
    /// Sessions at once.
    pub sessions: u16,
    /// The window with its session capabilities: address of the CNode, and radix.
    pub window: (u64, u8),
}
