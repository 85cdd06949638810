//! A network of its own for a server that knows no address to listen at: it has
//! loopback and nothing else (Linux, packages util-linux and iproute2).

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

/// Runs the rest of its arguments when loopback is up.
const BEGIN: &str = "ip link set lo up && exec \"$@\"";

/// Leads its input to a port and back: each way until the first of the two ends,
/// and what is on its way then.
const LEAD: &str = "\
for _ in $(seq 200); do exec 3<>/dev/tcp/127.0.0.1/$1 && break; sleep 0.05; done 2>/dev/null
cat <&3 & back=$!
cat <&0 >&3 & there=$!
wait -n
sleep 0.1
kill $there $back 2>/dev/null";

/// A command for `program` in a network of its own. It is killed when the thread
/// that starts it ends.
pub(crate) fn enclosed(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--map-root-user", "--net", "--"])
        .args(["setpriv", "--pdeathsig", "KILL", "--"])
        .args(["sh", "-c", BEGIN, "sh"])
        .arg(program);
    command
}

/// Leads each connection at the returned port of 127.0.0.1 to `port` in the
/// network of `process`.
pub(crate) fn lead_into(process: u32, port: u16) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let outer = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                // A connection that breaks off is the test's affair.
                let _ = lead(stream, process, port);
            });
        }
    });
    Ok(outer)
}

fn lead(stream: TcpStream, process: u32, port: u16) -> io::Result<()> {
    let input = OwnedFd::from(stream.try_clone()?);
    let mut child = Command::new("nsenter")
        .args(["--target", &process.to_string()])
        .args(["--user", "--net", "--preserve-credentials", "--"])
        .args(["bash", "-c", LEAD, "bash", &port.to_string()])
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(OwnedFd::from(stream)))
        .stderr(Stdio::null())
        .spawn()?;
    child.wait().map(drop)
}
