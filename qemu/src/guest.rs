//! A running machine.

use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::log::{self, Cursor, Log, Next};
use crate::log_file::LogFile;
use crate::machine::Machine;
use crate::network::Network;
use crate::qmp::Qmp;
use crate::spawn;

/// Lines of the log that an error shows.
const SHOWN_LINES: usize = 30;
/// How long a guest that stopped a domain may still become ready.
const AFTER_FAULT: Duration = Duration::from_secs(3);
/// Most of QEMU's own words that are kept, in bytes.
const MAX_COMPLAINT: u64 = 64 * 1024;
/// How long QEMU's last words may take after its serial port was closed.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A running machine; ends with this value.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    log: Arc<Log>,
    complaint: Arc<Mutex<String>>,
    network: Network,
    log_file: PathBuf,
    capture: Option<PathBuf>,
    qmp: Option<PathBuf>,
}

impl Guest {
    /// Starts QEMU.
    pub(crate) fn start(machine: &Machine) -> Result<Self> {
        let file = LogFile::create(&machine.log, machine.log_bytes)
            .with_context(|| format!("making {}", machine.log.display()))?;
        if let Some(file) = &machine.capture {
            keep_private(file).with_context(|| format!("making {}", file.display()))?;
        }
        for socket in machine.qmp.iter() {
            // A leftover of a previous run would be in the way; another file is somebody's.
            let kind = std::fs::symlink_metadata(socket).map(|found| found.file_type());
            if kind.is_ok_and(|kind| kind.is_socket()) {
                let _ = std::fs::remove_file(socket);
            }
        }
        spawn::allow_many_files();
        let mut command = spawn::bound_to_thread(&machine.program);
        command
            .args(machine.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let log = Arc::new(Log::default());
        let complaint = Arc::new(Mutex::new(String::new()));
        let (sender, receiver) = channel();
        let (thread_log, thread_complaint) = (log.clone(), complaint.clone());
        // The process is bound to this thread, which lives as long as the
        // serial port is open.
        thread::spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => {
                    let _ = sender.send(Err(error));
                    return;
                }
            };
            let stdout = child.stdout.take();
            let words = listen(child.stderr.take(), thread_complaint);
            hand_over(&sender, child);
            if let Some(stdout) = stdout {
                thread_log.fill(stdout, Some(file));
            }
            // Its last output is complete before the end is reported.
            if let Some(words) = words {
                let _ = words.join();
            }
            thread_log.finish();
        });
        let child = receiver
            .recv()
            .context("the thread that starts QEMU ended")?
            .with_context(|| {
                format!(
                    "{}: can't be started; is it installed?",
                    machine.program.display()
                )
            })?;
        Ok(Self {
            child,
            log,
            complaint,
            network: machine.network.clone(),
            log_file: machine.log.clone(),
            capture: machine.capture.clone(),
            qmp: machine.qmp.clone(),
        })
    }

    /// What the guest has printed.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The file that has what the guest printed.
    pub fn log_file(&self) -> &Path {
        &self.log_file
    }

    /// The packet capture, if one is made.
    pub fn capture(&self) -> Option<&Path> {
        self.capture.as_deref()
    }

    /// The address on the host that leads to a port of the guest.
    pub fn address(&self, guest_port: u16) -> Option<SocketAddr> {
        self.network.address(guest_port)
    }

    /// QEMU's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What QEMU itself said on its standard error.
    pub fn complaint(&self) -> String {
        let text = self.complaint.lock();
        text.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens QEMU's control socket.
    ///
    /// # Errors
    /// The machine has none, or QEMU does not answer.
    pub fn qmp(&self) -> Result<Qmp> {
        let socket = self.qmp.as_ref().context("the machine has no QMP socket")?;
        Qmp::connect(socket)
    }

    /// Writes the whole state of the machine to `file`, which then holds every
    /// secret in it; the machine stands still after that.
    ///
    /// # Errors
    /// As [`Guest::qmp`], or QEMU can't write it.
    pub fn save(&self, file: &Path) -> Result<()> {
        self.qmp()?.save(file)
    }

    /// Waits until the guest's processor runs.
    pub(crate) fn wait_running(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut qmp = self.qmp()?;
        while qmp.status()? != "running" {
            if Instant::now() > deadline {
                bail!("the guest does not run after {} s", patience.as_secs());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Waits until the guest says that it is ready.
    ///
    /// # Errors
    /// QEMU ends, a domain is stopped, or `patience` is over; with the last
    /// lines of the log.
    pub fn wait_ready(&mut self, patience: Duration) -> Result<()> {
        let mut deadline = Instant::now() + patience;
        let mut cursor = Cursor::default();
        let mut fault = None;
        loop {
            match self.log.next(&mut cursor, deadline) {
                Next::Line(line) if log::is_ready(&line) => return Ok(()),
                Next::Line(line) if log::is_end(&line) => return Err(self.stopped(&line)),
                Next::Line(line) if log::is_fault(&line) && fault.is_none() => {
                    deadline = deadline.min(Instant::now() + AFTER_FAULT);
                    fault = Some(line);
                }
                Next::Line(_) => {}
                Next::End => return Err(self.ended()),
                Next::Silence => {
                    let tail = self.shown();
                    match fault {
                        Some(line) => bail!("the guest is not ready: {line}\n{tail}"),
                        None => bail!(
                            "the guest is not ready after {} s\n{tail}",
                            patience.as_secs()
                        ),
                    }
                }
            }
        }
    }

    /// The first line, old or new, that `wanted` accepts; waits for `patience`.
    ///
    /// # Errors
    /// QEMU ends, or `patience` is over; with the last lines of the log.
    pub fn wait_line(
        &mut self,
        patience: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let deadline = Instant::now() + patience;
        let mut cursor = Cursor::default();
        loop {
            match self.log.next(&mut cursor, deadline) {
                Next::Line(line) if wanted(&line) => return Ok(line),
                Next::Line(_) => {}
                Next::End => return Err(self.ended()),
                Next::Silence => bail!(
                    "the guest did not print what was expected in {} s\n{}",
                    patience.as_secs(),
                    self.shown()
                ),
            }
        }
    }

    /// Why the root task gave up with `line`, as an error: its own words, or the panic's.
    pub fn stopped(&self, line: &str) -> anyhow::Error {
        let lines = self.log.since(Cursor::default());
        let mut reasons = lines.iter().rev().filter_map(|line| log::no_system(line));
        let reason = reasons.next().unwrap_or(line);
        anyhow::anyhow!("the guest stopped: {reason}\n{}", self.shown())
    }

    /// Why QEMU is no more, as an error.
    pub fn ended(&mut self) -> anyhow::Error {
        // The serial port is closed a moment before the process is gone.
        let deadline = Instant::now() + LAST_WORDS;
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status.to_string(),
                Ok(None) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(10));
                }
                _ => break "serial port closed".to_string(),
            }
        };
        let complaint = self.complaint();
        anyhow::anyhow!("QEMU ended: {status}\n{complaint}{}", self.shown())
    }

    /// Ends the machine at once.
    pub fn stop(mut self) {
        spawn::end(&mut self.child);
    }

    fn shown(&self) -> String {
        let tail = self.log.tail(SHOWN_LINES);
        let file = self.log_file.display();
        if tail.is_empty() {
            format!(
                "the guest printed nothing ({file}); does its processor have what \
                 docs/machines.md lists?"
            )
        } else {
            format!("the end of {file}:\n{tail}")
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        spawn::end(&mut self.child);
    }
}

fn hand_over(sender: &Sender<std::io::Result<Child>>, child: Child) {
    if let Err(returned) = sender.send(Ok(child)) {
        // There is no waiter any more.
        if let Ok(mut child) = returned.0 {
            spawn::end(&mut child);
        }
    }
}

/// Collects what QEMU says on its standard error. The thread ends with it.
fn listen(stderr: Option<ChildStderr>, into: Arc<Mutex<String>>) -> Option<JoinHandle<()>> {
    let stderr = stderr?;
    Some(thread::spawn(move || {
        let mut left = MAX_COMPLAINT;
        let mut stderr = stderr;
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = stderr.read(&mut buffer) {
            let bytes = buffer.get(..read).unwrap_or_default();
            if left > 0 {
                let mut text = into.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&String::from_utf8_lossy(bytes));
                left = left.saturating_sub(read as u64);
            }
        }
    }))
}

/// Makes an empty file that its owner alone can read; QEMU writes to it as it is.
fn keep_private(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(file).map(drop)
}
