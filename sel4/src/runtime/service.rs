//! Waiting, calling, answering, ringing.

use ipc::boot::slot;
use ipc::channel::Doorbell;
use ipc::transport::{MAX_MESSAGE, Protocol, Transport, TransportError, decode};

use zeroize::Zeroize;

use super::boot_facts;
use super::log::{
    note_answered, note_asking, note_none_untaken, note_progress, note_taken, note_untaken,
};
use crate::cap::{Endpoint, Notification};
use crate::message::{
    Encoder, MESSAGE_WORDS, clear, is_refusal, put_bytes, refusal, take_bytes, with_bytes,
};
use crate::{MessageInfo, syscall};

const _: () = assert!(MAX_MESSAGE == crate::message::MESSAGE_BYTES);

/// Set in the badge of every call, never in that of a signal.
const CALL_BIT: u64 = ipc::badge::CALL;

/// Why a server woke up.
#[derive(Debug)]
pub enum Wake {
    /// Signals arrived; each bit is a peer or an interrupt.
    Signal(u64),
    /// Somebody called; the request is at the start of the buffer, and one
    /// answer is due.
    Call {
        /// The badge of the caller's capability.
        badge: u64,
        /// Bytes of the request; zero also for bytes that make no sense.
        length: usize,
    },
}

/// The side of a server's endpoint where calls arrive, together with the
/// signals of its thread's notification.
#[derive(Debug)]
pub struct Service {
    endpoint: Endpoint,
}

impl Service {
    /// The endpoint that the system description gave this domain.
    ///
    /// # Safety
    /// The domain serves, and this is its only `Service`.
    pub const unsafe fn new() -> Self {
        Self {
            // SAFETY: the caller vouches for the capability.
            endpoint: unsafe { Endpoint::from_bits(slot::cptr(slot::ENDPOINT)) },
        }
    }

    /// Waits for a call or a signal.
    pub fn wait(&self, request: &mut [u8; MAX_MESSAGE]) -> Wake {
        note_progress();
        let (badge, info) = syscall::recv(self.endpoint.bits());
        wake(badge, info, request)
    }

    /// Answers the last call and waits for the next, in one system call.
    /// `answer` has at most [`MAX_MESSAGE`] bytes.
    pub fn reply_and_wait(&self, answer: &[u8], request: &mut [u8; MAX_MESSAGE]) -> Wake {
        self.send_and_wait(put_bytes(answer), request)
    }

    #[inline(always)]
    fn send_and_wait(&self, info: MessageInfo, request: &mut [u8; MAX_MESSAGE]) -> Wake {
        let sent = info.length();
        note_progress();
        note_answered();
        let (badge, info) = syscall::reply_recv(self.endpoint.bits(), info);
        // The request is taken out first: it lies where the answer was.
        let wake = wake(badge, info, request);
        if sent > info.length() {
            clear(sent);
        }
        wake
    }

    /// Waits for a call or a signal; answers the last call first, if it has an `answer` now.
    #[inline(always)]
    pub fn next(&self, answer: Option<&[u8]>, request: &mut [u8; MAX_MESSAGE]) -> Wake {
        match answer {
            Some(answer) => self.reply_and_wait(answer, request),
            None => self.wait(request),
        }
    }

    /// As [`Service::next`]. The `answer` is cleared as soon as it is where the kernel takes
    /// it from.
    #[inline(always)]
    pub fn next_clearing(
        &self,
        answer: Option<&mut [u8]>,
        request: &mut [u8; MAX_MESSAGE],
    ) -> Wake {
        let Some(answer) = answer else {
            return self.wait(request);
        };
        let info = put_bytes(answer);
        answer.fill(0);
        self.send_and_wait(info, request)
    }

    /// Answers the last call, to go on with something else.
    pub fn reply(&self, answer: &[u8]) {
        let info = put_bytes(answer);
        note_answered();
        syscall::reply(info);
        clear(info.length());
    }

    /// A call or a signal that is there already; `None` when there is none.
    pub fn poll(&self, request: &mut [u8; MAX_MESSAGE]) -> Option<Wake> {
        note_progress();
        let (badge, info) = syscall::nb_recv(self.endpoint.bits());
        (badge != 0).then(|| wake(badge, info, request))
    }
}

