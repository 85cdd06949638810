//! What the two sides tell each other: events of slots, and the doorbell.

use super::events::Posted;
use super::{CONTROL_EVENT, Channel, Doorbell, Event, SlotIndex, Status};

impl<D: Doorbell> Channel<D> {
    /// Tells the other side that `slot` changed, unless it has left the slot or
    /// an event that it has not taken yet tells so already.
    pub fn notify(&mut self, slot: SlotIndex) {
        if slot < self.memory.slots && !self.peer_status(slot).has(Status::LEFT) {
            self.post(usize::from(slot), slot);
        }
    }

    /// Tells the other side that there is something to ask for by a call.
    pub fn notify_control(&mut self) {
        self.post(usize::from(self.memory.slots), CONTROL_EVENT);
    }

    /// Rings the doorbell if an event since the last flush needs it. Call it
    /// once after a batch of work.
    pub fn flush(&mut self) {
        if self.doorbell_due {
            self.doorbell_due = false;
            self.doorbell.ring();
        }
    }

    /// Whether [`Channel::next_event`] would find something.
    pub fn has_events(&self) -> bool {
        self.memory.events_in().due() > 0
    }

    /// Where the oldest event that [`Channel::next_event`] would find stands.
    pub fn oldest_event(&self) -> Option<u32> {
        self.memory.events_in().oldest()
    }

    /// How many events [`Channel::next_event`] would find, at most.
    pub(crate) fn events_due(&self) -> u32 {
        self.memory.events_in().due()
    }

    /// Takes the oldest event; `None` when there is none. Entries that name no slot are
    /// skipped. After those of the other side come slots that were short of lent blocks and
    /// can have some.
    pub fn next_event(&mut self) -> Option<Event> {
        if let Some(event) = self.first_event() {
            self.end_event();
            return Some(event);
        }
        let lending = self.lending.as_mut()?;
        lending.relieved(&self.memory).map(Event::Slot)
    }

    /// The oldest event, which is not taken before [`Channel::end_event`]: until then it
    /// covers what the other side does in its slot, and the doorbell is not rung for that.
    pub(crate) fn first_event(&mut self) -> Option<Event> {
        loop {
            match self.memory.events_in().first()? {
                CONTROL_EVENT => return Some(Event::Control),
                slot if slot < self.memory.slots => return Some(Event::Slot(slot)),
                _ => self.end_event(),
            }
        }
    }

    /// The oldest event is taken. Look into its slot once more after this.
    pub(crate) fn end_event(&mut self) {
        self.memory.events_in().end_first();
    }

    fn post(&mut self, index: usize, entry: u16) {
        let Some(posted) = self.posted.get(index).copied() else {
            return;
        };
        match self.memory.events_out().post(posted, entry) {
            Posted::Before => {}
            Posted::NoRoom => self.doorbell_due = true,
            Posted::Now { position, rings } => {
                if let Some(posted) = self.posted.get_mut(index) {
                    *posted = position;
                }
                self.doorbell_due |= rings;
            }
        }
    }
}
