//! The backend of both systems: HTTP without TLS, in this process.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::thread;

use anyhow::{Context, Result};

/// A thread for each of some thousand connections.
const STACK: usize = 128 * 1024;
/// The longest head of a request.
const MAX_HEAD: u64 = 16 * 1024;
const MAX_BODY: usize = 64 << 20;

/// What is asked for.
pub(super) const SMALL: &str = "/small";
/// A body of [`BULK`] bytes.
pub(super) const DOWN: &str = "/down";
/// Takes a body.
pub(super) const UP: &str = "/up";
/// Bytes of one transfer.
pub(super) const BULK: usize = 1 << 20;

/// The answer to a small request.
pub(super) const SMALL_BODY: &[u8] = b"here\n";

/// The body of [`DOWN`].
pub(super) fn bulk() -> Vec<u8> {
    (0..BULK).map(|at| (at % 251) as u8).collect()
}

/// The answer to a body of so many bytes.
pub(super) fn taken(bytes: usize) -> String {
    format!("{bytes} bytes\n")
}

/// Serves at an address as long as this process lives; its port.
pub(super) fn start(address: Ipv4Addr) -> io::Result<u16> {
    let listener = TcpListener::bind((address, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serving = thread::Builder::new().stack_size(STACK);
            // An unserved client shows by the missing answer.
            let _ = serving.spawn(move || serve(stream));
        }
    });
    Ok(port)
}

/// The same in a process of its own, which ends with the thread that starts it; its port.
pub(super) fn apart(address: Ipv4Addr) -> Result<u16> {
    let program = env::current_exe().context("where this program is")?;
    let mut serving = qemu::bound_to_thread(&program)
        .args(["bench", "--serve", &address.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = serving.stdout.take().context("no output")?;
    let mut told = String::new();
    BufReader::new(output).read_line(&mut told)?;
    told.trim().parse().context("the backend's port")
}

/// What [`apart`] starts: tells its port, and serves until it is ended.
///
/// # Errors
/// Nothing can listen there.
pub(in crate::bench) fn serve_for_good(address: Ipv4Addr) -> Result<()> {
    qemu::allow_many_files();
    let port = start(address)?;
    crate::screen::print_line(port);
    loop {
        thread::park();
    }
}

fn serve(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // One file for each of many connections.
    let mut reader = BufReader::new(&stream);
    let mut writer = &stream;
    while let Some(head) = head(&mut reader)? {
        let mut left = head.length;
        let mut buffer = vec![0; left.min(64 * 1024)];
        while left > 0 {
            let part = left.min(buffer.len());
            let read = reader.read(buffer.get_mut(..part).unwrap_or_default())?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= read;
        }
        let body = match head.path.as_str() {
            SMALL => SMALL_BODY.to_vec(),
            DOWN => bulk(),
            UP => taken(head.length).into_bytes(),
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        let ending = if head.is_last { "close" } else { "keep-alive" };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
             Connection: {ending}\r\n\r\n",
            body.len()
        );
        writer.write_all(&[answer.as_bytes(), &body].concat())?;
        if head.is_last {
            writer.shutdown(Shutdown::Write)?;
            io::copy(&mut reader, &mut io::sink())?;
            break;
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    path: String,
    length: usize,
    is_last: bool,
}

/// Reads the head of a request; `None` at the end of the stream.
fn head(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let mut head = Head {
        path: String::new(),
        length: 0,
        is_last: false,
    };
    let mut line = String::new();
    let mut limited = reader.take(MAX_HEAD);
    if limited.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    head.path = words.nth(1).ok_or_else(bad)?.to_string();
    head.is_last = words.next() == Some("HTTP/1.0");
    loop {
        line.clear();
        if limited.read_line(&mut line)? == 0 {
            return Err(bad());
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => head.length = value.parse().map_err(|_| bad())?,
            "connection" => head.is_last = value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    if head.length > MAX_BODY {
        return Err(bad());
    }
    Ok(Some(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_to_the_end_of_its_head() {
        let text = "POST /up HTTP/1.1\r\nHost: x\r\ncontent-length: 3\r\n\r\nabcGET";
        let mut reader = BufReader::new(text.as_bytes());
        let found = head(&mut reader).unwrap().unwrap();
        let expected = Head {
            path: UP.into(),
            length: 3,
            is_last: false,
        };
        assert_eq!(found, expected);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "abcGET");
        let old = "GET /small HTTP/1.0\r\n\r\n";
        assert!(head(&mut old.as_bytes()).unwrap().unwrap().is_last);
        assert_eq!(head(&mut &b""[..]).unwrap(), None);
        assert!(head(&mut &b"GET / HTTP/1.1\r\nHost: x\r\n"[..]).is_err());
    }

    #[test]
    fn a_body_is_taken_and_counted() {
        let port = start(Ipv4Addr::LOCALHOST).unwrap();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let request = "POST /up HTTP/1.1\r\nContent-Length: 70000\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        stream.write_all(&vec![7; 70_000]).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("\r\n\r\n70000 bytes\n"), "{answer}");
    }
}
