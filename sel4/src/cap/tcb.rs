//! Threads.

use super::{CNode, Granule, Notification, Tcb, VSpace};
use crate::error::Error;
use crate::message::word;
use crate::{facts, generation, syscall};

/// The registers of a thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserContext {
    /// Instruction pointer.
    pub rip: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Flags.
    pub rflags: u64,
    /// RAX, RBX, RCX, RDX, RSI, RDI, RBP, R8 to R15, and the kernel
    /// generation's own words.
    pub others: [u64; OTHERS],
}

const OTHERS: usize = facts::USER_CONTEXT_WORDS as usize - 3;

impl Tcb {
    /// Gives the thread its spaces, IPC buffer, priority, and the endpoint of
    /// its own CSpace (`fault`, an address there) that its faults go to.
    ///
    /// # Errors
    /// The kernel's: a capability is of the wrong kind.
    pub fn configure(
        &self,
        fault: u64,
        priority: u8,
        cspace: &CNode,
        vspace: &VSpace,
        buffer: u64,
        buffer_frame: &Granule,
    ) -> Result<(), Error> {
        let caps = [cspace.bits(), vspace.bits(), buffer_frame.bits()];
        generation::configure(self, fault, priority, caps, buffer)
    }

    /// Sets where the thread starts, its stack pointer and RDI, and clears all
    /// other registers that a program sees but those of SSE; it does not start.
    ///
    /// # Errors
    /// The kernel's: this is no thread.
    pub fn write_start(&self, rip: u64, rsp: u64, rdi: u64) -> Result<(), Error> {
        let mut words = [0; facts::USER_CONTEXT_WORDS as usize + 2];
        // Flags (don't resume), count, then RIP, RSP, RFLAGS, RAX, RBX, RCX,
        // RDX, RSI, RDI.
        let [_, count, ip, sp, _, _, _, _, _, _, di, ..] = &mut words;
        *count = facts::USER_CONTEXT_WORDS;
        *ip = rip;
        *sp = rsp;
        *di = rdi;
        self.invoke(facts::TCB_WRITE_REGISTERS, &[], words)
            .map(drop)
    }

    /// Sets the thread up to receive once, from the capability at address `from` of its
    /// CSpace, and then to wait at `quiet`, an endpoint that nobody sends to;
    /// [`received`](Self::received) returns what came. Needs neither stack nor IPC
    /// buffer.
    ///
    /// # Errors
    /// The kernel's: this is no thread.
    pub fn write_receiver(&self, from: u64, quiet: u64) -> Result<(), Error> {
        self.write_small(syscall::receiver(), from, quiet, 0)
    }

    /// The badge that a thread set up by
    /// [`write_receiver`](Self::write_receiver) got; `None` when nothing came, or
    /// when it could not receive there.
    ///
    /// # Errors
    /// The kernel's: this is no thread.
    pub fn received(&self) -> Result<Option<u64>, Error> {
        const CAME: u64 = 2;
        let [how_far, badge, ..] = self.read_registers()?.others;
        Ok((how_far == CAME).then_some(badge))
    }

    /// Sets the thread up to give the processor to others of its priority until nobody
    /// wants it, which shows when it comes back within `at_once` ticks of the time-stamp
    /// counter; then it waits at `quiet`, an endpoint that nobody sends to.
    /// [`gauged`](Self::gauged) returns what it saw.
    ///
    /// # Errors
    /// The kernel's: this is no thread.
    pub fn write_gauge(&self, quiet: u64, at_once: u64) -> Result<(), Error> {
        self.write_small(syscall::gauge(), 0, quiet, at_once)
    }

    /// What a thread set up by [`write_gauge`](Self::write_gauge) has seen so far: how
    /// often it yielded the processor and had to wait for it, and whether nobody wanted
    /// it in the end.
    ///
    /// # Errors
    /// The kernel's: this is no thread.
    pub fn gauged(&self) -> Result<(u64, bool), Error> {
        let [_, slices, _, _, _, _, is_alone, ..] = self.read_registers()?.others;
        Ok((slices, is_alone != 0))
    }

    fn write_small(&self, start: u64, from: u64, quiet: u64, ticks: u64) -> Result<(), Error> {
        let mut words = [0; facts::USER_CONTEXT_WORDS as usize + 2];
        // Flags (don't resume), count, then RIP, RSP, RFLAGS, RAX, RBX, RCX,
        // RDX, RSI, RDI, RBP, R8 to R15.
        let [
            _,
            count,
            ip,
            _,
            _,
            _,
            _,
            _,
            dx,
            _,
            di,
            _,
            _,
            _,
            _,
            _,
            r12,
            r13,
            ..,
        ] = &mut words;
        *count = facts::USER_CONTEXT_WORDS;
        *ip = start;
        *dx = facts::SYS_RECV.cast_unsigned();
        *di = from;
        *r12 = quiet;
        *r13 = ticks;
        self.invoke(facts::TCB_WRITE_REGISTERS, &[], words)
            .map(drop)
    }

    /// The thread's registers.
    ///
    /// # Errors
    /// The kernel's: this is no thread.
    pub fn read_registers(&self) -> Result<UserContext, Error> {
        let [rip, rsp, rflags, rax] = self.invoke(
            facts::TCB_READ_REGISTERS,
            &[],
            [0, facts::USER_CONTEXT_WORDS],
        )?;
        let mut others = [0; OTHERS];
        for (index, other) in others.iter_mut().enumerate() {
            *other = if index == 0 { rax } else { word(index + 3) };
        }
        Ok(UserContext {
            rip,
            rsp,
            rflags,
            others,
        })
    }

    /// Changes the thread's priority; no higher than the caller's own.
    ///
    /// # Errors
    /// The kernel's: this is no thread.
    pub fn set_priority(&self, priority: u8) -> Result<(), Error> {
        generation::set_priority(self, priority)
    }

    /// Lets the thread run.
    ///
    /// # Errors
    /// The kernel's: it is not configured.
    pub fn resume(&self) -> Result<(), Error> {
        self.invoke(facts::TCB_RESUME, &[], []).map(drop)
    }

    /// Stops the thread.
    ///
    /// # Errors
    /// The kernel's: this is no thread.
    pub fn suspend(&self) -> Result<(), Error> {
        self.invoke(facts::TCB_SUSPEND, &[], []).map(drop)
    }

    /// Delivers the signals of `notification` wherever the thread receives.
    ///
    /// # Errors
    /// The kernel's: one of the two is bound already.
    pub fn bind_notification(&self, notification: &Notification) -> Result<(), Error> {
        self.invoke(facts::TCB_BIND_NOTIFICATION, &[notification.bits()], [])
            .map(drop)
    }
}
