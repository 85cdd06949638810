//! A thin binding to the seL4 kernel, and the runtime of a protection domain.
//!
//! Names follow rust-sel4, the seL4 project's own crate, where both have the
//! same thing: [`Cap`], [`cap::Endpoint`], [`BootInfo`], [`MessageInfo`].
//!
//! - [`cap`]: typed capabilities and what can be done with them;
//! - [`message`]: message info words and the IPC buffer;
//! - [`BootInfo`]: what the kernel tells the root task;
//! - [`generation`]: everything that differs between kernels;
//! - [`runtime`]: start, heap, log, clock, waiting and calling, clean-up.
//!
//! Numbers come out of the headers of the installed kernel when this crate is
//! built; see `build.rs`.
#![no_std]

mod bootinfo;
pub mod cap;
mod error;
mod facts;
pub mod fault;
pub mod generation;
pub mod message;
pub mod runtime;
mod syscall;

pub use bootinfo::{BootInfo, UntypedDescription};
pub use cap::{Cap, Rights};
pub use error::Error;
pub use message::MessageInfo;
pub use syscall::r#yield;

/// Fixed slots of the root task's CNode (seL4 manual, "Bootstrapping").
pub mod init_slot {
    use crate::facts;

    /// The root task's thread.
    pub const TCB: u64 = facts::SLOT_TCB;
    /// The root task's CNode.
    pub const CNODE: u64 = facts::SLOT_CNODE;
    /// The root task's address space.
    pub const VSPACE: u64 = facts::SLOT_VSPACE;
    /// The right to hand out interrupts.
    pub const IRQ_CONTROL: u64 = facts::SLOT_IRQ_CONTROL;
    /// The right to make pools of address space identifiers.
    pub const ASID_CONTROL: u64 = facts::SLOT_ASID_CONTROL;
    /// The first pool of address space identifiers.
    pub const ASID_POOL: u64 = facts::SLOT_ASID_POOL;
    /// All I/O ports.
    pub const IO_PORT: u64 = facts::SLOT_IO_PORT;
    /// All I/O address spaces.
    pub const IO_SPACE: u64 = facts::SLOT_IO_SPACE;
    /// The page with the boot information.
    pub const BOOT_INFO: u64 = facts::SLOT_BOOT_INFO;
    /// The page of the root task's IPC buffer.
    pub const IPC_BUFFER: u64 = facts::SLOT_IPC_BUFFER;
    /// The right to set scheduling domains.
    pub const DOMAIN: u64 = facts::SLOT_DOMAIN;
}
