//! Reads the kernel's headers and turns what they say into Rust constants.
//!
//! The C compiler evaluates each expression against the headers of the
//! installed kernel; nothing is typed in by hand. The install is
//! `SEL4_PREFIX`, else `target/sel4-prefix/release` of this workspace.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A constant's name in Rust and the C expression that gives it.
type Fact = (&'static str, &'static str);

/// What the binding needs of every kernel.
const FACTS: &[Fact] = &[
    // System calls: negative numbers.
    ("SYS_CALL", "seL4_SysCall"),
    ("SYS_REPLY_RECV", "seL4_SysReplyRecv"),
    ("SYS_SEND", "seL4_SysSend"),
    ("SYS_NB_SEND", "seL4_SysNBSend"),
    ("SYS_RECV", "seL4_SysRecv"),
    ("SYS_NB_RECV", "seL4_SysNBRecv"),
    ("SYS_REPLY", "seL4_SysReply"),
    ("SYS_YIELD", "seL4_SysYield"),
    // Invocation labels, from the interface XML.
    ("UNTYPED_RETYPE", "UntypedRetype"),
    ("TCB_READ_REGISTERS", "TCBReadRegisters"),
    ("TCB_WRITE_REGISTERS", "TCBWriteRegisters"),
    ("TCB_CONFIGURE", "TCBConfigure"),
    ("TCB_SET_PRIORITY", "TCBSetPriority"),
    ("TCB_SUSPEND", "TCBSuspend"),
    ("TCB_RESUME", "TCBResume"),
    ("TCB_BIND_NOTIFICATION", "TCBBindNotification"),
    ("CNODE_REVOKE", "CNodeRevoke"),
    ("CNODE_DELETE", "CNodeDelete"),
    ("CNODE_CANCEL_BADGED_SENDS", "CNodeCancelBadgedSends"),
    ("CNODE_COPY", "CNodeCopy"),
    ("CNODE_MINT", "CNodeMint"),
    ("CNODE_MOVE", "CNodeMove"),
    ("CNODE_MUTATE", "CNodeMutate"),
    ("IRQ_ACK", "IRQAckIRQ"),
    ("IRQ_SET_HANDLER", "IRQSetIRQHandler"),
    ("IRQ_CLEAR_HANDLER", "IRQClearIRQHandler"),
    ("IRQ_ISSUE_IOAPIC", "X86IRQIssueIRQHandlerIOAPIC"),
    ("PDPT_MAP", "X86PDPTMap"),
    ("PAGE_DIRECTORY_MAP", "X86PageDirectoryMap"),
    ("PAGE_TABLE_MAP", "X86PageTableMap"),
    ("PAGE_MAP", "X86PageMap"),
    ("PAGE_UNMAP", "X86PageUnmap"),
    ("PAGE_ADDRESS", "X86PageGetAddress"),
    ("ASID_POOL_ASSIGN", "X86ASIDPoolAssign"),
    ("IO_PORT_IN8", "X86IOPortIn8"),
    ("IO_PORT_IN16", "X86IOPortIn16"),
    ("IO_PORT_IN32", "X86IOPortIn32"),
    ("IO_PORT_OUT8", "X86IOPortOut8"),
    ("IO_PORT_OUT16", "X86IOPortOut16"),
    ("IO_PORT_OUT32", "X86IOPortOut32"),
    // Object types.
    ("OBJECT_UNTYPED", "seL4_UntypedObject"),
    ("OBJECT_TCB", "seL4_TCBObject"),
    ("OBJECT_ENDPOINT", "seL4_EndpointObject"),
    ("OBJECT_NOTIFICATION", "seL4_NotificationObject"),
    ("OBJECT_CNODE", "seL4_CapTableObject"),
    ("OBJECT_PDPT", "seL4_X86_PDPTObject"),
    ("OBJECT_PML4", "seL4_X64_PML4Object"),
    ("OBJECT_PAGE", "seL4_X86_4K"),
    ("OBJECT_LARGE_PAGE", "seL4_X86_LargePageObject"),
    ("OBJECT_PAGE_TABLE", "seL4_X86_PageTableObject"),
    ("OBJECT_PAGE_DIRECTORY", "seL4_X86_PageDirectoryObject"),
    // Sizes, as powers of two.
    ("SLOT_BITS", "seL4_SlotBits"),
    ("TCB_BITS", "seL4_TCBBits"),
    ("ENDPOINT_BITS", "seL4_EndpointBits"),
    ("NOTIFICATION_BITS", "seL4_NotificationBits"),
    ("PAGE_BITS", "seL4_PageBits"),
    ("LARGE_PAGE_BITS", "seL4_LargePageBits"),
    ("TABLE_BITS", "seL4_PageTableBits"),
    // Message info.
    ("INFO_LABEL_UNIT", "seL4_MessageInfo_new(1,0,0,0).words[0]"),
    (
        "INFO_CAPS_UNWRAPPED_UNIT",
        "seL4_MessageInfo_new(0,1,0,0).words[0]",
    ),
    (
        "INFO_EXTRA_CAPS_UNIT",
        "seL4_MessageInfo_new(0,0,1,0).words[0]",
    ),
    ("INFO_LENGTH_UNIT", "seL4_MessageInfo_new(0,0,0,1).words[0]"),
    (
        "INFO_LABEL_MASK",
        "seL4_MessageInfo_get_label((seL4_MessageInfo_t){{-1ul}})",
    ),
    ("MESSAGE_WORDS", "seL4_MsgMaxLength"),
    ("MESSAGE_CAPS", "seL4_MsgMaxExtraCaps"),
    // The IPC buffer.
    ("BUFFER_MESSAGE", "__builtin_offsetof(seL4_IPCBuffer, msg)"),
    (
        "BUFFER_CAPS",
        "__builtin_offsetof(seL4_IPCBuffer, caps_or_badges)",
    ),
    // Faults.
    ("FAULT_CAP", "seL4_Fault_CapFault"),
    ("FAULT_SYSCALL", "seL4_Fault_UnknownSyscall"),
    ("FAULT_EXCEPTION", "seL4_Fault_UserException"),
    ("FAULT_VM", "seL4_Fault_VMFault"),
    ("VM_FAULT_IP", "seL4_VMFault_IP"),
    ("VM_FAULT_ADDRESS", "seL4_VMFault_Addr"),
    ("VM_FAULT_PREFETCH", "seL4_VMFault_PrefetchFault"),
    ("VM_FAULT_STATUS", "seL4_VMFault_FSR"),
    ("CAP_FAULT_IP", "seL4_CapFault_IP"),
    ("CAP_FAULT_ADDRESS", "seL4_CapFault_Addr"),
    ("SYSCALL_FAULT_IP", "seL4_UnknownSyscall_FaultIP"),
    ("SYSCALL_FAULT_NUMBER", "seL4_UnknownSyscall_Syscall"),
    ("EXCEPTION_IP", "seL4_UserException_FaultIP"),
    ("EXCEPTION_NUMBER", "seL4_UserException_Number"),
    ("EXCEPTION_CODE", "seL4_UserException_Code"),
    (
        "USER_CONTEXT_WORDS",
        "sizeof(seL4_UserContext) / sizeof(seL4_Word)",
    ),
    // Initial capabilities of the root task.
    ("SLOT_TCB", "seL4_CapInitThreadTCB"),
    ("SLOT_CNODE", "seL4_CapInitThreadCNode"),
    ("SLOT_VSPACE", "seL4_CapInitThreadVSpace"),
    ("SLOT_IRQ_CONTROL", "seL4_CapIRQControl"),
    ("SLOT_ASID_CONTROL", "seL4_CapASIDControl"),
    ("SLOT_ASID_POOL", "seL4_CapInitThreadASIDPool"),
    ("SLOT_IO_SPACE", "seL4_CapIOSpace"),
    ("SLOT_BOOT_INFO", "seL4_CapBootInfoFrame"),
    ("SLOT_DOMAIN", "seL4_CapDomain"),
    ("SLOT_IPC_BUFFER", "seL4_CapInitThreadIPCBuffer"),
    // The boot information.
    (
        "BOOT_IPC_BUFFER",
        "__builtin_offsetof(seL4_BootInfo, ipcBuffer)",
    ),
    ("BOOT_EMPTY", "__builtin_offsetof(seL4_BootInfo, empty)"),
    (
        "BOOT_IO_LEVELS",
        "__builtin_offsetof(seL4_BootInfo, numIOPTLevels)",
    ),
    (
        "BOOT_IMAGE_FRAMES",
        "__builtin_offsetof(seL4_BootInfo, userImageFrames)",
    ),
    (
        "BOOT_IMAGE_PAGING",
        "__builtin_offsetof(seL4_BootInfo, userImagePaging)",
    ),
    (
        "BOOT_EXTRA_PAGES",
        "__builtin_offsetof(seL4_BootInfo, extraBIPages)",
    ),
    ("BOOT_UNTYPED", "__builtin_offsetof(seL4_BootInfo, untyped)"),
    (
        "BOOT_UNTYPED_LIST",
        "__builtin_offsetof(seL4_BootInfo, untypedList)",
    ),
    ("UNTYPED_STRIDE", "sizeof(seL4_UntypedDesc)"),
    (
        "UNTYPED_ADDRESS",
        "__builtin_offsetof(seL4_UntypedDesc, paddr)",
    ),
    (
        "UNTYPED_SIZE_BITS",
        "__builtin_offsetof(seL4_UntypedDesc, sizeBits)",
    ),
    (
        "UNTYPED_IS_DEVICE",
        "__builtin_offsetof(seL4_UntypedDesc, isDevice)",
    ),
];

