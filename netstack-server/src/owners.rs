//! The owners of connections: their channels, and which connection is in which slot.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use ipc::channel::{Channel, Doorbell, Event, SlotIndex, Status};
use ipc::net::Owner;
use ipc::ring::Misbehaved;

/// The channels between the network stack and the owners of connections, as the
/// description has them. The network stack opens the slots of all of them.
pub struct Channels<B> {
    /// To each application.
    pub applications: Vec<Application<B>>,
    /// To the offload component: handshakes.
    pub offload: Channel<B>,
    /// To the record layer: protected records.
    pub record: Channel<B>,
}

/// An application.
pub struct Application<B> {
    /// Its client number.
    pub client: u16,
    /// Connections without TLS.
    pub channel: Channel<B>,
    /// Connections at once: those that it was offered or has opened, until they are
    /// released, in any domain that works on them for it.
    pub most: usize,
}

/// A connection's slot in its owner's channel.
pub(crate) struct Port<'a, B> {
    channel: &'a mut Channel<B>,
    slot: SlotIndex,
}

impl<B: Doorbell> Port<'_, B> {
    /// Sets flags and tells the owner.
    pub(crate) fn tell(&mut self, flags: u16) {
        self.set_status(flags);
        self.notify();
    }

    pub(crate) fn set_status(&mut self, flags: u16) {
        self.channel.set_status(self.slot, flags);
    }

    pub(crate) fn notify(&mut self) {
        self.channel.notify(self.slot);
    }

    pub(crate) fn set_idle(&mut self, is_idle: bool) {
        self.channel.set_idle(self.slot, is_idle);
    }

    pub(crate) fn peer_status(&self) -> Status {
        self.channel.peer_status(self.slot)
    }

    pub(crate) fn readable(&self) -> Result<usize, Misbehaved> {
        self.channel.readable(self.slot)
    }

    pub(crate) fn rx_capacity(&self) -> usize {
        self.channel.rx_capacity()
    }

    pub(crate) fn peek(&self, at: usize, out: &mut [u8]) -> Result<usize, Misbehaved> {
        self.channel.peek(self.slot, at, out)
    }

    pub(crate) fn consume(&mut self, count: usize) -> Result<(), Misbehaved> {
        self.channel.consume(self.slot, count)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<usize, Misbehaved> {
        self.channel.write(self.slot, bytes)
    }

    pub(crate) fn unread(&self) -> Result<usize, Misbehaved> {
        self.channel.unread(self.slot)
    }

    pub(crate) fn take_back(&self, out: &mut [u8]) -> Result<usize, Misbehaved> {
        self.channel.take_back(self.slot, 0, out)
    }
}

/// A channel with the connection in each of its slots. A slot is open exactly if a
/// connection is in it.
struct Side<B> {
    channel: Channel<B>,
    taken: Box<[Option<u32>]>,
    /// No slot below this one is free.
    first_free: usize,
}

impl<B: Doorbell> Side<B> {
    fn new(channel: Channel<B>) -> Self {
        let taken = vec![None; usize::from(channel.slots())].into_boxed_slice();
        Self {
            channel,
            taken,
            first_free: 0,
        }
    }

    /// The first slot without a connection.
    fn free_slot(&mut self) -> Option<SlotIndex> {
        let from = self.taken.get(self.first_free..)?;
        let found = from.iter().position(Option::is_none);
        self.first_free += found.unwrap_or(from.len());
        found?;
        SlotIndex::try_from(self.first_free).ok()
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

/// All owners.
pub(crate) struct Owners<B> {
    /// By client number.
    applications: Box<[(u16, Side<B>)]>,
    offload: Side<B>,
    record: Side<B>,
}

impl<B: Doorbell> Owners<B> {
    pub(crate) fn new(channels: Channels<B>) -> Self {
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

    /// [`Channel::oldest_event`] of all channels.
    pub(crate) fn oldest_events(&self) -> impl Iterator<Item = Option<u32>> {
        let applications = self.applications.iter().map(|(_, side)| side);
        let sides = [&self.offload, &self.record]
            .into_iter()
            .chain(applications);
        sides.map(|side| side.channel.oldest_event())
    }

    /// The slot of an owner that has one.
    pub(crate) fn of(&mut self, owner: Owner) -> Option<Port<'_, B>> {
        let (side, slot) = self.side(owner)?;
        let channel = &mut side.channel;
        Some(Port { channel, slot })
    }

    /// Whether the owner has this slot, and no connection is in it.
    pub(crate) fn is_free(&mut self, owner: Owner) -> bool {
        let Some((side, slot)) = self.side(owner) else {
            return owner == Owner::Client;
        };
        side.taken.get(usize::from(slot)) == Some(&None)
    }

    /// Opens a slot that is free for a connection. The owner gets no event: it learns of
    /// its connection from the domain that moved it, and of bytes when there are some.
    pub(crate) fn occupy(&mut self, owner: Owner, index: u32) {
        let Some((side, slot)) = self.side(owner) else {
            return;
        };
        if let Some(taken) = side.taken.get_mut(usize::from(slot)) {
            *taken = Some(index);
        }
        side.channel.open(slot);
    }

    /// Closes the slot of a connection that leaves its owner, who gets an event.
    pub(crate) fn vacate(&mut self, owner: Owner) {
        let Some((side, slot)) = self.side(owner) else {
            return;
        };
        side.channel.close(slot);
        side.channel.notify(slot);
        if let Some(taken) = side.taken.get_mut(usize::from(slot)) {
            *taken = None;
            side.first_free = side.first_free.min(slot.into());
        }
    }

    /// A free slot of this application's channel.
    pub(crate) fn free_slot(&mut self, client: u16) -> Option<SlotIndex> {
        self.application(client)?.free_slot()
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

    fn side(&mut self, owner: Owner) -> Option<(&mut Side<B>, SlotIndex)> {
        match owner {
            Owner::Client => None,
            Owner::Application { client, slot } => Some((self.application(client)?, slot)),
            Owner::Offload(slot) => Some((&mut self.offload, slot)),
            Owner::Record(slot) => Some((&mut self.record, slot)),
        }
    }

    fn application(&mut self, client: u16) -> Option<&mut Side<B>> {
        let mut sides = self.applications.iter_mut();
        let (_, side) = sides.find(|(number, _)| *number == client)?;
        Some(side)
    }
}
