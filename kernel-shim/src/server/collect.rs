//! Collecting results; handshakes cancelled by their client.

use ipc::channel::Doorbell;
use ipc::clock::Clock;
use ipc::control::{Answer, Failure, HandshakeError, HandshakeId, RequestError, SessionResult};
use ipc::handshake::Directive;
use ipc::stats;
use ipc::transport::Transport;

use super::{Handshake, INTERNAL, Outcome, Server, Windows};
use crate::table::Name;

impl<T: Transport, R: Transport, O: Doorbell, A: Doorbell, W: Windows, C: Clock>
    Server<'_, T, R, O, A, W, C>
{
    pub(super) fn collect(&mut self, client: u16, id: HandshakeId) -> Outcome<Answer> {
        let name = name_of(id);
        if self.own(client, name)?.outcome.is_none() {
            return Err(HandshakeError::Request(RequestError::Pending));
        }
        self.over.retain(|over| *over != name);
        let result = self.take_outcome(name).unwrap_or(Err(INTERNAL.into()))?;
        Ok(Answer::Established(id, result))
    }

    pub(super) fn collect_any(&mut self, client: u16) -> Answer {
        let handshakes = &mut self.handshakes;
        let is_own = |name: &Name| handshakes.find(*name).is_some_and(|h| h.client == client);
        let found = self.over.iter().position(is_own);
        let Some(name) = found.and_then(|at| self.over.remove(at)) else {
            return Answer::NothingCompleted;
        };
        let id = HandshakeId::new(name.slot, name.generation);
        match self.take_outcome(name) {
            Some(Ok(result)) => Answer::Established(id, result),
            Some(Err(failure)) => Answer::Failed(id, failure),
            None => Answer::NothingCompleted,
        }
    }

    pub(super) fn take_outcome(&mut self, name: Name) -> Option<Result<SessionResult, Failure>> {
        let handshake = self.handshakes.find(name)?;
        let outcome = handshake.outcome.take();
        handshake.is_collected = true;
        self.ports.stats.add(stats::shim::COLLECTED, 1);
        self.free_if_done(name);
        outcome
    }

    /// Frees the slot, once no domain refers to the handshake any more.
    pub(super) fn free_if_done(&mut self, name: Name) {
        let handshake = self.handshakes.find(name);
        if handshake.is_some_and(|h| h.is_collected && !h.is_owed) {
            self.handshakes.remove(name);
        }
    }

    pub(super) fn cancel(&mut self, client: u16, id: HandshakeId) -> Outcome<()> {
        let name = name_of(id);
        self.own(client, name)?;
        self.send_cancel(name);
        Ok(())
    }

    /// Has the offload component cancel a handshake; the request is sent once.
    pub(super) fn send_cancel(&mut self, name: Name) {
        let Some(handshake) = self.handshakes.find(name) else {
            return;
        };
        if handshake.is_owed && !core::mem::replace(&mut handshake.is_cancelled, true) {
            let Name { slot, generation } = name;
            let cancel = Directive::Cancel { slot, generation };
            // Its mailbox has room for one; an offload component that does not take
            // its directives does not go on either.
            self.ports.offload.send(&cancel).ok();
        }
    }

    /// Evicts the oldest handshake of `client` (and `group`) whose peer owes the next
    /// message. The offload component knows which that is.
    pub(super) fn displace(&mut self, client: u16, group: Option<u32>) {
        let offload = &self.ports.offload;
        let is_meant = |name: Name, handshake: &Handshake| {
            handshake.client == client
                && group.is_none_or(|group| handshake.group == group)
                && handshake.is_owed
                && !handshake.is_cancelled
                // There is room for one besides what a handshake needs.
                && offload.is_read(name.slot)
        };
        // Any of them asks in the name of all.
        if let Some(Name { slot, generation }) = self.handshakes.find_by(is_meant) {
            let displace = Directive::Displace {
                slot,
                generation,
                same_group: group.is_some(),
            };
            self.ports.offload.send(&displace).ok();
        }
    }

    /// The handshake, if it is this client's and it has not collected the result.
    pub(super) fn own(&mut self, client: u16, name: Name) -> Outcome<&mut Handshake> {
        let handshake = self.handshakes.find(name);
        let own = handshake.filter(|own| own.client == client && !own.is_collected);
        own.ok_or(HandshakeError::Request(RequestError::Unknown))
    }
}

const fn name_of(id: HandshakeId) -> Name {
    let (slot, generation) = id.place();
    Name { slot, generation }
}
