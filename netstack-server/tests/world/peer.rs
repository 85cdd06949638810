//! A peer of the stack: smoltcp at the other end of the link.

use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp;

use super::STACK_IP;
use super::link::End;

pub(crate) struct Peer {
    pub(crate) interface: Interface,
    pub(crate) sockets: SocketSet<'static>,
    pub(super) device: End,
    pub(super) next_port: u16,
}

impl Peer {
    pub(crate) fn connect(&mut self, port: u16) -> SocketHandle {
        self.connect_with(port, 64 * 1024)
    }

    pub(crate) fn connect_with(&mut self, port: u16, buffer: usize) -> SocketHandle {
        let handle = self.add(buffer);
        self.next_port += 1;
        let (socket, local) = (self.sockets.get_mut::<tcp::Socket>(handle), self.next_port);
        let to = (
            smoltcp::wire::IpAddress::from(std::net::Ipv4Addr::from(STACK_IP)),
            port,
        );
        socket.connect(self.interface.context(), to, local).unwrap();
        handle
    }

    pub(crate) fn listen(&mut self, port: u16) -> SocketHandle {
        let handle = self.add(64 * 1024);
        self.sockets
            .get_mut::<tcp::Socket>(handle)
            .listen(port)
            .unwrap();
        handle
    }

    /// The next connection is from this port.
    pub(crate) fn take_port(&mut self, port: u16) {
        self.next_port = port - 1;
    }

    fn add(&mut self, buffer: usize) -> SocketHandle {
        let bytes = || tcp::SocketBuffer::new(vec![0; buffer]);
        let mut socket = tcp::Socket::new(bytes(), bytes());
        socket.set_nagle_enabled(false);
        self.sockets.add(socket)
    }

    pub(crate) fn socket(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    pub(crate) fn send(&mut self, handle: SocketHandle, bytes: &[u8]) -> usize {
        self.socket(handle).send_slice(bytes).unwrap_or(0)
    }

    pub(crate) fn receive(&mut self, handle: SocketHandle) -> Vec<u8> {
        let mut bytes = vec![0; 256 * 1024];
        let count = self.socket(handle).recv_slice(&mut bytes).unwrap_or(0);
        bytes.truncate(count);
        bytes
    }
}
