//! Typed messages with a ring of their own for each slot of a channel.
//!
//! A message belongs to one slot (a handshake, a session), and so does the room for it:
//! no message of one slot can make another slot's message fail. The protocol says how
//! many messages of one slot are outstanding at most; a ring that holds as many is
//! checked at compile time where the channel is made ([`Letter::ROOM`]), so an honest
//! other side never lets a ring be full.
//!
//! A message is its length (two bytes, little-endian) and its postcard encoding.
//! A malformed message costs its slot what is in its ring, and affects no other slot.

use alloc::boxed::Box;
use core::marker::PhantomData;

use postcard::experimental::max_size::MaxSize;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::channel::{Channel, Doorbell, Event, SlotIndex};
use crate::ring::Misbehaved;
use crate::transport::decode;

const PREFIX: usize = 2;
/// The longest message of any mailbox, in bytes.
pub const MAX_LETTER: usize = 2048 - PREFIX;

/// A message that belongs to a slot.
pub trait Letter: Serialize + DeserializeOwned + MaxSize {
    /// Bytes that the messages of one slot which can be outstanding at the same
    /// time need in its ring.
    const ROOM: usize;

    /// The slot that it belongs to.
    fn slot(&self) -> SlotIndex;
}

/// Bytes of a ring that one message of that encoded size takes.
pub const fn framed(size: usize) -> usize {
    PREFIX + size
}

/// The other side has not taken as many messages of this slot as the protocol says;
/// this one was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What was in a slot's ring is no message; the ring was emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(
    /// The slot.
    pub SlotIndex,
);

/// A slot whose messages are being taken.
#[derive(Clone, Copy)]
struct Current {
    slot: SlotIndex,
    /// Its event is not taken yet: while this side is at a slot, the other side need not
    /// tell it of more messages there.
    has_event: bool,
}

/// Sends `S` and receives `R`, over all slots of a channel.
pub struct Mailbox<S, R, D> {
    channel: Channel<D>,
    /// One message on its way, cleared after it.
    buffer: Box<[u8; PREFIX + MAX_LETTER]>,
    /// The slot whose ring may hold another message.
    current: Option<Current>,
    messages: PhantomData<fn(S) -> R>,
}

impl<S: Letter, R: Letter, D: Doorbell> Mailbox<S, R, D> {
    const FITS: () = assert!(
        S::POSTCARD_MAX_SIZE <= MAX_LETTER && R::POSTCARD_MAX_SIZE <= MAX_LETTER,
        "a message can exceed MAX_LETTER"
    );

    /// Mailboxes over all slots of `channel`, which is used for nothing else. After a
    /// restart, what waits there was meant for the run before, and is dropped; what was
    /// sent before the first start is taken.
    ///
    /// # Panics
    /// At start-up, when the rings are smaller than [`Letter::ROOM`].
    pub fn new(channel: Channel<D>) -> Self {
        const { Self::FITS };
        assert!(channel.tx_capacity() >= S::ROOM && channel.rx_capacity() >= R::ROOM);
        let old = match channel.is_restarted() {
            true => channel.slots(),
            false => 0,
        };
        let mut mailbox = Self {
            channel,
            buffer: Box::new([0; PREFIX + MAX_LETTER]),
            current: None,
            messages: PhantomData,
        };
        for slot in 0..old {
            mailbox.discard(slot);
        }
        mailbox
    }

    /// The channel, for another mailbox.
    pub fn into_channel(self) -> Channel<D> {
        self.channel
    }

    /// Puts `message` into its slot's ring and wakes the other side at the next
    /// [`Mailbox::flush`].
    ///
    /// # Errors
    /// [`Full`]: nothing was sent. The slot has more outstanding than its protocol
    /// allows, or does not exist.
    pub fn send(&mut self, message: &S) -> Result<(), Full> {
        let slot = message.slot();
        let body = self.buffer.get_mut(PREFIX..).unwrap_or_default();
        let length = postcard::to_slice(message, body).map_err(|_| Full)?.len();
        let prefix = u16::try_from(length).map_err(|_| Full)?.to_le_bytes();
        for (to, from) in self.buffer.iter_mut().zip(prefix) {
            *to = from;
        }
        let framed = self.buffer.get_mut(..PREFIX + length).unwrap_or_default();
        let is_full = !self
            .channel
            .writable(slot)
            .is_ok_and(|room| room >= framed.len());
        let written = match is_full {
            true => Err(Full),
            false => self.channel.write(slot, framed).map_err(|_| Full),
        };
        framed.fill(0);
        written.map(|_| ())
    }

