//! The transcript: every handshake message, in order (RFC 8446 §4.4.1).

use alloc::boxed::Box;
use alloc::vec::Vec;

use rustls::crypto::hash::{Context, Hash, Output};
use tls::HandshakeType;

/// Messages so far.
pub(super) struct Transcript {
    /// The messages, until the hash is known; and after it as long as a
    /// signature over all of them may have to be made or checked (TLS 1.2).
    messages: Option<Vec<u8>>,
    /// Bytes of them that are ours.
    ours: usize,
    running: Option<(&'static dyn Hash, Box<dyn Context>)>,
}

impl Transcript {
    pub(super) const fn new() -> Self {
        Self {
            messages: Some(Vec::new()),
            ours: 0,
            running: None,
        }
    }

    /// Bytes of messages of ours that are kept.
    pub(super) const fn kept(&self) -> usize {
        match self.messages {
            Some(_) => self.ours,
            None => 0,
        }
    }

    /// Adds a message of ours.
    pub(super) fn add_ours(&mut self, message: &[u8]) {
        self.ours += message.len();
        self.add(message);
    }

    pub(super) fn add(&mut self, message: &[u8]) {
        if let Some((_, context)) = &mut self.running {
            context.update(message);
        }
        if let Some(messages) = &mut self.messages {
            messages.extend_from_slice(message);
        }
    }

    /// From here on the hash runs. `keep`: the messages are needed in full.
    pub(super) fn start(&mut self, hash: &'static dyn Hash, keep: bool) {
        if self.running.is_some() {
            return;
        }
        let mut context = hash.start();
        context.update(self.messages.as_deref().unwrap_or_default());
        self.running = Some((hash, context));
        if !keep {
            self.messages = None;
        }
    }

    /// Replaces what was said so far by its hash.
    pub(super) fn restart(&mut self) -> Option<()> {
        let (hash, context) = self.running.as_mut()?;
        let first = context.fork_finish();
        let length = u8::try_from(first.as_ref().len()).ok()?;
        *context = hash.start();
        context.update(&[HandshakeType::MESSAGE_HASH.0, 0, 0, length]);
        context.update(first.as_ref());
        Some(())
    }

    /// The hash of all messages so far.
    pub(super) fn hash(&self) -> Option<Output> {
        let (_, context) = self.running.as_ref()?;
        Some(context.fork_finish())
    }

    /// The hash of all messages so far and a part of one more.
    pub(super) fn hash_with(&self, hash: &'static dyn Hash, part: &[u8]) -> Output {
        let mut context = match &self.running {
            Some((_, context)) => context.fork(),
            None => {
                let mut context = hash.start();
                context.update(self.messages.as_deref().unwrap_or_default());
                context
            }
        };
        context.update(part);
        context.finish()
    }

    /// All messages so far, where they are kept.
    pub(super) fn messages(&self) -> Option<&[u8]> {
        self.messages.as_deref()
    }
}
