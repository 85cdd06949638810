//! Collecting results; handshakes cancelled by their client.

use ipc::channel::{Doorbell, SlotIndex};
use ipc::clock::Clock;
use ipc::control::{Answer, HandshakeError, HandshakeId, RequestError, SessionResult};
use ipc::handshake::Directive;
use ipc::stats;
use ipc::transport::Transport;

use super::{Handshake, INTERNAL, Server, Windows};

impl<T: Transport, R: Transport, O: Doorbell, A: Doorbell, W: Windows, C: Clock>
    Server<'_, T, R, O, A, W, C>
{
    pub(super) fn collect(
        &mut self,
        client: u16,
        id: HandshakeId,
    ) -> Result<Answer, HandshakeError> {
        let (slot, generation) = id.place();
        let handshake = self.own(client, slot, generation)?;
        if handshake.outcome.is_none() {
            return Err(HandshakeError::Request(RequestError::Pending));
        }
        self.over.retain(|over| *over != (slot, generation));
        match self.take_outcome(slot, generation) {
            Some(Ok(result)) => Ok(Answer::Established(id, result)),
            Some(Err(error)) => Err(error),
            None => Err(INTERNAL),
        }
    }

    pub(super) fn collect_any(&mut self, client: u16) -> Answer {
        let handshakes = &mut self.handshakes;
        let found = self.over.iter().position(|(slot, generation)| {
            handshakes
                .find(*slot, *generation)
                .is_some_and(|handshake| handshake.client == client)
        });
        let Some((slot, generation)) = found.and_then(|at| self.over.remove(at)) else {
            return Answer::NothingCompleted;
        };
        let id = HandshakeId::new(slot, generation);
        match self.take_outcome(slot, generation) {
            Some(Ok(result)) => Answer::Established(id, result),
            Some(Err(error)) => Answer::Failed(id, error),
            None => Answer::NothingCompleted,
        }
    }

    pub(super) fn take_outcome(
        &mut self,
        slot: SlotIndex,
        generation: u16,
    ) -> Option<Result<SessionResult, HandshakeError>> {
        let handshake = self.handshakes.find(slot, generation)?;
        let outcome = handshake.outcome.take();
        handshake.is_collected = true;
        self.stats.add(stats::shim::COLLECTED, 1);
        self.free_if_done(slot, generation);
        self.count_tables();
        outcome
    }

    /// Frees the slot, once no domain refers to the handshake any more.
    pub(super) fn free_if_done(&mut self, slot: SlotIndex, generation: u16) {
        let handshake = self.handshakes.find(slot, generation);
        if handshake.is_some_and(|h| h.is_collected && !h.is_owed) {
            self.handshakes.remove(slot, generation);
        }
    }

    pub(super) fn cancel(
        &mut self,
        client: u16,
        id: HandshakeId,
    ) -> Result<Answer, HandshakeError> {
        let (slot, generation) = id.place();
        self.own(client, slot, generation)?;
        self.send_cancel(slot, generation);
        Ok(Answer::Done)
    }

    /// Has the offload component cancel a handshake; the request is sent once.
    pub(super) fn send_cancel(&mut self, slot: SlotIndex, generation: u16) {
        let Some(handshake) = self.handshakes.find(slot, generation) else {
            return;
        };
        if handshake.is_owed && !core::mem::replace(&mut handshake.is_cancelled, true) {
            let cancel = Directive::Cancel { slot, generation };
            // Its mailbox has room for one; an offload component that does not take
            // its directives does not go on either.
            self.offload.send(&cancel).ok();
        }
    }

    /// Evicts the oldest handshake of `client` (and `group`) whose peer owes the next
    /// message. The offload component knows which that is.
    pub(super) fn displace(&mut self, client: u16, group: Option<u32>) {
        let offload = &self.offload;
        let is_meant = |slot: SlotIndex, handshake: &Handshake| {
            handshake.client == client
                && group.is_none_or(|group| handshake.group == group)
                && handshake.is_owed
                && !handshake.is_cancelled
                // There is room for one besides what a handshake needs.
                && offload.is_read(slot)
        };
        // Any of them asks in the name of all.
        let Some((slot, generation)) = self.handshakes.find_by(is_meant) else {
            return;
        };
        let displace = Directive::Displace {
            slot,
            generation,
            same_group: group.is_some(),
        };
        self.offload.send(&displace).ok();
    }

    /// The handshake, if it is this client's and it has not collected the result.
    pub(super) fn own(
        &mut self,
        client: u16,
        slot: SlotIndex,
        generation: u16,
    ) -> Result<&mut Handshake, HandshakeError> {
        self.handshakes
            .find(slot, generation)
            .filter(|handshake| handshake.client == client && !handshake.is_collected)
            .ok_or(HandshakeError::Request(RequestError::Unknown))
    }
}
