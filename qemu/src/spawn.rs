//! A process that does not outlive the one that started it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Sets a process's "parent death signal" before it starts a program (Linux,
/// package util-linux).
const SETPRIV: &str = "setpriv";
/// Files that ten thousand sessions take, at both ends and in between.
const MANY_FILES: u64 = 1 << 16;

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
    let with = |maximum: Option<u64>| Rlimit {
        current: maximum,
        maximum,
    };
    // Only an administrator may have more than the maximum.
    let more = limit.maximum.map(|maximum| maximum.max(MANY_FILES));
    if setrlimit(Resource::Nofile, with(more)).is_err() {
        // Without it there are fewer connections, and whoever misses one is told.
        let _ = setrlimit(Resource::Nofile, with(limit.maximum));
    }
}

/// Kills a process by its id and takes its end note. Never hangs: nothing
/// survives SIGKILL.
pub(crate) fn end(child: &mut Child) {
    // An error means that it has exited already.
    let _ = child.kill();
    let _ = child.wait();
}