/// What only seL4 5.0.0 has; `src/generation/five.rs` uses it.
const FACTS_5: &[Fact] = &[
    ("PAGE_REMAP", "X86PageRemap"),
    ("SLOT_IO_PORT", "seL4_CapIOPort"),
    (
        "BOOT_TSC_MHZ",
        "__builtin_offsetof(seL4_BootInfo, archInfo)",
    ),
    ("BADGE_BITS", "seL4_BadgeBits"),
    ("BADGE_UNIT", "seL4_CapData_Badge_new(1).words[0]"),
    ("GUARD_EMPTY", "seL4_CapData_Guard_new(0, 0).words[0]"),
    (
        "GUARD_SIZE_UNIT",
        "seL4_CapData_Guard_new(0, 1).words[0] - seL4_CapData_Guard_new(0, 0).words[0]",
    ),
    ("RIGHT_WRITE", "seL4_CapRights_new(0,0,1).words[0]"),
    ("RIGHT_READ", "seL4_CapRights_new(0,1,0).words[0]"),
    ("RIGHT_GRANT", "seL4_CapRights_new(1,0,0).words[0]"),
    ("PRIORITY_UNIT", "seL4_PrioProps_new(0, 1).words[0]"),
];

/// What only newer kernels have; `src/generation/sixteen.rs` uses it.
const FACTS_16: &[Fact] = &[
    ("IO_PORT_ISSUE", "X86IOPortControlIssue"),
    ("SLOT_IO_PORT", "seL4_CapIOPortControl"),
    ("GUARD_SIZE_UNIT", "seL4_CNode_CapData_new(0, 1).words[0]"),
    ("RIGHT_WRITE", "seL4_CapRights_new(0,0,0,1).words[0]"),
    ("RIGHT_READ", "seL4_CapRights_new(0,0,1,0).words[0]"),
    ("RIGHT_GRANT", "seL4_CapRights_new(0,1,0,0).words[0]"),
    ("RIGHT_GRANT_REPLY", "seL4_CapRights_new(1,0,0,0).words[0]"),
    ("BOOT_SIZE", "seL4_BootInfoFrameSize"),
    (
        "BOOT_EXTRA_LENGTH",
        "__builtin_offsetof(seL4_BootInfo, extraLen)",
    ),
    ("BOOT_BLOCK_HEADER", "sizeof(seL4_BootInfoHeader)"),
    ("BOOT_BLOCK_TSC", "SEL4_BOOTINFO_HEADER_X86_TSC_FREQ"),
];

