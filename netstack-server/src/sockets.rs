//! TCP sockets, and the memory that their buffers take.

use alloc::vec;
use alloc::vec::Vec;

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer};

use crate::config::{Buffers, Limits};

/// A socket in a set of its own (see [`crate::device`]).
pub(crate) struct Wire {
    pub(crate) sockets: SocketSet<'static>,
    handle: SocketHandle,
}

impl Wire {
    fn new(buffers: Buffers) -> Self {
        let bytes = |count| SocketBuffer::new(vec![0; count]);
        let socket = Socket::new(bytes(buffers.receive), bytes(buffers.send));
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Self { sockets, handle }
    }

    pub(crate) fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// The sizes that it was made with.
    fn buffers(&mut self) -> Buffers {
        let socket = self.socket();
        Buffers {
            receive: socket.recv_capacity(),
            send: socket.send_capacity(),
        }
    }

    /// Readies the socket for its next connection.
    pub(crate) fn prepare(&mut self) -> &mut Socket<'static> {
        let socket = self.socket();
        // Records and segments are whole: there is nothing to wait for. There
        // is no `set_timeout`: smoltcp 0.14 ends idle connections by it, too.
        socket.set_nagle_enabled(false);
        socket
    }
}

/// The sockets without a connection, and the memory of all sockets. Every socket is made
/// and dropped here, so that `committed` is the sum of their buffers, never more than the
/// limit.
pub(crate) struct Sockets {
    spare: Vec<Wire>,
    committed: usize,
    limits: Limits,
}

impl Sockets {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            spare: Vec::with_capacity(limits.spare),
            committed: 0,
            limits,
        }
    }

    /// The buffers of a connection that comes in.
    pub(crate) fn accepted(&self) -> Buffers {
        self.limits.accepted
    }

    /// The buffers of a connection that a client opens.
    pub(crate) fn opened(&self) -> Buffers {
        self.limits.opened
    }

    /// A socket with these buffers: a spare one, or a new one if the memory for it is
    /// there, that of spare ones of the other kind included.
    pub(crate) fn take(&mut self, buffers: Buffers) -> Option<Wire> {
        loop {
            let mut spare = self.spare.iter_mut();
            if let Some(found) = spare.position(|wire| wire.buffers() == buffers) {
                return Some(self.spare.swap_remove(found));
            }
            if self.committed + buffers.bytes() <= self.limits.memory {
                self.committed += buffers.bytes();
                return Some(Wire::new(buffers));
            }
            let mut other = self.spare.pop()?;
            self.committed -= other.buffers().bytes();
        }
    }

    /// Keeps a socket's memory for the next connection.
    pub(crate) fn recycle(&mut self, mut wire: Wire) {
        if self.spare.len() < self.limits.spare {
            wire.socket().abort();
            self.spare.push(wire);
        } else {
            self.committed -= wire.buffers().bytes();
        }
    }
}
