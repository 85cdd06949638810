//! Message info words, and the IPC buffer.

use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicPtr, Ordering};

use postcard::ser_flavors::Flavor;

use crate::facts;

/// Message words that fit in one message.
pub const MESSAGE_WORDS: usize = facts::MESSAGE_WORDS as usize;

/// Message words that travel in processor registers (seL4 manual, x86-64).
pub const REGISTER_WORDS: usize = 4;

/// The word that describes a message: label, capabilities, length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageInfo(u64);

impl MessageInfo {
    /// A message of `length` words (at most [`MESSAGE_WORDS`]) with
    /// `extra_caps` capabilities.
    pub const fn new(label: u64, extra_caps: u64, length: usize) -> Self {
        Self(
            ((label & facts::INFO_LABEL_MASK) * facts::INFO_LABEL_UNIT)
                | (extra_caps * facts::INFO_EXTRA_CAPS_UNIT)
                | (length as u64 * facts::INFO_LENGTH_UNIT),
        )
    }

    /// From the word that the kernel gave.
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word for the kernel.
    pub const fn to_word(self) -> u64 {
        self.0
    }

    /// What the sender wrote; an error code in the answer to an invocation.
    pub const fn label(self) -> u64 {
        (self.0 / facts::INFO_LABEL_UNIT) & facts::INFO_LABEL_MASK
    }

    /// Length in words, never above [`MESSAGE_WORDS`].
    pub const fn length(self) -> usize {
        let length = (self.0 / facts::INFO_LENGTH_UNIT) as usize
            & (facts::INFO_EXTRA_CAPS_UNIT as usize - 1);
        if length > MESSAGE_WORDS {
            MESSAGE_WORDS
        } else {
            length
        }
    }
}

static IPC_BUFFER: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());

/// Tells this module where this thread's IPC buffer is.
///
/// # Safety
/// `buffer` is the IPC buffer of the only thread of this program, for as long
/// as it runs.
pub(crate) unsafe fn set_ipc_buffer(buffer: *mut u8) {
    IPC_BUFFER.store(buffer, Ordering::Relaxed);
}

fn message() -> *mut u64 {
    IPC_BUFFER
        .load(Ordering::Relaxed)
        .wrapping_add(facts::BUFFER_MESSAGE as usize)
        .cast()
}

/// Reads message word `index`; zero after the end.
pub fn word(index: usize) -> u64 {
    if index >= MESSAGE_WORDS {
        return 0;
    }
    // SAFETY: the IPC buffer is mapped for the program's life
    // (`set_ipc_buffer`), and the index is below its length.
    unsafe { message().wrapping_add(index).read() }
}

/// Writes message word `index`; nothing happens after the end.
pub fn set_word(index: usize, value: u64) {
    if index < MESSAGE_WORDS {
        // SAFETY: as in `word`.
        unsafe { message().wrapping_add(index).write(value) };
    }
}

/// Names the capability that travels as extra capability `index`.
pub(crate) fn set_cap(index: usize, cptr: u64) {
    debug_assert!(index < facts::MESSAGE_CAPS as usize);
    let caps: *mut u64 = IPC_BUFFER
        .load(Ordering::Relaxed)
        .wrapping_add(facts::BUFFER_CAPS as usize)
        .cast();
    // SAFETY: callers pass at most MESSAGE_CAPS capabilities.
    unsafe { caps.wrapping_add(index).write(cptr) };
}

/// The most bytes in one message.
pub const MESSAGE_BYTES: usize = MESSAGE_WORDS * 8;

/// How many words `length` bytes take.
const fn words(length: usize) -> usize {
    length.div_ceil(8)
}

/// Set in the label of every message of bytes. The kernel's own answers have
/// an error number there, which is smaller.
const BYTES_LABEL: u64 = 1 << 8;

/// Puts bytes (at most [`MESSAGE_BYTES`], the rest is cut off) into the IPC
/// buffer. The label's low three bits tell how many bytes of the last word
/// don't count.
pub(crate) fn put_bytes(bytes: &[u8]) -> MessageInfo {
    let length = bytes.len().min(MESSAGE_BYTES);
    let words = words(length);
    if let Some(last) = words.checked_sub(1) {
        set_word(last, 0);
    }
    // SAFETY: `length` bytes are readable in `bytes`, and the IPC buffer has
    // room for MESSAGE_BYTES; the two don't overlap because nobody holds a
    // reference into the IPC buffer.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), message().cast::<u8>(), length) };
    MessageInfo::new(BYTES_LABEL | (words * 8 - length) as u64, 0, words)
}

