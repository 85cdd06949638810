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

/// A socket gets what it may have if that is no more than this part of what can still be
/// lent; otherwise half, or half of that.
const PART: usize = 64;

/// The sockets without a connection, and the memory of all sockets. Every socket is made
/// and dropped here, so that `committed` is the sum of their buffers, never more than the
/// limit.
///
/// The buffers of a socket are as large as when it was made, so what is lent is decided
/// then: few connections have much, and each has the least however many there are.
pub(crate) struct Sockets {
    spare: Vec<Wire>,
    /// Bytes of all buffers.
    committed: usize,
    /// What of them is above the least.
    lent: usize,
    limits: Limits,
}

impl Sockets {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            spare: Vec::with_capacity(limits.spare),
            committed: 0,
            lent: 0,
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

    /// A socket with these buffers, or smaller ones when much is lent: a spare one, or a
    /// new one if the memory for it is there, that of spare ones of another kind included.
    pub(crate) fn take(&mut self, most: Buffers) -> Option<Wire> {
        // What a spare one has is lent already.
        if let Some(found) = self.take_spare(most) {
            return Some(found);
        }
        loop {
            let buffers = self.affordable(most);
            if let Some(found) = self.take_spare(buffers) {
                return Some(found);
            }
            if self.committed + buffers.bytes() <= self.limits.memory() {
                self.committed += buffers.bytes();
                self.lent += self.above_least(buffers);
                return Some(Wire::new(buffers));
            }
            let mut other = self.spare.pop()?;
            self.drop_buffers(other.buffers());
        }
    }

    fn take_spare(&mut self, buffers: Buffers) -> Option<Wire> {
        let mut spare = self.spare.iter_mut();
        let found = spare.position(|wire| wire.buffers() == buffers)?;
        Some(self.spare.swap_remove(found))
    }

    /// Keeps a socket's memory for the next connection.
    pub(crate) fn recycle(&mut self, mut wire: Wire) {
        if self.spare.len() < self.limits.spare {
            wire.socket().abort();
            self.spare.push(wire);
        } else {
            self.drop_buffers(wire.buffers());
        }
    }

    fn drop_buffers(&mut self, buffers: Buffers) {
        self.committed -= buffers.bytes();
        self.lent -= self.above_least(buffers);
    }

    fn above_least(&self, buffers: Buffers) -> usize {
        buffers.bytes().saturating_sub(self.limits.least.bytes())
    }

    fn affordable(&self, most: Buffers) -> Buffers {
        let part = self.limits.lent.saturating_sub(self.lent) / PART;
        let mut buffers = most;
        while self.above_least(buffers) > part {
            buffers = buffers.halved(self.limits.least);
        }
        buffers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_sockets_have_much_and_every_one_has_the_least() {
        let limits = Limits::SHIPPED;
        let mut sockets = Sockets::new(limits);
        let mut taken: Vec<Wire> = Vec::new();
        for _ in 0..limits.connections {
            taken.push(sockets.take(limits.accepted).unwrap());
        }
        let sizes: Vec<_> = taken.iter_mut().map(Wire::buffers).collect();
        assert_eq!(sizes[0], limits.accepted);
        assert_eq!(sizes[5], limits.accepted);
        assert_eq!(sizes[70], limits.accepted.halved(limits.least));
        assert!(sizes.is_sorted_by(|before, after| before.bytes() >= after.bytes()));
        assert_eq!(sizes.last(), Some(&limits.least));
        let sum: usize = sizes.iter().map(|size| size.bytes()).sum();
        assert_eq!(sockets.committed, sum);
        assert!(sum <= limits.memory());
        // One that ends makes room for a large one when those before it have ended, too.
        for wire in taken.drain(..) {
            sockets.recycle(wire);
        }
        assert_eq!(sockets.spare.len(), limits.spare);
        let mut again = sockets.take(limits.accepted).unwrap();
        assert_eq!(again.buffers(), limits.accepted);
    }
}
