//! Faults as the kernel reports them.

use core::fmt;

use crate::facts;
use crate::message::{MessageInfo, word};

/// Why a thread can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It used memory that it does not have, or not like that.
    Memory {
        /// The instruction.
        ip: u64,
        /// The address (the embedded kernel tells its low 32 bits).
        address: u64,
        /// It fetched an instruction there.
        fetch: bool,
        /// The processor's error code: bit 0 protection, bit 1 write.
        status: u64,
    },
    /// It invoked an empty slot.
    Capability {
        /// The instruction.
        ip: u64,
        /// The address of the slot.
        address: u64,
    },
    /// It used a system call number that does not exist.
    SystemCall {
        /// The instruction.
        ip: u64,
        /// The number.
        number: u64,
    },
    /// The processor raised an exception.
    Exception {
        /// The instruction.
        ip: u64,
        /// The vector: 0 divide, 6 invalid opcode, 13 general protection.
        number: u64,
        /// The processor's error code.
        code: u64,
    },
    /// Not a fault: a domain wrote to the fault endpoint.
    Other {
        /// The label of the message.
        label: u64,
    },
}

impl Fault {
    /// Reads the fault message that is in the IPC buffer.
    pub fn from_message(info: MessageInfo) -> Self {
        let at = |index: u64| word(index as usize);
        match info.label() {
            facts::FAULT_VM => Self::Memory {
                ip: at(facts::VM_FAULT_IP),
                address: at(facts::VM_FAULT_ADDRESS),
                fetch: at(facts::VM_FAULT_PREFETCH) != 0,
                status: at(facts::VM_FAULT_STATUS),
            },
            facts::FAULT_CAP => Self::Capability {
                ip: at(facts::CAP_FAULT_IP),
                address: at(facts::CAP_FAULT_ADDRESS),
            },
            facts::FAULT_SYSCALL => Self::SystemCall {
                ip: at(facts::SYSCALL_FAULT_IP),
                number: at(facts::SYSCALL_FAULT_NUMBER),
            },
            facts::FAULT_EXCEPTION => Self::Exception {
                ip: at(facts::EXCEPTION_IP),
                number: at(facts::EXCEPTION_NUMBER),
                code: at(facts::EXCEPTION_CODE),
            },
            label => Self::Other { label },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Memory {
                ip,
                address,
                fetch,
                status,
            } => {
                let access = match (fetch, status & 2 != 0) {
                    (true, _) => "execute",
                    (false, true) => "write",
                    (false, false) => "read",
                };
                write!(f, "memory fault: {access} at {address:#x}, ip {ip:#x}")
            }
            Self::Capability { ip, address } => {
                write!(f, "capability fault: nothing at {address:#x}, ip {ip:#x}")
            }
            Self::SystemCall { ip, number } => {
                write!(f, "system call fault: number {number:#x}, ip {ip:#x}")
            }
            Self::Exception { ip, number, code } => {
                write!(f, "exception {number}, code {code:#x}, ip {ip:#x}")
            }
            Self::Other { label } => write!(f, "no fault: label {label:#x}"),
        }
    }
}