/// Of a kernel that was built with support of the IOMMU.
const FACTS_IO: &[Fact] = &[
    ("IO_PAGE_TABLE_MAP", "X86IOPageTableMap"),
    ("PAGE_MAP_IO", "X86PageMapIO"),
    ("OBJECT_IO_PAGE_TABLE", "seL4_X86_IOPageTableObject"),
];

/// Of a kernel without, which has no such names and refuses these numbers.
const FACTS_NO_IO: &[Fact] = &[
    ("IO_PAGE_TABLE_MAP", "InvalidInvocation"),
    ("PAGE_MAP_IO", "InvalidInvocation"),
    ("OBJECT_IO_PAGE_TABLE", "seL4_ObjectTypeCount"),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=SEL4_PREFIX");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(sel4_generation, values(\"5\", \"16\"))");
    let include = prefix()?.join("libsel4/include");
    let autoconf = include.join("autoconf.h");
    if autoconf.exists() {
        println!("cargo::rerun-if-changed={}", autoconf.display());
    }
    let boot_info = fs::read_to_string(include.join("sel4/bootinfo_types.h"))?;
    let configuration = include.join("kernel/gen_config.h");
    if configuration.exists() {
        println!("cargo::rerun-if-changed={}", configuration.display());
    }
    let has = |option: &str| {
        let define = format!("define {option} ");
        [&autoconf, &configuration].into_iter().any(|file| {
            fs::read_to_string(file).is_ok_and(|text| text.lines().any(|l| l.contains(&define)))
        })
    };
    if has("CONFIG_KERNEL_MCS") {
        return Err("this kernel has MCS scheduling, which this binding does not speak: build it with KernelIsMCS=OFF".into());
    }
    let (generation, own) = match boot_info.contains("seL4_CapIOPortControl") {
        true => ("16", FACTS_16),
        false => ("5", FACTS_5),
    };
    println!("cargo::rustc-cfg=sel4_generation=\"{generation}\"");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let io = if has("CONFIG_IOMMU") {
        FACTS_IO
    } else {
        FACTS_NO_IO
    };
    let facts: Vec<Fact> = FACTS.iter().chain(own).chain(io).copied().collect();
    let assembly = evaluate(&include, &out, &facts)?;
    fs::write(out.join("facts.rs"), to_rust(&facts, &assembly)?)?;
    Ok(())
}

