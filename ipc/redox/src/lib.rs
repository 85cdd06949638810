//! Calls between the services over Redox schemes (C9).
//!
//! What a badged endpoint is on seL4, a file descriptor of a scheme is on Redox: the
//! server made it, with a badge of its own choice for its number, and gave it away;
//! the holder may call, and can neither make another nor choose a badge. `SYS_CALL` on it
//! carries a message there and its reply back, in one buffer of [`MAX_MESSAGE`] bytes.
//! Nothing can be opened by a name.
//!
//! [`Door`] is the client's side, a [`Transport`] like any other; [`Scheme`] is the
//! server's, in front of the same `serve` as on seL4. Both are tried on the host
//! against a stand-in for the kernel's part (`tests/calls.rs`); no Redox system has
//! run them (ADR 0095).
#![no_std]

extern crate alloc;

use alloc::collections::BTreeMap;
use core::ptr;
use core::slice;

use ipc::transport::{MAX_MESSAGE, Transport, TransportError};
use syscall::error::{EACCES, EBADF, EINVAL, EMFILE, EOPNOTSUPP, Error};
use syscall::flag::CallFlags;
use syscall::schemev2::{Cqe, CqeOpcode, Opcode, Sqe, SqeFlags};
use syscall::{Call, call_rw};
use zeroize::Zeroize;

/// The right to call a server: a file descriptor of its scheme. On Redox `F` is
/// `usize`.
#[derive(Debug)]
pub struct Door<F>(F);

impl<F: Call + Copy> Door<F> {
    /// What is called through this descriptor must be a [`Scheme`]; everything else
    /// refuses, or answers what is no reply.
    pub const fn new(descriptor: F) -> Self {
        Self(descriptor)
    }
}

impl<F: Call + Copy> Transport for Door<F> {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        let length = request.len();
        let start = reply.get_mut(..length);
        let start = start.ok_or(TransportError::MalformedReply)?;
        start.copy_from_slice(request);
        let outcome = call_rw(self.0, reply, CallFlags::empty(), &[length as u64]);
        match outcome {
            Ok(length) if length <= MAX_MESSAGE => Ok(length),
            Ok(_) => Err(TransportError::MalformedReply),
            Err(_) => {
                // What was asked may be a secret, and is no answer.
                reply.zeroize();
                Err(TransportError::Gone)
            }
        }
    }
}

/// Descriptors that a server handed out.
#[derive(Debug, Default)]
pub struct Scheme {
    /// The badge of each number.
    badges: BTreeMap<usize, u64>,
    /// The last number; none is used twice, and zero never.
    last: usize,
}

impl Scheme {
    /// A number for the kernel to make a descriptor of; calls through that carry
    /// `badge`.
    ///
    /// # Errors
    /// `EMFILE` when all numbers have been used.
    pub fn open(&mut self, badge: u64) -> Result<usize, Error> {
        self.last = self.last.checked_add(1).ok_or(Error::new(EMFILE))?;
        self.badges.insert(self.last, badge);
        Ok(self.last)
    }

    /// Revokes the descriptor of `number`.
    pub fn revoke(&mut self, number: usize) {
        self.badges.remove(&number);
    }

    /// Answers one entry of the scheme's queue; `None` where the kernel wants no
    /// answer. `serve` gets badge and request, fills in the reply and returns its
    /// length, as the servers' own `serve` does.
    ///
    /// # Safety
    /// The kernel gave out `entry` just now: the buffer that it names is mapped here
    /// until it is answered.
    pub unsafe fn answer(
        &mut self,
        entry: &Sqe,
        serve: impl FnOnce(u64, &[u8], &mut [u8; MAX_MESSAGE]) -> usize,
    ) -> Option<Cqe> {
        let result = match Opcode::try_from_raw(entry.opcode) {
            Some(Opcode::Call) => {
                // SAFETY: the caller says so.
                unsafe { self.call(entry, serve) }
            }
            Some(Opcode::Close | Opcode::CloseMsg) => {
                let [number, ..] = entry.args;
                self.revoke(usize::try_from(number).unwrap_or_default());
                Ok(0)
            }
            // Descriptors are handed out, never requested.
            Some(Opcode::OpenAt | Opcode::Dup) => Err(Error::new(EACCES)),
            _ => Err(Error::new(EOPNOTSUPP)),
        };
        if entry.sqe_flags.contains(SqeFlags::ONEWAY) {
            return None;
        }
        Some(Cqe {
            flags: CqeOpcode::RespondRegular as u8,
            tag: entry.tag,
            result: Error::mux(result) as u64,
            ..Cqe::default()
        })
    }

    /// # Safety
    /// As [`Scheme::answer`].
    unsafe fn call(
        &self,
        entry: &Sqe,
        serve: impl FnOnce(u64, &[u8], &mut [u8; MAX_MESSAGE]) -> usize,
    ) -> Result<usize, Error> {
        let number = |place: usize| {
            let value = entry.args.get(place).copied().unwrap_or_default();
            usize::try_from(value).map_err(|_| Error::new(EINVAL))
        };
        // Two descriptors in one call are invalid.
        if entry.sqe_flags.contains(SqeFlags::MULTIPLE_IDS) {
            return Err(Error::new(EINVAL));
        }
        let badge = self.badges.get(&number(0)?).copied();
        let badge = badge.ok_or(Error::new(EBADF))?;
        let (address, room, length) = (number(1)?, number(2)?, number(3)?);
        if room != MAX_MESSAGE || length > room {
            return Err(Error::new(EINVAL));
        }
        let buffer = ptr::with_exposed_provenance_mut::<u8>(address);
        let mut request = [0; MAX_MESSAGE];
        // The client can write there at any time: what is decoded is a copy.
        // SAFETY: the buffer is mapped and has `room` bytes, at least `length`.
        unsafe { ptr::copy_nonoverlapping(buffer, request.as_mut_ptr(), length) };
        let mut reply = [0; MAX_MESSAGE];
        let asked = request.get(..length).unwrap_or_default();
        let used = serve(badge, asked, &mut reply).min(MAX_MESSAGE);
        // SAFETY: as above; nothing else in this program refers to it.
        let answer = unsafe { slice::from_raw_parts_mut(buffer, room) };
        answer.copy_from_slice(&reply);
        request.zeroize();
        reply.zeroize();
        Ok(used)
    }
}
