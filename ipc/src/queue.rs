//! Typed messages over the one ring each way of a channel's slot 0.
//!
//! A message is its length (two bytes, little-endian) and its postcard encoding. A
//! malformed message is skipped and reported; an invalid length makes the queue useless,
//! because nothing after it can be found.

use alloc::boxed::Box;
use core::marker::PhantomData;

use postcard::experimental::max_size::MaxSize;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::channel::{Channel, Doorbell};
use crate::ring::Misbehaved;
use crate::transport::decode;

const PREFIX: usize = 2;

/// The longest message of any queue, in bytes.
pub const MAX_QUEUED: usize = 6 * 1024;

/// The other side does not take its messages: there is no room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What [`Queue::receive`] may find instead of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveError {
    /// One message was skipped: its bytes are no message of this queue.
    Malformed,
    /// The other side broke the framing; nothing more can be received.
    Broken,
}

/// Sends `S` and receives `R`.
pub struct Queue<S, R, D> {
    channel: Channel<D>,
    /// One message on its way, cleared after it.
    buffer: Box<[u8; PREFIX + MAX_QUEUED]>,
    messages: PhantomData<fn(S) -> R>,
}

impl<S: Serialize + MaxSize, R: DeserializeOwned + MaxSize, D: Doorbell> Queue<S, R, D> {
    const FITS: () = assert!(
        S::POSTCARD_MAX_SIZE <= MAX_QUEUED && R::POSTCARD_MAX_SIZE <= MAX_QUEUED,
        "a message of this queue can exceed MAX_QUEUED"
    );

    /// A queue over slot 0 of `channel`, which is used for nothing else. What waits there
    /// was meant for the previous run of this side, and is dropped.
    pub fn new(mut channel: Channel<D>) -> Self {
        const { Self::FITS };
        // An index that can't be is found by the first `receive`.
        let _ = channel.consume_quietly(0, usize::MAX);
        Self {
            channel,
            buffer: Box::new([0; PREFIX + MAX_QUEUED]),
            messages: PhantomData,
        }
    }

    /// The channel, for another queue.
    pub fn into_channel(self) -> Channel<D> {
        self.channel
    }

    /// Queues `message` and wakes the other side at the next
    /// [`Queue::flush`].
    ///
    /// # Errors
    /// [`Full`]: nothing was sent.
    pub fn send(&mut self, message: &S) -> Result<(), Full> {
        let body = self.buffer.get_mut(PREFIX..).unwrap_or_default();
        let length = postcard::to_slice(message, body).map_err(|_| Full)?.len();
        let prefix = u16::try_from(length).map_err(|_| Full)?.to_le_bytes();
        for (to, from) in self.buffer.iter_mut().zip(prefix) {
            *to = from;
        }
        let framed = self.buffer.get_mut(..PREFIX + length).unwrap_or_default();
        let is_full = self.channel.writable(0).map_err(|_| Full)? < framed.len();
        let written = match is_full {
            true => Err(Full),
            false => self.channel.write(0, framed).map_err(|_| Full),
        };
        framed.fill(0);
        written.map(|_| ())
    }

    /// For a side that is sent nothing: takes the other side's word that there is room
    /// again, so that it can give it once more.
    pub fn note_room(&mut self) {
        while self.channel.next_event().is_some() {}
    }

    /// Takes the oldest message; `None` when there is none.
    ///
    /// # Errors
    /// [`ReceiveError`]; after `Malformed` go on, after `Broken` don't.
    pub fn receive(&mut self) -> Option<Result<R, ReceiveError>> {
        self.note_room();
        match self.take() {
            Ok(None) => None,
            Ok(Some(message)) => Some(message.ok_or(ReceiveError::Malformed)),
            Err(Misbehaved) => Some(Err(ReceiveError::Broken)),
        }
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

    fn take(&mut self) -> Result<Option<Option<R>>, Misbehaved> {
        let mut prefix = [0; PREFIX];
        if self.channel.peek(0, 0, &mut prefix)? < PREFIX {
            return Ok(None);
        }
        let length = usize::from(u16::from_le_bytes(prefix));
        let body = self.buffer.get_mut(..length).ok_or(Misbehaved)?;
        if self.channel.peek(0, PREFIX, body)? < length {
            // Messages are written in one piece, so a part of one is a lie.
            return Err(Misbehaved);
        }
        let message = decode(body);
        body.fill(0);
        // The sender is woken only when it may have found no room: a directive
        // that is taken is no reason for the shim to run (R4).
        let unread = self.channel.readable(0)?;
        let room = self.channel.rx_capacity().saturating_sub(unread);
        if room < PREFIX + MAX_QUEUED {
            self.channel.consume(0, PREFIX + length)?;
        } else {
            self.channel.consume_quietly(0, PREFIX + length)?;
        }
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;
    use crate::channel::local::{Silent, pair};

    fn queues() -> (
        Queue<u32, u16, impl Doorbell>,
        Queue<u16, u32, impl Doorbell>,
    ) {
        let (a, b) = pair(1, 64, 64, Silent, Silent);
        (Queue::new(a), Queue::new(b))
    }

    #[test]
    fn messages_arrive_in_order() {
        let (mut a, mut b) = queues();
        for round in 0..100u32 {
            a.send(&round).unwrap();
            a.send(&(round + 1000)).unwrap();
            assert_eq!(b.receive(), Some(Ok(round)));
            assert_eq!(b.receive(), Some(Ok(round + 1000)));
            assert_eq!(b.receive(), None);
        }
    }

    #[test]
    fn a_full_queue_says_so_and_loses_nothing() {
        let (mut a, mut b) = queues();
        let sent = (0..100).take_while(|n| a.send(n).is_ok()).count();
        assert!(sent > 10);
        let mut received = 0;
        while let Some(Ok(n)) = b.receive() {
            assert_eq!(n, received);
            received += 1;
        }
        assert_eq!(received as usize, sent);
    }

    #[test]
    fn taking_a_message_wakes_the_sender_only_when_it_may_wait_for_room() {
        struct Count<'a>(&'a Cell<u32>);
        impl Doorbell for Count<'_> {
            fn ring(&self) {
                self.0.set(self.0.get() + 1);
            }
        }
        for (ring, woken) in [(64, 3), (64 * 1024, 0)] {
            let rung = Cell::new(0);
            let (a, b) = pair(1, ring, ring, Silent, Count(&rung));
            let mut a: Queue<u32, u16, _> = Queue::new(a);
            let mut b: Queue<u16, u32, _> = Queue::new(b);
            // Again each time: it takes note in between.
            for _ in 0..3 {
                a.note_room();
                a.send(&7).unwrap();
                assert_eq!(b.receive(), Some(Ok(7)));
                b.flush();
            }
            assert_eq!(rung.get(), woken, "a ring of {ring} bytes");
        }
    }

    #[test]
    fn a_malformed_message_costs_only_itself() {
        let (mut a, b) = pair(1, 64, 64, Silent, Silent);
        let mut b: Queue<u16, u32, _> = Queue::new(b);
        a.write(0, &[1, 0, 0xff, 1, 0, 5]).unwrap();
        assert_eq!(b.receive(), Some(Err(ReceiveError::Malformed)));
        assert_eq!(b.receive(), Some(Ok(5)));
        a.write(0, &[0xff, 0xff, 1]).unwrap();
        assert_eq!(b.receive(), Some(Err(ReceiveError::Broken)));
    }
}
