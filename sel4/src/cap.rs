//! Typed capabilities.
//!
//! A [`Cap`] is an address in this program's CSpace and the type of the object that it
//! names. It can't be copied: holding the value is the permission. Making one from a
//! number is unsafe and happens where a program takes the capabilities that the system
//! description gives it.

mod cnode;
mod device;
mod iospace;
mod paging;
mod tcb;
mod untyped;

use core::fmt;
use core::marker::PhantomData;

pub use cnode::{CNodeSlot, MintData};
pub use device::PortWidth;
pub use paging::{Cache, FrameKind, TableKind};
pub use tcb::UserContext;
pub use untyped::ObjectKind;

use crate::error::Error;
use crate::message::{self, MessageInfo, REGISTER_WORDS};
use crate::syscall;

/// Object types, for [`Cap`].
pub mod cap_type {
    macro_rules! types {
        ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
            $($(#[$doc])* #[derive(Debug)] pub enum $name {})*
        };
    }
    types! {
        /// Memory that can become objects.
        Untyped,
        /// A thread.
        Tcb,
        /// Where calls arrive.
        Endpoint,
        /// Where signals arrive.
        Notification,
        /// A table of capabilities.
        CNode,
        /// A page of memory of 4 KiB.
        Granule,
        /// A page of memory of 2 MiB.
        LargePage,
        /// A page table.
        PageTable,
        /// A page directory.
        PageDirectory,
        /// A page directory pointer table.
        Pdpt,
        /// The root of an address space.
        VSpace,
        /// The right to hand out address space identifiers.
        AsidPool,
        /// The right to hand out interrupts.
        IrqControl,
        /// One interrupt.
        IrqHandler,
        /// A range of I/O ports.
        IOPort,
        /// The address space of a device behind the IOMMU.
        IOSpace,
        /// A table of such an address space.
        IOPageTable,
    }
}

macro_rules! aliases {
    ($($name:ident),* $(,)?) => {
        $(
            #[doc = concat!("A capability of a `", stringify!($name), "`.")]
            pub type $name = Cap<cap_type::$name>;
        )*
    };
}
aliases! {
    Untyped, Tcb, Endpoint, Notification, CNode, Granule, LargePage, PageTable,
    PageDirectory, Pdpt, VSpace, AsidPool, IrqControl, IrqHandler, IOPort, IOSpace, IOPageTable,
}

/// The address of a capability for an object of type `T`.
pub struct Cap<T> {
    bits: u64,
    object: PhantomData<fn(T)>,
}

impl<T> fmt::Debug for Cap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cap({:#x})", self.bits)
    }
}

impl<T> Cap<T> {
    /// The capability at address `bits`.
    ///
    /// # Safety
    /// The caller has that capability by the system description, and makes no second
    /// value for it that would break what the first one's holder relies on. A wrong type
    /// is refused by the kernel.
    pub const unsafe fn from_bits(bits: u64) -> Self {
        Self {
            bits,
            object: PhantomData,
        }
    }

    /// Its address.
    pub const fn bits(&self) -> u64 {
        self.bits
    }

    /// Invokes the object with up to four words each way.
    pub(crate) fn invoke<const N: usize>(
        &self,
        label: u64,
        caps: &[u64],
        words: [u64; N],
    ) -> Result<[u64; REGISTER_WORDS], Error> {
        for (index, cap) in caps.iter().enumerate() {
            message::set_cap(index, *cap);
        }
        let mut registers = [0; REGISTER_WORDS];
        for (index, value) in words.into_iter().enumerate() {
            match registers.get_mut(index) {
                Some(register) => *register = value,
                None => message::set_word(index, value),
            }
        }
        let info = MessageInfo::new(label, caps.len() as u64, N);
        let (answer, registers) = syscall::invoke(self.bits, info, registers);
        Error::check(answer.label()).map(|()| registers)
    }
}

/// What a copy of a capability may be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Write to memory; send to an endpoint; signal.
    pub write: bool,
    /// Read memory; receive; wait.
    pub read: bool,
    /// Pass capabilities on, and be replied to.
    pub grant: bool,
}

impl Rights {
    /// Nothing.
    pub const NONE: Self = Self {
        write: false,
        read: false,
        grant: false,
    };
    /// Read only.
    pub const READ: Self = Self {
        read: true,
        ..Self::NONE
    };
    /// Write only.
    pub const WRITE: Self = Self {
        write: true,
        ..Self::NONE
    };
    /// Read and write.
    pub const READ_WRITE: Self = Self {
        read: true,
        ..Self::WRITE
    };
    /// Send, and be replied to.
    pub const CALL: Self = Self {
        grant: true,
        ..Self::WRITE
    };
    /// Everything.
    pub const ALL: Self = Self {
        grant: true,
        ..Self::READ_WRITE
    };
}

impl Notification {
    /// Signals; never waits.
    pub fn signal(&self) {
        syscall::signal(self.bits);
    }

    /// Waits for a signal and returns the collected badge bits.
    pub fn wait(&self) -> u64 {
        syscall::recv(self.bits).0
    }

    /// The collected badge bits, zero when there was no signal.
    pub fn poll(&self) -> u64 {
        syscall::nb_recv(self.bits).0
    }
}

impl Endpoint {
    /// Calls with the message that is in the IPC buffer; the answer is there
    /// afterwards.
    pub fn call(&self, info: MessageInfo) -> MessageInfo {
        syscall::call(self.bits, info)
    }

    /// Waits for somebody to receive what is in the IPC buffer.
    pub fn send(&self, info: MessageInfo) {
        syscall::send(self.bits, info);
    }

    /// Sends what is in the IPC buffer when somebody waits for it.
    pub fn nb_send(&self, info: MessageInfo) {
        syscall::nb_send(self.bits, info);
    }

    /// Waits for a message, or for a signal at the bound notification.
    pub fn recv(&self) -> (u64, MessageInfo) {
        syscall::recv(self.bits)
    }

    /// The badge of a message or signal that is there already; zero when there is
    /// none.
    pub fn nb_recv(&self) -> u64 {
        syscall::nb_recv(self.bits).0
    }

    /// Answers the last caller with what is in the IPC buffer, then waits.
    pub fn reply_recv(&self, info: MessageInfo) -> (u64, MessageInfo) {
        syscall::reply_recv(self.bits, info)
    }
}

/// Answers the last caller with what is in the IPC buffer.
pub fn reply(info: MessageInfo) {
    syscall::reply(info);
}
