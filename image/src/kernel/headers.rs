//! The user-level headers of the kernel, in the layout of a standard install.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::source::path_with;
use crate::command::{Step, copy_tree};

/// Interface descriptions: path in the source, name in the install.
const INTERFACES: [(&str, &str); 3] = [
    ("include/interfaces/sel4.xml", "object-api.xml"),
    (
        "arch_include/x86/interfaces/sel4arch.xml",
        "object-api-arch.xml",
    ),
    (
        "sel4_arch_include/x86_64/interfaces/sel4arch.xml",
        "object-api-sel4-arch.xml",
    ),
];

/// Headers with invocation labels: generator's option, interface, header.
const INVOCATIONS: [(&str, &str, &str); 3] = [
    ("", "object-api.xml", "sel4/invocation.h"),
    ("--arch", "object-api-arch.xml", "sel4/arch/invocation.h"),
    (
        "--sel4_arch",
        "object-api-sel4-arch.xml",
        "sel4/sel4_arch/invocation.h",
    ),
];

/// Headers made from bit field descriptions.
const BITFIELDS: [(&str, &str); 3] = [
    ("sel4/types_64.bf", "sel4/types_gen.h"),
    ("sel4/shared_types_64.bf", "sel4/shared_types_gen.h"),
    ("sel4/sel4_arch/types.bf", "sel4/sel4_arch/types_gen.h"),
];

/// Copies and generates everything below `prefix/libsel4/include`, and what
/// the kernel was configured with below `prefix/support`.
pub(super) fn install(source: &Path, build: &Path, python: &Path, prefix: &Path) -> Result<()> {
    let library = source.join("libsel4");
    let include = prefix.join("libsel4/include");
    for part in [
        "include",
        "arch_include/x86",
        "sel4_arch_include/x86_64",
        "sel4_plat_include/pc99",
    ] {
        copy_tree(&library.join(part), &include)?;
    }
    let interfaces = include.join("interfaces");
    for old in ["sel4.xml", "sel4arch.xml"] {
        fs::remove_file(interfaces.join(old))?;
    }
    for (from, to) in INTERFACES {
        fs::copy(library.join(from), interfaces.join(to))?;
    }
    let autoconf = source.join("include/plat/pc99/autoconf.h");
    fs::copy(&autoconf, include.join("autoconf.h"))?;
    fs::copy(&autoconf, prefix.join("support/autoconf.h"))?;
    let generate = |tool: &str| -> Result<Step> {
        Ok(Step::new(python)
            .current_dir(&include)
            .env("PATH", path_with(python)?)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(source.join(tool)))
    };
    for (option, xml, header) in INVOCATIONS {
        generate("libsel4/tools/invocation_header_gen.py")?
            .args(["--xml", &format!("interfaces/{xml}"), "--libsel4"])
            .args((!option.is_empty()).then_some(option))
            .args(["--dest", header])
            .run()?;
    }
    generate("libsel4/tools/syscall_header_gen.py")?
        .args(["--xml", "api/syscall.xml"])
        .args(["--libsel4_header", "sel4/syscall.h"])
        .run()?;
    generate("libsel4/tools/syscall_stub_gen.py")?
        .args(["-a", "x86_64", "-w", "64"])
        .args(["-o", "interfaces/sel4_client.h"])
        .args(INTERFACES.map(|(_, xml)| format!("interfaces/{xml}")))
        .run()?;
    for (description, header) in BITFIELDS {
        let plain = Step::new("cpp")
            .current_dir(&include)
            .args(["-nostdinc", "-I.", "-P", "-DHAVE_AUTOCONF", description])
            .output()?;
        let intermediate = build.join("plain.pbf");
        fs::write(&intermediate, plain)?;
        generate("tools/bitfield_gen.py")?
            .args(["--environment", "libsel4"])
            .arg(&intermediate)
            .arg(header)
            .run()
            .with_context(|| format!("generating {header}"))?;
    }
    for leftover in ["parser.out", "parsetab.py"] {
        let leftover = include.join(leftover);
        if leftover.exists() {
            fs::remove_file(leftover)?;
        }
    }
    Ok(())
}
