//! What a server holds for each application that it serves (`[[application]]` of the
//! system description).

/// For the network stack.
pub struct Connections<C> {
    /// The application's client number.
    pub client: u16,
    /// Connections without TLS.
    pub channel: C,
    /// TCP connections at once, in any domain that works on them for it.
    pub most: u16,
}

/// For the kernel shim.
pub struct Client<B, W> {
    /// The application's client number.
    pub client: u16,
    /// Signals it.
    pub bell: B,
    /// Handshakes at once.
    pub handshakes: u16,
    /// Sessions at once.
    pub sessions: u16,
    /// The window with its session capabilities.
    pub window: W,
}
