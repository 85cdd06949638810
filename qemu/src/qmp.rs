//! QEMU's control protocol (QEMU Machine Protocol): JSON lines over a Unix
//! socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// How long QEMU may take to make its socket.
const SOCKET_PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer may take; a dump of all memory is the longest.
const ANSWER_PATIENCE: Duration = Duration::from_secs(120);
/// Longest path of a Unix socket (`sun_path` of unix(7)), without the zero.
const MAX_SOCKET_PATH: usize = 107;

/// A connection to a QEMU.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Qmp {
    /// Connects to `socket`, which QEMU may still be about to make.
    ///
    /// # Errors
    /// The path is too long, or there is no answer.
    pub fn connect(socket: &Path) -> Result<Self> {
        let shown = socket.display();
        if socket.as_os_str().len() > MAX_SOCKET_PATH {
            bail!("{shown}: a socket's path has {MAX_SOCKET_PATH} bytes at most");
        }
        let deadline = Instant::now() + SOCKET_PATIENCE;
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
                Err(error) => return Err(error).with_context(|| format!("connecting to {shown}")),
            }
        };
        stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
        stream.set_write_timeout(Some(ANSWER_PATIENCE))?;
        let mut qmp = Self {
            writer: stream.try_clone()?,
            reader: BufReader::new(stream),
        };
        let greeting = qmp.read()?;
        if greeting.get("QMP").is_none() {
            bail!("{shown}: not QEMU's control socket");
        }
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Executes a command and returns its result. Events are skipped.
    ///
    /// # Errors
    /// QEMU refuses the command, or does not answer.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        // In one piece: nothing is read after the last brace of a "quit".
        let line = format!("{request}\n");
        self.writer
            .write_all(line.as_bytes())
            .with_context(|| format!("asking for {command}"))?;
        loop {
            let mut answer = self.read().with_context(|| command.to_string())?;
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = answer.get("error") {
                bail!("{command}: {error}");
            }
        }
    }

    /// Writes the first `bytes` of guest-physical memory to `file`.
    ///
    /// # Errors
    /// QEMU can't write it, or does not answer.
    pub fn dump_physical(&mut self, bytes: u64, file: &Path) -> Result<()> {
        let arguments = json!({ "val": 0, "size": bytes, "filename": file });
        self.execute("pmemsave", arguments).map(drop)
    }

    /// Writes all guest memory to `file` as an ELF core.
    ///
    /// # Errors
    /// QEMU can't write it, or does not answer.
    pub fn dump_core(&mut self, file: &Path) -> Result<()> {
        let protocol = format!("file:{}", file.display());
        let arguments = json!({ "paging": false, "protocol": protocol });
        self.execute("dump-guest-memory", arguments).map(drop)
    }

    /// Writes the whole state of the machine to `file`; it is paused after
    /// that.
    ///
    /// # Errors
    /// QEMU can't write it, or does not answer.
    pub fn save(&mut self, file: &Path) -> Result<()> {
        let uri = format!("exec:cat > '{}'", file.display());
        self.execute("migrate", json!({ "uri": uri }))?;
        let deadline = Instant::now() + ANSWER_PATIENCE;
        loop {
            let found = self.execute("query-migrate", json!({}))?;
            match found.get("status").and_then(Value::as_str) {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => bail!("migrate: {found}"),
                _ if Instant::now() > deadline => bail!("migrate: {found}"),
                _ => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Whether the guest runs: "running", "paused", "shutdown", ...
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn status(&mut self) -> Result<String> {
        let status = self.execute("query-status", json!({}))?;
        let word = status.get("status").and_then(Value::as_str);
        Ok(word.context("query-status: no status")?.to_string())
    }

    /// Stops the guest's processor, so that its memory holds still.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn pause(&mut self) -> Result<()> {
        self.execute("stop", json!({})).map(drop)
    }

    /// Lets the guest go on.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn resume(&mut self) -> Result<()> {
        self.execute("cont", json!({})).map(drop)
    }

    /// Ends QEMU.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn quit(mut self) -> Result<()> {
        self.execute("quit", json!({})).map(drop)
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        let count = self.reader.read_line(&mut line);
        if count.context("QEMU does not answer")? == 0 {
            bail!("QEMU closed its control socket");
        }
        serde_json::from_str(&line).context("QEMU's answer is no JSON")
    }
}
