//! Plaintext servers behind the gateway, in the test's own process. The guest
//! reaches them at 10.0.2.2.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use ring::digest;

use super::PATIENCE;

/// The page that [`Kind::Http`] serves.
pub(crate) const PAGE: &str = "It is the backend that says this.\n";
/// What makes [`Kind::Bulk`] digest until the client's end.
pub(crate) const UP: &str = "up\n";

const CHUNK: usize = 64 * 1024;

/// What a server does.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Sends back what it gets, and its end after the client's end.
    Echo,
    /// Answers one request with [`PAGE`] and closes.
    Http,
    /// Takes a PROXY protocol header (version 2), sends its body back in hex
    /// as one line, then echoes.
    Proxied,
    /// On the line `up`: reads to the end and answers with the SHA-256 in hex.
    /// On the line `down N`: sends `N` bytes of [`Pattern`] and closes.
    Bulk,
}

/// A running server; it runs as long as the process.
pub(crate) struct Backend {
    port: u16,
}

impl Backend {
    /// Starts a server on a free port of 127.0.0.1.
    pub(crate) fn start(kind: Kind) -> io::Result<Self> {
        Self::start_at(kind, (Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Starts a server at this address, in a network of the test's own.
    pub(crate) fn start_at(kind: Kind, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let port = listener.local_addr()?.port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    // A client that breaks off is the test's affair.
                    let _ = serve(kind, stream);
                });
            }
        });
        Ok(Self { port })
    }

    /// Its port.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }
}

fn serve(kind: Kind, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // Sessions that are held open for long go through the echo server.
    if !matches!(kind, Kind::Echo | Kind::Proxied) {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
    }
    match kind {
        Kind::Echo => echo(stream),
        Kind::Proxied => proxied(stream),
        Kind::Http => http(stream),
        Kind::Bulk => bulk(stream),
    }
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    io::copy(&mut stream, &mut writer)?;
    writer.shutdown(Shutdown::Write)
}

fn proxied(mut stream: TcpStream) -> io::Result<()> {
    let mut head = [0; 16];
    stream.read_exact(&mut head)?;
    if head[..14] != *b"\r\n\r\n\0\r\nQUIT\n\x21\x11" {
        return Err(io::Error::other("no PROXY header for TCP over IPv4"));
    }
    let mut body = vec![0; usize::from(u16::from_be_bytes([head[14], head[15]]))];
    stream.read_exact(&mut body)?;
    let hex: String = body.iter().map(|b| format!("{b:02x}")).collect();
    writeln!(stream, "{hex}")?;
    echo(stream)
}

fn http(stream: TcpStream) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut lines = BufReader::new(stream).lines();
    while lines.next().transpose()?.is_some_and(|l| !l.is_empty()) {}
    write!(
        writer,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{PAGE}",
        PAGE.len()
    )?;
    writer.shutdown(Shutdown::Write)
}

fn bulk(stream: TcpStream) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(CHUNK, stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if let Some(count) = line.strip_prefix("down ") {
        let count: u64 = count.trim().parse().map_err(io::Error::other)?;
        io::copy(&mut Pattern::new(count), &mut writer)?;
    } else {
        writeln!(writer, "{}", sha256(&mut reader)?)?;
    }
    writer.shutdown(Shutdown::Write)
}

/// The SHA-256 of everything in `reader`, in hex.
pub(crate) fn sha256(reader: &mut impl Read) -> io::Result<String> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        context.update(&buffer[..count]);
    }
    let bytes = context.finish();
    Ok(bytes.as_ref().iter().map(|b| format!("{b:02x}")).collect())
}

/// Bytes that don't repeat, so that none can be lost, doubled or moved
/// unnoticed: the numbers of an xorshift generator.
pub(crate) struct Pattern {
    state: u64,
    left: u64,
}

impl Pattern {
    /// The first `count` bytes.
    pub(crate) const fn new(count: u64) -> Self {
        Self {
            state: 0x9e37_79b9_7f4a_7c15,
            left: count,
        }
    }
}

impl Read for Pattern {
    /// Whole numbers, so that the bytes are the same however they are read.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut written = 0;
        for chunk in buffer.chunks_mut(8) {
            let length = self.left.min(8) as usize;
            if length == 0 || chunk.len() < 8 {
                break;
            }
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            chunk[..length].copy_from_slice(&self.state.to_le_bytes()[..length]);
            written += length;
            self.left -= length as u64;
        }
        Ok(written)
    }
}
