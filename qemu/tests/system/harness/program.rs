//! Clients that are programs of their own: OpenSSL, GnuTLS, curl, Go, Chromium.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::go;
use super::material::Material;
use super::python::{MODERN_OPENSSL, interpreter};

/// One request; the server closes after its answer.
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// How a program exited.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Whether it calls that a success.
    pub(crate) success: bool,
    /// Everything it said, standard output first.
    pub(crate) said: String,
}

impl Ended {
    /// Fails the test unless the program succeeded and said each of `words`.
    #[track_caller]
    pub(crate) fn expect(&self, words: &[&str]) {
        assert!(self.success, "{}", self.said);
        for word in words {
            assert!(self.said.contains(word), "no {word:?} in:\n{}", self.said);
        }
    }
}

/// `openssl s_client`: asks for a page, reads it to the end.
pub(crate) fn openssl(address: SocketAddr, material: &Material, options: &[&str]) -> Ended {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-connect", &address.to_string()])
        .args(["-servername", "localhost", "-verify_hostname", "localhost"])
        .args(["-verify_return_error", "-ign_eof", "-CAfile"])
        .arg(material.authority())
        .args(options);
    run(command, REQUEST)
}

/// `openssl s_client` that names no server: asks for a page.
pub(crate) fn openssl_unnamed(address: SocketAddr, material: &Material, version: &str) -> Ended {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-connect", &address.to_string()])
        .args(["-noservername", version, "-ign_eof", "-CAfile"])
        .arg(material.authority());
    run(command, REQUEST)
}

/// `openssl s_client` over TLS 1.2 that tries to renegotiate.
pub(crate) fn openssl_renegotiating(address: SocketAddr, material: &Material) -> Ended {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-tls1_2", "-connect", &address.to_string()])
        .args(["-servername", "localhost", "-CAfile"])
        .arg(material.authority());
    run(command, "R\n")
}

/// `gnutls-cli`: asks for a page, reads it to the end.
pub(crate) fn gnutls(address: SocketAddr, material: &Material, priority: &str) -> Ended {
    gnutls_with(address, material, priority, &[])
}

/// The same with more options.
pub(crate) fn gnutls_with(
    address: SocketAddr,
    material: &Material,
    priority: &str,
    options: &[&str],
) -> Ended {
    let mut command = Command::new("gnutls-cli");
    command
        .args(["--port", &address.port().to_string(), "--priority"])
        .args([priority, "--sni-hostname", "localhost"])
        .args(["--verify-hostname", "localhost", "--x509cafile"])
        .arg(material.authority())
        .args(options)
        .arg("127.0.0.1");
    run(command, REQUEST)
}

/// OpenSSL of today: asks for a page over TLS 1.3, twice.
pub(crate) fn modern_openssl(address: SocketAddr, material: &Material) -> Ended {
    let mut command = Command::new(interpreter());
    command
        .args(["-c", MODERN_OPENSSL, "client"])
        .arg(address.port().to_string())
        .arg(material.authority());
    run(command, "")
}

/// Go: asks for a page over TLS 1.3, twice.
pub(crate) fn go(address: SocketAddr, material: &Material, groups: &[&str]) -> Ended {
    let mut command = Command::new(go::program());
    command
        .args(["client", &address.port().to_string()])
        .arg(material.authority())
        .args(groups);
    run(command, "")
}

/// `curl` for `path`.
pub(crate) fn curl<S: AsRef<OsStr>>(
    address: SocketAddr,
    material: &Material,
    path: &str,
    options: &[S],
) -> Ended {
    let port = address.port();
    let mut command = Command::new("curl");
    command
        // Neither this person's settings (which only a first argument turns
        // off) nor a proxy.
        .args(["--disable", "--noproxy", "*", "--http1.1", "--verbose"])
        .args(["--silent", "--show-error", "--cacert"])
        .arg(material.authority())
        .args(["--resolve", &format!("localhost:{port}:127.0.0.1")])
        .args(options)
        .arg(format!("https://localhost:{port}{path}"));
    run(command, "")
}

/// Chromium without a window, in a home of its own that trusts the authority:
/// what the page became.
pub(crate) fn chromium(address: SocketAddr, material: &Material, home: &Path) -> Ended {
    // Files of a previous run would prompt for a password.
    let _ = fs::remove_dir_all(home);
    let store = home.join(".pki/nssdb");
    fs::create_dir_all(&store).unwrap();
    let database = format!("sql:{}", store.display());
    let mut certutil = Command::new("certutil");
    certutil.args(["-d", &database, "-N", "--empty-password"]);
    run(certutil, "").expect(&[]);
    let mut certutil = Command::new("certutil");
    certutil
        .args(["-d", &database, "-A", "-t", "C,,", "-n", "test", "-i"])
        .arg(material.authority());
    run(certutil, "").expect(&[]);
    let mut command = Command::new("chromium");
    command
        .env("HOME", home)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu"])
        .args(["--disable-background-networking", "--no-proxy-server"])
        .arg(format!("--user-data-dir={}", home.join("data").display()))
        .arg("--dump-dom")
        .arg(format!("https://localhost:{}/", address.port()));
    run(command, "")
}

/// Runs a program with `input`; kills it when it takes too long.
pub(crate) fn run(mut command: Command, input: &str) -> Ended {
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => panic!("{program}: {error}; `cargo xtask setup` installs it"),
    };
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let mut stdin = child.stdin.take().unwrap();
    // A program that has exited already is judged by its exit. Its input stays open until
    // then: gnutls-cli hangs up at its end.
    let _ = stdin.write_all(input.as_bytes());
    let _ = stdin.flush();
    let ended = wait(&mut child, PATIENCE);
    drop(stdin);
    let said = stdout.join().unwrap() + &stderr.join().unwrap();
    match ended {
        Some(success) => Ended { success, said },
        None => panic!(
            "{program}: not done after {} s:\n{said}",
            PATIENCE.as_secs()
        ),
    }
}

fn wait(child: &mut Child, patience: Duration) -> Option<bool> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.success());
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
