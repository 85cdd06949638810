//! Runs the image under QEMU.
//!
//! - [`Machine`] says what to start, [`Machine::boot`] starts it and waits for
//!   the guest's own ready line;
//! - [`Guest`] is a running machine: its log, its ports, its end;
//! - [`log`] keeps what the guest prints on its serial port;
//! - [`tap`] is a network of its own with a tap device, in place of QEMU's user network;
//! - [`count`] counts the guest's instructions;
//! - [`qmp`] asks QEMU itself: memory dumps, state.
//!
//! Nothing waits without a deadline. A guest that prints nothing is a failure, shown with
//! the last lines of its log. Dropping a [`Guest`] kills its QEMU, by process id; so does
//! the exit of the process that started it.
#![forbid(unsafe_code)]

pub mod count;
pub mod log;
pub mod qmp;
pub mod tap;

mod guest;
mod log_file;
mod machine;
mod network;
mod spawn;

pub use guest::Guest;
pub use machine::{Accelerator, Boot, Entropy, MACHINE_TYPE, Machine, Nic, program};
pub use network::{Forward, Network};
pub use spawn::{allow_many_files, bound_to_thread};