/// Refuses the call that this domain took before it was restarted, if there
/// is one.
pub(super) fn refuse() {
    note_answered();
    note_asking(false);
    note_none_untaken();
    syscall::reply(refusal());
}

/// Refuses every call, for ever: a parked domain must not make a caller wait.
pub(super) fn refuse_all() -> ! {
    // In a domain without clients this slot is empty, and nothing comes.
    if boot_facts().serves == 0 {
        loop {
            wait_signals();
        }
    }
    let endpoint = slot::cptr(slot::ENDPOINT);
    let (mut badge, _) = syscall::recv(endpoint);
    loop {
        badge = match badge & CALL_BIT {
            0 => syscall::recv(endpoint).0,
            _ => syscall::reply_recv(endpoint, refusal()).0,
        };
    }
}

fn wake(badge: u64, info: MessageInfo, request: &mut [u8; MAX_MESSAGE]) -> Wake {
    if badge & CALL_BIT == 0 {
        return Wake::Signal(badge);
    }
    note_taken();
    Wake::Call {
        badge,
        length: take_bytes(info, request).unwrap_or(0),
    }
}

/// Waits for signals at the notification of this domain: for a domain without clients.
pub fn wait_signals() -> u64 {
    note_progress();
    syscall::recv(slot::cptr(slot::NOTIFICATION)).0
}

/// The signals that are there already, for a domain that has more to do: others of its
/// priority have a turn first.
pub fn poll_signals() -> u64 {
    note_progress();
    syscall::r#yield();
    syscall::nb_recv(slot::cptr(slot::NOTIFICATION)).0
}

/// The signals that are there. A domain that is not busy waits for some: `untaken` names an
/// event that it did not take, see [`note_untaken`].
#[inline(always)]
pub fn next_signals(is_busy: bool, untaken: impl FnOnce() -> u64) -> u64 {
    if is_busy {
        return poll_signals();
    }
    note_untaken(untaken);
    wait_signals()
}

/// Calls one server.
#[derive(Debug)]
pub struct Caller {
    endpoint: Endpoint,
}

impl Caller {
    /// The right to call the server at `cptr`.
    ///
    /// # Safety
    /// The system description gives this domain an endpoint capability there,
    /// and the holder of this value may use it.
    pub const unsafe fn new(cptr: u64) -> Self {
        Self {
            // SAFETY: the caller vouches for the capability.
            endpoint: unsafe { Endpoint::from_bits(cptr) },
        }
    }
}

impl Caller {
    /// Sends the message in the IPC buffer, and leaves nothing of it there.
    /// `take` takes the reply out.
    fn deliver<R>(
        &self,
        info: MessageInfo,
        take: impl FnOnce(MessageInfo) -> Option<R>,
    ) -> Result<R, TransportError> {
        let sent = info.length();
        note_asking(true);
        let answer = syscall::call(self.endpoint.bits(), info);
        note_asking(false);
        let reply = take(answer).ok_or(if is_refusal(answer) {
            TransportError::Gone
        } else {
            TransportError::MalformedReply
        });
        if sent > answer.length() {
            clear(sent);
        }
        reply
    }
}

impl Transport for Caller {
    #[inline]
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        self.deliver(put_bytes(request), |answer| take_bytes(answer, reply))
    }

    fn exchange<P: Protocol>(&self, request: &P::Request) -> Result<P::Reply, TransportError> {
        let Ok(info) = postcard::serialize_with_flavor(request, Encoder::default()) else {
            clear(MESSAGE_WORDS);
            return Err(TransportError::MalformedReply);
        };
        self.deliver(info, |answer| {
            with_bytes(answer, |bytes| {
                let reply = decode(bytes);
                if reply.as_ref().is_some_and(P::is_secret) {
                    bytes.zeroize();
                }
                reply
            })?
        })
    }
}

/// Signals another domain's notification.
#[derive(Debug)]
pub struct Bell {
    notification: Notification,
}

impl Bell {
    /// The right to signal the notification at `cptr`.
    ///
    /// # Safety
    /// As for [`Caller::new`], with a notification capability.
    pub const unsafe fn new(cptr: u64) -> Self {
        Self {
            // SAFETY: the caller vouches for the capability.
            notification: unsafe { Notification::from_bits(cptr) },
        }
    }
}

impl Doorbell for Bell {
    fn ring(&self) {
        self.notification.signal();
    }
}
