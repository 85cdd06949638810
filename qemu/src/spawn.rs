//! A process that does not outlive the one that started it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Sets a process's "parent death signal" before it starts a program (Linux,
/// package util-linux).
const SETPRIV: &str = "setpriv";

/// A command for `program` that the kernel kills when the *thread* that starts
/// it ends. Where that can't be had, only the caller's own care ends it.
pub fn bound_to_thread(program: &Path) -> Command {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    let available = AVAILABLE.get_or_init(|| {
        Command::new(SETPRIV)
            .args(["--pdeathsig", "KILL", "--", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    });
    if *available {
        let mut command = Command::new(SETPRIV);
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// Lets this process, and those that it starts, open as many files as the system allows: the
/// emulator's user network has two for each connection that it passes on, and most systems
/// begin with a limit of 1,024.
pub fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Without it there are fewer connections, and whoever misses one is told.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// Kills a process by its id and takes its end note. Never hangs: nothing
/// survives SIGKILL.
pub(crate) fn end(child: &mut Child) {
    // An error means that it has exited already.
    let _ = child.kill();
    let _ = child.wait();
}