    /// [`Mailbox::send`], and wakes the other side.
    ///
    /// # Errors
    /// [`Full`]
    pub fn send_at_once(&mut self, message: &S) -> Result<(), Full> {
        let sent = self.send(message);
        self.flush();
        sent
    }

    /// Drops what waits in a slot: it was meant for the slot's last use.
    pub fn discard(&mut self, slot: SlotIndex) {
        // An index that can't be is found by the next `receive`.
        let _ = self.channel.consume_quietly(slot, usize::MAX);
    }

    /// Whether the other side has taken all that was sent in a slot, as it says itself.
    pub fn is_read(&self, slot: SlotIndex) -> bool {
        self.channel.unread(slot) == Ok(0)
    }

    /// Takes the oldest message of the slot whose turn it is; `None` when no slot has
    /// one. A slot gives what it has, then it is the turn of the next.
    ///
    /// # Errors
    /// [`Malformed`]; go on.
    pub fn receive(&mut self) -> Option<Result<R, Malformed>> {
        loop {
            let Some(Current { slot, has_event }) = self.current else {
                match self.channel.first_event()? {
                    Event::Slot(slot) => {
                        self.current = Some(Current {
                            slot,
                            has_event: true,
                        });
                    }
                    Event::Control => self.channel.end_event(),
                }
                continue;
            };
            let taken = self.take(slot);
            if let Ok(Some(message)) = taken {
                return Some(Ok(message));
            }
            self.current = None;
            if has_event {
                self.channel.end_event();
            }
            if taken.is_err() {
                // With an index that can't be, this finds nothing to drop.
                let _ = self.channel.consume_quietly(slot, usize::MAX);
                return Some(Err(Malformed(slot)));
            }
            if has_event {
                // Once more: what came meanwhile has no event of its own.
                self.current = Some(Current {
                    slot,
                    has_event: false,
                });
            }
        }
    }

    /// Whether slots wait whose messages were not begun with.
    pub fn has_others(&self) -> bool {
        let begun = self.current.is_some_and(|current| current.has_event);
        self.channel.events_due() > u32::from(begun)
    }

    /// [`Channel::oldest_event`]
    pub fn oldest_event(&self) -> Option<u32> {
        self.channel.oldest_event()
    }

    /// [`Channel::peer_is_new`]. What it sent before can still be received.
    pub fn peer_is_new(&mut self) -> bool {
        self.channel.peer_is_new()
    }

    /// Wakes the other side if it needs to be.
    pub fn flush(&mut self) {
        self.channel.flush();
    }