fn prefix() -> Result<PathBuf, Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let prefix = env::var_os("SEL4_PREFIX").map_or_else(
        || here.with_file_name("target").join("sel4-prefix/release"),
        PathBuf::from,
    );
    if !prefix.join("libsel4/include/sel4/sel4.h").exists() {
        return Err(format!(
            "{}: no seL4 install there; `cargo xtask kernel` makes one, or SEL4_PREFIX names one",
            prefix.display()
        )
        .into());
    }
    Ok(prefix)
}

/// Parts of a value that an assembler operand can carry: shift and mask.
const PARTS: [(u32, u64); 3] = [(0, 0xff_ffff), (24, 0xff_ffff), (48, 0xffff)];

/// Compiles a function that carries each value as text in its assembly.
fn evaluate(include: &Path, out: &Path, facts: &[Fact]) -> Result<String, Box<dyn Error>> {
    let mut probe = String::from("#include <sel4/sel4.h>\nvoid probe(void) {\n");
    for (name, expression) in facts {
        writeln!(
            probe,
            "asm volatile(\"\\n.ascii \\\"@{name}=%c0,%c1,%c2@\\\"\\n\" :: {});",
            PARTS
                .map(|(shift, mask)| {
                    format!("\"i\"(((unsigned long)({expression}) >> {shift}) & {mask:#x})")
                })
                .join(",")
        )?;
    }
    probe.push_str("}\n");
    let source = out.join("probe.c");
    fs::write(&source, probe)?;
    let output = Command::new("gcc")
        .args(["-O2", "-S", "-nostdinc", "-ffreestanding", "-m64"])
        .args(["-DHAVE_AUTOCONF", "-I"])
        .arg(include)
        .args(["-o", "-"])
        .arg(&source)
        .output()?;
    if !output.status.success() {
        return Err(format!(
            "the kernel's headers don't compile:\n{}",
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn to_rust(facts: &[Fact], assembly: &str) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    for (name, expression) in facts {
        let marker = format!("@{name}=");
        let value = assembly
            .split_once(&marker)
            .and_then(|(_, rest)| rest.split_once('@'))
            .and_then(|(parts, _)| join(parts))
            .ok_or_else(|| format!("{expression}: the compiler gave no value"))?;
        writeln!(text, "/// `{expression}`")?;
        if name.starts_with("SYS_") {
            writeln!(
                text,
                "pub(crate) const {name}: i64 = {};",
                value.cast_signed()
            )?;
        } else {
            writeln!(text, "pub(crate) const {name}: u64 = {value};")?;
        }
    }
    Ok(text)
}

/// Puts the parts of a value together again.
fn join(parts: &str) -> Option<u64> {
    let mut value = 0;
    let mut parts = parts.split(',');
    for (shift, _) in PARTS {
        value |= parts.next()?.parse::<u64>().ok()? << shift;
    }
    Some(value)
}
