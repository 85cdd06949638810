//! The kernel's answer to an invocation that it refused.

use core::fmt;

/// Why the kernel refused an invocation (seL4 manual, "Errors").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Error {
    /// An argument makes no sense.
    InvalidArgument = 1,
    /// A capability argument is of the wrong kind.
    InvalidCapability,
    /// This object can't do that, or not now.
    IllegalOperation,
    /// An argument is out of its range.
    RangeError,
    /// An address is not aligned.
    AlignmentError,
    /// A capability address leads nowhere.
    FailedLookup,
    /// The message is too short.
    TruncatedMessage,
    /// The destination slot is in use.
    DeleteFirst,
    /// The object has children.
    RevokeFirst,
    /// The untyped memory is used up.
    NotEnoughMemory,
    /// A number that this list lacks.
    Unknown,
}

impl Error {
    /// `Ok` for the label zero, else the error of that number.
    pub(crate) const fn check(label: u64) -> Result<(), Self> {
        Err(match label {
            0 => return Ok(()),
            1 => Self::InvalidArgument,
            2 => Self::InvalidCapability,
            3 => Self::IllegalOperation,
            4 => Self::RangeError,
            5 => Self::AlignmentError,
            6 => Self::FailedLookup,
            7 => Self::TruncatedMessage,
            8 => Self::DeleteFirst,
            9 => Self::RevokeFirst,
            10 => Self::NotEnoughMemory,
            _ => Self::Unknown,
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