    fn take(&mut self, slot: SlotIndex) -> Result<Option<R>, Misbehaved> {
        let mut prefix = [0; PREFIX];
        if self.channel.peek(slot, 0, &mut prefix)? < PREFIX {
            return Ok(None);
        }
        let length = usize::from(u16::from_le_bytes(prefix));
        let body = self.buffer.get_mut(..length).ok_or(Misbehaved)?;
        if self.channel.peek(slot, PREFIX, body)? < length {
            // Messages are written in one piece, so a part of one is a lie.
            return Err(Misbehaved);
        }
        let message = decode::<R>(body);
        body.fill(0);
        // The sender never waits for room.
        self.channel.consume_quietly(slot, PREFIX + length)?;
        message
            .filter(|message| message.slot() == slot)
            .map(Some)
            .ok_or(Misbehaved)
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;
    use crate::channel::local::{Silent, pair};

    impl Letter for (u16, u32) {
        const ROOM: usize = 2 * framed(Self::POSTCARD_MAX_SIZE);
        fn slot(&self) -> SlotIndex {
            self.0
        }
    }

    type Boxes<D> = Mailbox<(u16, u32), (u16, u32), D>;

    /// As many as the system has handshakes.
    const SLOTS: u16 = 256;

    fn boxes() -> (Boxes<impl Doorbell>, Boxes<impl Doorbell>) {
        let (a, b) = pair(SLOTS, 32, 32, Silent, Silent);
        (Mailbox::new(a), Mailbox::new(b))
    }

    #[test]
    fn messages_of_a_slot_arrive_in_order() {
        let (mut a, mut b) = boxes();
        for round in 0..100 {
            a.send(&(7, round)).unwrap();
            a.send(&(7, round + 1000)).unwrap();
            assert_eq!(b.receive(), Some(Ok((7, round))));
            assert_eq!(b.receive(), Some(Ok((7, round + 1000))));
            assert_eq!(b.receive(), None);
        }
    }

    #[test]
    fn whoever_is_at_a_slot_is_not_told_of_more_there_and_misses_nothing() {
        struct Count<'a>(&'a Cell<u32>);
        impl Doorbell for Count<'_> {
            fn ring(&self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let rung = Cell::new(0);
        let (a, b) = pair(SLOTS, 32, 32, Count(&rung), Silent);
        let (mut a, mut b): (Boxes<_>, Boxes<_>) = (Mailbox::new(a), Mailbox::new(b));
        let mut send = |message| {
            a.send(&message).unwrap();
            a.flush();
            rung.get()
        };
        assert_eq!(send((7, 1)), 1);
        assert!(b.has_others());
        assert_eq!(b.receive(), Some(Ok((7, 1))));
        assert_eq!(send((7, 2)), 1);
        assert!(!b.has_others());
        assert_eq!(send((8, 3)), 1);
        assert!(b.has_others());
        for wanted in [Some(Ok((7, 2))), Some(Ok((8, 3))), None] {
            assert_eq!(b.receive(), wanted);
        }
        assert_eq!(send((7, 4)), 2);
        assert_eq!(b.receive(), Some(Ok((7, 4))));
        assert_eq!(b.receive(), None);
        assert!(!b.has_others());
    }

    #[test]
    fn what_comes_before_the_first_start_is_taken_and_what_a_run_left_is_dropped() {
        let (a, b) = pair(SLOTS, 32, 32, Silent, Silent);
        let mut a: Boxes<_> = Mailbox::new(a);
        a.send(&(3, 1)).unwrap();
        a.flush();
        let mut b: Boxes<_> = Mailbox::new(b);
        assert_eq!(b.receive(), Some(Ok((3, 1))));
        a.send(&(3, 2)).unwrap();
        let mut b: Boxes<_> = Mailbox::new(b.into_channel().restart());
        assert_eq!(b.receive(), None);
        a.send(&(3, 3)).unwrap();
        assert_eq!(b.receive(), Some(Ok((3, 3))));
    }

    #[test]
    fn what_was_meant_for_the_last_use_of_a_slot_is_discarded_and_nothing_else() {
        let (mut a, mut b) = boxes();
        for slot in [4, 5] {
            a.send(&(slot, 1)).unwrap();
            a.send(&(slot, 2)).unwrap();
        }
        b.discard(4);
        assert_eq!(b.receive(), Some(Ok((5, 1))));
        b.discard(5);
        assert_eq!(b.receive(), None);
        a.send(&(4, 3)).unwrap();
        assert_eq!(b.receive(), Some(Ok((4, 3))));
    }

    #[test]
    fn every_slot_at_once_has_room_for_all_that_it_may_say() {
        let (mut a, mut b) = boxes();
        for slot in 0..SLOTS {
            for number in [u32::MAX, u32::MAX - 1] {
                a.send(&(slot, number)).unwrap();
            }
        }
        for slot in 0..SLOTS {
            for number in [u32::MAX, u32::MAX - 1] {
                assert_eq!(b.receive(), Some(Ok((slot, number))));
            }
        }
        assert_eq!(b.receive(), None);
    }

    #[test]
    fn a_slot_that_says_too_much_costs_itself_alone() {
        let (mut a, mut b) = boxes();
        let sent = (0..1000).take_while(|n| a.send(&(3, *n)).is_ok()).count();
        assert!((2..32).contains(&sent), "{sent}");
        a.send(&(4, 1)).unwrap();
        for number in 0..sent {
            assert_eq!(b.receive(), Some(Ok((3, number as u32))));
        }
        assert_eq!(b.receive(), Some(Ok((4, 1))));
        a.send(&(3, 9)).unwrap();
        assert_eq!(b.receive(), Some(Ok((3, 9))));
        assert_eq!(a.send(&(SLOTS, 1)), Err(Full), "there is no such slot");
    }

    #[test]
    fn what_is_no_message_costs_its_slot_and_nobody_else() {
        let (mut a, b) = pair(SLOTS, 32, 32, Silent, Silent);
        let mut b: Boxes<_> = Mailbox::new(b);
        // No message; a length that is longer than any; another slot's message.
        for (slot, bytes) in [
            (1, &[1, 0, 0xff][..]),
            (2, &[0xff, 0xff, 1]),
            (3, &[2, 0, 9, 1]),
            (4, &[9, 0, 1]),
        ] {
            a.write(slot, bytes).unwrap();
        }
        a.write(5, &[2, 0, 5, 1]).unwrap();
        for slot in 1..5 {
            assert_eq!(b.receive(), Some(Err(Malformed(slot))));
        }
        assert_eq!(b.receive(), Some(Ok((5, 1))));
        a.write(2, &[2, 0, 2, 7]).unwrap();
        assert_eq!(b.receive(), Some(Ok((2, 7))), "and it goes on");
    }
}
