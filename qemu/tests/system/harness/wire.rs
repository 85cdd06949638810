//! The other end of the machine's cable: Ethernet frames, and TCP over them
//! with addresses of the test's choice.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use qemu::Network;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, HardwareAddress, Icmpv6Packet, IpAddress,
    IpCidr, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, TcpControl, TcpPacket, TcpRepr,
    TcpSeqNumber,
};

use super::PATIENCE;

/// This end.
const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 0x99]);
/// QEMU's address for its first NIC.
const GUEST_MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
/// This end's address, which is the guest's router too.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// The guest's address, as its configuration says.
pub(crate) const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// RFC 4291 §2.5.6, appendix A: the guest's link-local address.
pub(crate) const GUEST_LINK_LOCAL: Ipv6Addr =
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe12, 0x3456);
const HOST_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// What QEMU takes at once, without a cable's limit.
const FRAME: usize = 1514;
const BUFFER: usize = 64 * 1024;

/// The far end of the cable.
pub(crate) struct Wire {
    cable: Cable,
    interface: Interface,
    sockets: SocketSet<'static>,
    next_port: u16,
    start: Instant,
}

struct Cable {
    socket: UnixDatagram,
    machine: PathBuf,
}

impl Wire {
    /// Lays a cable whose ends are in `folder`, and says what the machine has
    /// to know of it.
    pub(crate) fn lay(folder: &Path) -> Result<(Self, Network)> {
        // The path of a socket must be short.
        let place = |name: &str| {
            let path = folder.join(name);
            let _ = std::fs::remove_file(&path);
            path
        };
        let (machine, peer) = (place("m"), place("p"));
        let socket =
            UnixDatagram::bind(&peer).with_context(|| format!("binding {}", peer.display()))?;
        socket.set_nonblocking(true)?;
        let mut cable = Cable {
            socket,
            machine: machine.clone(),
        };
        let config = Config::new(HardwareAddress::Ethernet(MAC));
        let mut interface = Interface::new(config, &mut cable, smoltcp::time::Instant::ZERO);
        interface.update_ip_addrs(|list| {
            let _ = list.push(IpCidr::new(IpAddress::Ipv4(HOST), 24));
            let _ = list.push(IpCidr::new(IpAddress::Ipv6(HOST_LINK_LOCAL), 64));
        });
        let wire = Self {
            cable,
            interface,
            sockets: SocketSet::new(Vec::new()),
            next_port: 40_000,
            start: Instant::now(),
        };
        Ok((wire, Network::Ethernet { machine, peer }))
    }