/// Encodes a message straight into the IPC buffer; gives what [`put_bytes`]
/// gives.
#[derive(Default)]
pub(crate) struct Encoder {
    length: usize,
}

impl Flavor for Encoder {
    type Output = MessageInfo;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        if self.length >= MESSAGE_BYTES {
            return Err(postcard::Error::SerializeBufferFull);
        }
        // SAFETY: the IPC buffer is mapped, and this is inside it.
        unsafe { message().cast::<u8>().wrapping_add(self.length).write(byte) };
        self.length += 1;
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if bytes.len() > MESSAGE_BYTES - self.length {
            return Err(postcard::Error::SerializeBufferFull);
        }
        let to = message().cast::<u8>().wrapping_add(self.length);
        // SAFETY: the IPC buffer is mapped and has room for MESSAGE_BYTES, of
        // which `length` are used; nobody holds a reference into it.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        self.length += bytes.len();
        Ok(())
    }

    fn finalize(mut self) -> postcard::Result<MessageInfo> {
        let length = self.length;
        let words = words(length);
        let unused = words * 8 - length;
        self.try_extend([0; 8].get(..unused).unwrap_or_default())?;
        Ok(MessageInfo::new(BYTES_LABEL | unused as u64, 0, words))
    }
}

/// The answer of a server that can't answer: as the kernel's own to a
/// capability that leads nowhere.
pub(crate) const fn refusal() -> MessageInfo {
    MessageInfo::new(1, 0, 0)
}

/// Whether `info` is the kernel's own answer, or a [`refusal`]: the capability
/// leads nowhere.
pub(crate) const fn is_refusal(info: MessageInfo) -> bool {
    info.label() < BYTES_LABEL
}

/// How many bytes a message has; `None` when the sender's label makes no sense.
fn length(info: MessageInfo) -> Option<usize> {
    let words = info.length();
    let unused = (info.label() ^ BYTES_LABEL) as usize;
    (unused < 8 && unused <= words * 8).then(|| words * 8 - unused)
}

/// Takes the bytes of a message out of the IPC buffer into `buffer`, clears
/// them there, and returns how many there were; `None` when the sender's label
/// makes no sense or `buffer` is too small.
pub(crate) fn take_bytes(info: MessageInfo, buffer: &mut [u8]) -> Option<usize> {
    let length = length(info).filter(|length| *length <= buffer.len());
    if let Some(length) = length {
        // SAFETY: `length` is at most MESSAGE_BYTES, which the IPC buffer has,
        // and at most what `buffer` has; they don't overlap.
        unsafe {
            core::ptr::copy_nonoverlapping(message().cast::<u8>(), buffer.as_mut_ptr(), length);
        };
    }
    clear(info.length());
    length
}

/// Lets `read` see the bytes of a message, which are cleared in the IPC buffer
/// first; `None` when the sender's label makes no sense.
pub(crate) fn with_bytes<R>(info: MessageInfo, read: impl FnOnce(&mut [u8]) -> R) -> Option<R> {
    let mut bytes = [MaybeUninit::<u8>::uninit(); MESSAGE_BYTES];
    let length = length(info);
    if let Some(length) = length {
        // SAFETY: `length` is at most MESSAGE_BYTES, which both have; they
        // don't overlap.
        unsafe {
            let to = bytes.as_mut_ptr().cast::<u8>();
            core::ptr::copy_nonoverlapping(message().cast::<u8>(), to, length);
        };
    }
    clear(info.length());
    let start = bytes.as_mut_ptr().cast();
    // SAFETY: the first `length` bytes of this array were written above.
    length.map(|length| read(unsafe { core::slice::from_raw_parts_mut(start, length) }))
}

/// Clears the first `words` words of the IPC buffer: a message may have
/// carried a key.
pub(crate) fn clear(words: usize) {
    // SAFETY: `words` is at most MESSAGE_WORDS in all callers.
    unsafe { core::ptr::write_bytes(message(), 0, words.min(MESSAGE_WORDS)) };
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
}
