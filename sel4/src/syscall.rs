//! The system calls, as instructions.
//!
//! `syscall` with RDX = number, RDI = capability, RSI = message info, message
//! words 0–3 in R10, R8, R9, R15. The kernel clobbers RCX and R11 and does not
//! keep RSP: R14 keeps it here, because the compiler reserves RBX.

use core::arch::{asm, global_asm};

use crate::facts;
use crate::message::{MessageInfo, REGISTER_WORDS, set_word, word};

/// The message words that travel in registers.
pub(crate) type Registers = [u64; REGISTER_WORDS];

// What small threads of the root task run. None of them needs a stack or an IPC buffer,
// and each finally waits at the endpoint in R12, which nobody sends to: a spinning thread
// would take the processor from its observer.
//
// The receiver receives once at RDI. RAX is its progress: 1 when it began to receive, 2
// when something came, whose badge RBX keeps. The kernel keeps all registers but RCX and
// R11, and those of the message.
//
// The gauge yields until four yields in a row came back within R13 ticks: nobody of its
// priority wants the processor. RBX counts the longer ones, RBP says that it is done.
global_asm!(
    ".pushsection .text.handoff_small,\"ax\",@progbits",
    ".global handoff_receiver",
    "handoff_receiver:",
    "mov eax, 1",
    "mov r14, rsp",
    "syscall",
    "mov rsp, r14",
    "mov rbx, rdi",
    "mov eax, 2",
    "2:",
    "mov rdi, r12",
    "mov rdx, {recv}",
    "mov r14, rsp",
    "syscall",
    "mov rsp, r14",
    "jmp 2b",
    ".global handoff_gauge",
    "handoff_gauge:",
    "rdtsc",
    "shl rdx, 32",
    "or rdx, rax",
    "mov r8, rdx",
    "mov rdx, {yield}",
    "mov r14, rsp",
    "syscall",
    "mov rsp, r14",
    "rdtsc",
    "shl rdx, 32",
    "or rdx, rax",
    "sub rdx, r8",
    "cmp rdx, r13",
    "jbe 3f",
    "inc rbx",
    "xor r9d, r9d",
    "jmp handoff_gauge",
    "3:",
    "inc r9",
    "cmp r9, {alone}",
    "jb handoff_gauge",
    "mov ebp, 1",
    "jmp 2b",
    ".popsection",
    recv = const facts::SYS_RECV,
    yield = const facts::SYS_YIELD,
    alone = const ALONE,
);

/// As many yields that come back at once show that nobody else of that priority
/// wants the processor. One alone may come back so at the end of the other's slice.
const ALONE: u64 = 4;

unsafe extern "C" {
    fn handoff_receiver();
    fn handoff_gauge();
}

/// Where a thread starts that receives once.
pub(crate) fn receiver() -> u64 {
    handoff_receiver as *const () as u64
}

/// Where a thread starts that measures what another of its priority gets.
pub(crate) fn gauge() -> u64 {
    handoff_gauge as *const () as u64
}

fn send_with(number: i64, cptr: u64, info: MessageInfo, words: Registers) {
    let [w0, w1, w2, w3] = words;
    // SAFETY: a system call changes no memory of this program but through its
    // IPC buffer, which `memory` (the default) covers.
    unsafe {
        asm!(
            "mov r14, rsp", "syscall", "mov rsp, r14",
            in("rdx") number, in("rdi") cptr, in("rsi") info.to_word(),
            in("r10") w0, in("r8") w1, in("r9") w2, in("r15") w3,
            out("rcx") _, out("r11") _, out("r14") _,
            options(nostack),
        );
    }
}

fn exchange(
    number: i64,
    cptr: u64,
    info: MessageInfo,
    words: Registers,
) -> (u64, MessageInfo, Registers) {
    let [mut w0, mut w1, mut w2, mut w3] = words;
    let mut sender = cptr;
    let mut answer = info.to_word();
    // SAFETY: as in `send_with`.
    unsafe {
        asm!(
            "mov r14, rsp", "syscall", "mov rsp, r14",
            in("rdx") number, inout("rdi") sender, inout("rsi") answer,
            inout("r10") w0, inout("r8") w1, inout("r9") w2, inout("r15") w3,
            out("rcx") _, out("r11") _, out("r14") _,
            options(nostack),
        );
    }
    (sender, MessageInfo::from_word(answer), [w0, w1, w2, w3])
}

fn load() -> Registers {
    [word(0), word(1), word(2), word(3)]
}

fn store(info: MessageInfo, words: Registers) {
    for (index, value) in words.into_iter().enumerate().take(info.length()) {
        set_word(index, value);
    }
}

/// `seL4_Send`: waits until somebody receives.
pub(crate) fn send(cptr: u64, info: MessageInfo) {
    send_with(facts::SYS_SEND, cptr, info, load());
}

/// `seL4_NBSend`: sends only when somebody waits.
pub(crate) fn nb_send(cptr: u64, info: MessageInfo) {
    send_with(facts::SYS_NB_SEND, cptr, info, load());
}

/// `seL4_Reply`: answers the caller of the last received call.
pub(crate) fn reply(info: MessageInfo) {
    send_with(facts::SYS_REPLY, 0, info, load());
}

/// `seL4_Signal`.
pub(crate) fn signal(cptr: u64) {
    send_with(facts::SYS_SEND, cptr, MessageInfo::new(0, 0, 0), [0; 4]);
}

/// `seL4_Yield`: lets others of the same priority run.
pub fn r#yield() {
    send_with(facts::SYS_YIELD, 0, MessageInfo::new(0, 0, 0), [0; 4]);
}

/// `seL4_Call`: sends and waits for the answer, which is in the IPC buffer.
pub(crate) fn call(cptr: u64, info: MessageInfo) -> MessageInfo {
    let (_, answer, words) = exchange(facts::SYS_CALL, cptr, info, load());
    store(answer, words);
    answer
}

/// `seL4_Call` for an invocation of a kernel object with up to four words each
/// way, without a detour through the IPC buffer.
pub(crate) fn invoke(cptr: u64, info: MessageInfo, words: Registers) -> (MessageInfo, Registers) {
    let (_, answer, words) = exchange(facts::SYS_CALL, cptr, info, words);
    (answer, words)
}

/// `seL4_Recv`: waits for a message or a signal; returns its badge.
pub(crate) fn recv(cptr: u64) -> (u64, MessageInfo) {
    let (badge, info, words) = exchange(facts::SYS_RECV, cptr, MessageInfo::new(0, 0, 0), [0; 4]);
    store(info, words);
    (badge, info)
}

/// `seL4_NBRecv`: like [`recv`], but returns badge 0 when nothing is there.
pub(crate) fn nb_recv(cptr: u64) -> (u64, MessageInfo) {
    let nothing = MessageInfo::new(0, 0, 0);
    let (badge, info, words) = exchange(facts::SYS_NB_RECV, cptr, nothing, [0; 4]);
    store(info, words);
    (badge, info)
}

/// `seL4_ReplyRecv`: answers the last caller and waits for the next.
pub(crate) fn reply_recv(cptr: u64, info: MessageInfo) -> (u64, MessageInfo) {
    let (badge, info, words) = exchange(facts::SYS_REPLY_RECV, cptr, info, load());
    store(info, words);
    (badge, info)
}