    /// Connects to a port of the guest.
    pub(crate) fn connect(&mut self, to: IpAddr, port: u16) -> io::Result<Stream<'_>> {
        let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
        let handle = self.sockets.add(tcp::Socket::new(buffer(), buffer()));
        self.next_port += 1;
        let local = self.next_port;
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket
            .connect(self.interface.context(), SocketAddr::new(to, port), local)
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
        let mut stream = Stream { wire: self, handle };
        stream.wait(|socket| socket.may_send().then_some(()))?;
        Ok(stream)
    }

    /// Lets frames in and out.
    pub(crate) fn poll(&mut self) {
        let elapsed = self.start.elapsed().as_micros();
        let now = smoltcp::time::Instant::from_micros(i64::try_from(elapsed).unwrap());
        self.interface.poll(now, &mut self.cable, &mut self.sockets);
    }

    /// Sends the first segment of a connection that will never be finished.
    pub(crate) fn send_syn(&mut self, from: SocketAddr, port: u16) {
        let IpAddr::V4(source) = from.ip() else {
            panic!("only IPv4");
        };
        let segment = TcpRepr {
            src_port: from.port(),
            dst_port: port,
            control: TcpControl::Syn,
            seq_number: TcpSeqNumber(i32::from(from.port())),
            ack_number: None,
            window_len: 64_000,
            window_scale: None,
            max_seg_size: Some(1460),
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
        };
        let packet = Ipv4Repr {
            src_addr: source,
            dst_addr: GUEST,
            next_header: IpProtocol::Tcp,
            payload_len: segment.buffer_len(),
            hop_limit: 64,
        };
        let header = EthernetFrame::<&[u8]>::header_len();
        let mut bytes = vec![0; header + packet.buffer_len() + segment.buffer_len()];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes);
        frame.set_src_addr(MAC);
        frame.set_dst_addr(EthernetAddress(GUEST_MAC));
        frame.set_ethertype(EthernetProtocol::Ipv4);
        let mut ip = Ipv4Packet::new_unchecked(frame.payload_mut());
        packet.emit(&mut ip, &ChecksumCapabilities::default());
        let (source, target) = (IpAddress::Ipv4(source), IpAddress::Ipv4(GUEST));
        let mut tcp = TcpPacket::new_unchecked(ip.payload_mut());
        segment.emit(&mut tcp, &source, &target, &ChecksumCapabilities::default());
        self.cable.send(&bytes);
    }

    /// Says that it is a router, whose prefix has `length` bits (RFC 4861 §4.2);
    /// in front of that are other headers.
    pub(crate) fn advertise(&mut self, prefix: Ipv6Addr, length: u8, headers: &[u8]) {
        let mut message = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        message.extend([3, 4, length, 0xc0, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0]);
        message.extend(prefix.octets());
        let mut icmp = Icmpv6Packet::new_unchecked(&mut message[..]);
        icmp.fill_checksum(&HOST_LINK_LOCAL, &ALL_NODES);
        let packet = Ipv6Repr {
            src_addr: HOST_LINK_LOCAL,
            dst_addr: ALL_NODES,
            next_header: match headers.is_empty() {
                true => IpProtocol::Icmpv6,
                false => IpProtocol::HopByHop,
            },
            payload_len: headers.len() + message.len(),
            hop_limit: 255,
        };
        let header = EthernetFrame::<&[u8]>::header_len();
        let mut bytes = vec![0; header + packet.buffer_len()];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes);
        frame.set_src_addr(MAC);
        frame.set_dst_addr(EthernetAddress([0x33, 0x33, 0, 0, 0, 1]));
        frame.set_ethertype(EthernetProtocol::Ipv6);
        packet.emit(&mut Ipv6Packet::new_unchecked(frame.payload_mut()));
        self.cable.send(&[&bytes[..], headers, &message].concat());
    }
}

/// A TCP connection over the cable, for a client that reads and writes.
pub(crate) struct Stream<'a> {
    wire: &'a mut Wire,
    handle: SocketHandle,
}

impl Stream<'_> {
    fn wait<T>(
        &mut self,
        mut done: impl FnMut(&mut tcp::Socket<'static>) -> Option<T>,
    ) -> io::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.wire.poll();
            let socket = self.wire.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
            if let Some(found) = done(socket) {
                return Ok(found);
            }
            if !socket.is_open() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(|socket| {
            if socket.can_recv() {
                return socket.recv_slice(buffer).ok();
            }
            (!socket.may_recv()).then_some(0)
        })
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(|socket| {
            let sent = socket.can_send().then(|| socket.send_slice(bytes).ok());
            sent.flatten()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.wire.poll();
        Ok(())
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        let socket = self.wire.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        socket.abort();
        self.wire.poll();
        self.wire.sockets.remove(self.handle);
    }
}

impl Cable {
    /// Sends a frame; waits while QEMU's queue is full. A machine that is not
    /// there loses it, as a cable would.
    fn send(&self, frame: &[u8]) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.socket.send_to(frame, &self.machine) {
            let is_full =
                error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(105); // ENOBUFS
            if !is_full || Instant::now() > deadline {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Device for Cable {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Sender<'a>;

    fn receive(
        &mut self,
        _now: smoltcp::time::Instant,
    ) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let mut frame = vec![0; FRAME];
        let length = self.socket.recv(&mut frame).ok()?;
        frame.truncate(length);
        Some((Frame(frame), Sender(self)))
    }

    fn transmit(&mut self, _now: smoltcp::time::Instant) -> Option<Self::TxToken<'_>> {
        Some(Sender(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }
}

struct Frame(Vec<u8>);

impl RxToken for Frame {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, use_it: F) -> R {
        use_it(&self.0)
    }
}

struct Sender<'a>(&'a Cable);

impl TxToken for Sender<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let mut frame = vec![0; length];
        let result = fill(&mut frame);
        self.0.send(&frame);
        result
    }
}
