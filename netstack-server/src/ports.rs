//! The channels to the owners of connections, and which connection is in which slot.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use ipc::channel::{Channel, Doorbell, Event, SlotIndex, Status};
use ipc::net::Owner;
use ipc::ring::Misbehaved;

/// The channels between the network stack and the owners of connections. The
/// network stack opens the slots of all of them.
pub struct Channels<G, O, R> {
    /// To each application.
    pub applications: Vec<Application<G>>,
    /// To the offload component: handshakes.
    pub offload: Channel<O>,
    /// To the record layer: protected records.
    pub record: Channel<R>,
}

/// An application.
pub struct Application<G> {
    /// Its client number.
    pub client: u16,
    /// Connections without TLS.
    pub channel: Channel<G>,
    /// Connections at once: those that it was offered or has opened, until they are
    /// released, in any domain that works on them for it.
    pub most: usize,
}

/// What a connection needs of a channel, whatever its doorbell.
pub(crate) trait Port {
    fn open(&mut self, slot: SlotIndex);
    fn close(&mut self, slot: SlotIndex);
    fn set_status(&mut self, slot: SlotIndex, flags: u16);
    fn notify(&mut self, slot: SlotIndex);
    fn set_idle(&mut self, slot: SlotIndex, is_idle: bool);
    fn peer_status(&self, slot: SlotIndex) -> Status;
    fn readable(&self, slot: SlotIndex) -> Result<usize, Misbehaved>;
    fn rx_capacity(&self) -> usize;
    fn peek(&self, slot: SlotIndex, at: usize, out: &mut [u8]) -> Result<usize, Misbehaved>;
    fn consume(&mut self, slot: SlotIndex, count: usize) -> Result<(), Misbehaved>;
    fn write(&mut self, slot: SlotIndex, bytes: &[u8]) -> Result<usize, Misbehaved>;
    fn unread(&self, slot: SlotIndex) -> Result<usize, Misbehaved>;
    fn take_back(&self, slot: SlotIndex, out: &mut [u8]) -> Result<usize, Misbehaved>;
}

impl dyn Port + '_ {
    /// Sets flags and tells the owner.
    pub(crate) fn tell(&mut self, slot: SlotIndex, flags: u16) {
        self.set_status(slot, flags);
        self.notify(slot);
    }
}

impl<D: Doorbell> Port for Channel<D> {
    fn open(&mut self, slot: SlotIndex) {
        // No event: the owner learns of its connection from the domain that moved it, and
        // of bytes when there are some.
        self.open(slot);
    }

    fn close(&mut self, slot: SlotIndex) {
        self.close(slot);
        self.notify(slot);
    }

    fn set_status(&mut self, slot: SlotIndex, flags: u16) {
        self.set_status(slot, flags);
    }

    fn notify(&mut self, slot: SlotIndex) {
        self.notify(slot);
    }

    fn set_idle(&mut self, slot: SlotIndex, is_idle: bool) {
        self.set_idle(slot, is_idle);
    }

    fn peer_status(&self, slot: SlotIndex) -> Status {
        self.peer_status(slot)
    }

    fn readable(&self, slot: SlotIndex) -> Result<usize, Misbehaved> {
        self.readable(slot)
    }

    fn rx_capacity(&self) -> usize {
        self.rx_capacity()
    }

    fn peek(&self, slot: SlotIndex, at: usize, out: &mut [u8]) -> Result<usize, Misbehaved> {
        self.peek(slot, at, out)
    }

    fn consume(&mut self, slot: SlotIndex, count: usize) -> Result<(), Misbehaved> {
        self.consume(slot, count)
    }

    fn write(&mut self, slot: SlotIndex, bytes: &[u8]) -> Result<usize, Misbehaved> {
        self.write(slot, bytes)
    }

    fn unread(&self, slot: SlotIndex) -> Result<usize, Misbehaved> {
        self.unread(slot)
    }

    fn take_back(&self, slot: SlotIndex, out: &mut [u8]) -> Result<usize, Misbehaved> {
        self.take_back(slot, 0, out)
    }
}

/// A channel with the connection in each of its slots.
struct Side<D> {
    channel: Channel<D>,
    taken: Box<[Option<u32>]>,
}

impl<D: Doorbell> Side<D> {
    fn new(channel: Channel<D>) -> Self {
        let taken = vec![None; usize::from(channel.slots())].into_boxed_slice();
        Self { channel, taken }
    }

    /// The connection of the next event that has one.
    fn next(&mut self) -> Option<u32> {
        while let Some(event) = self.channel.next_event() {
            if let Event::Slot(slot) = event
                && let Some(Some(index)) = self.taken.get(usize::from(slot))
            {
                return Some(*index);
            }
        }
        None
    }
}

/// The channels with their slots.
pub(crate) struct Ports<G, O, R> {
    /// By client number.
    applications: Box<[(u16, Side<G>)]>,
    offload: Side<O>,
    record: Side<R>,
}

impl<G: Doorbell, O: Doorbell, R: Doorbell> Ports<G, O, R> {
    pub(crate) fn new(channels: Channels<G, O, R>) -> Self {
        Self {
            applications: channels
                .applications
                .into_iter()
                .map(|application| (application.client, Side::new(application.channel)))
                .collect(),
            offload: Side::new(channels.offload),
            record: Side::new(channels.record),
        }
    }

    /// The channel and slot of an owner that has one.
    pub(crate) fn of(&mut self, owner: Owner) -> Option<(&mut dyn Port, SlotIndex)> {
        match owner {
            Owner::Client => None,
            Owner::Application { client, slot } => {
                Some((&mut self.application(client)?.channel, slot))
            }
            Owner::Offload(slot) => Some((&mut self.offload.channel, slot)),
            Owner::Record(slot) => Some((&mut self.record.channel, slot)),
        }
    }

    /// Which connection is in the owner's slot: `None` if there is no such
    /// slot, `Some(None)` if it is free.
    pub(crate) fn taken(&mut self, owner: Owner) -> Option<&mut Option<u32>> {
        match owner {
            Owner::Client => None,
            Owner::Application { client, slot } => {
                self.application(client)?.taken.get_mut(usize::from(slot))
            }
            Owner::Offload(slot) => self.offload.taken.get_mut(usize::from(slot)),
            Owner::Record(slot) => self.record.taken.get_mut(usize::from(slot)),
        }
    }

    fn application(&mut self, client: u16) -> Option<&mut Side<G>> {
        let mut sides = self.applications.iter_mut();
        let (_, side) = sides.find(|(number, _)| *number == client)?;
        Some(side)
    }

    /// A free slot of this application's channel.
    pub(crate) fn free_slot(&mut self, client: u16) -> Option<SlotIndex> {
        let taken = &self.application(client)?.taken;
        let free = taken.iter().position(Option::is_none)?;
        SlotIndex::try_from(free).ok()
    }

    /// The connection of the next event of any channel.
    pub(crate) fn next_event(&mut self) -> Option<u32> {
        let mut applications = self.applications.iter_mut();
        applications
            .find_map(|(_, side)| side.next())
            .or_else(|| self.offload.next())
            .or_else(|| self.record.next())
    }

    /// Tells an application that a connection waits to be accepted.
    pub(crate) fn call_for_accept(&mut self, client: u16) {
        if let Some(side) = self.application(client) {
            side.channel.notify_control();
        }
    }

    pub(crate) fn flush(&mut self) {
        for (_, side) in &mut self.applications {
            side.channel.flush();
        }
        self.offload.channel.flush();
        self.record.channel.flush();
    }
}
