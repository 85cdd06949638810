//! The cross matrix: both roles, both versions, three kinds of key, with and
//! without a client's certificate, full and resumed, against OpenSSL and GnuTLS
//! (R2, R6, R7, R10, R33).

use crate::harness::backend::PAGE;
use crate::harness::evidence::{Handshake, sha256_hex};
use crate::harness::program::{gnutls_with, openssl};
use crate::harness::site::{MATRIX_KEYS, Site, UPSTREAMS, port, sending_port};
use crate::harness::system;
use crate::harness::upstream::Program;
use crate::upstream::ask;

/// One cell; full and resumed are tried in each.
#[derive(Clone, Copy, Debug)]
struct Cell {
    mode: &'static str,
    program: Program,
    /// The server's: its place in [`MATRIX_KEYS`].
    key: usize,
    is_tls13: bool,
    /// The client shows one.
    has_certificate: bool,
}

/// Every cell.
fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for mode in ["autonomous", "directed"] {
        for program in [Program::OpenSsl, Program::GnuTls] {
            for key in 0..MATRIX_KEYS.len() {
                for is_tls13 in [false, true] {
                    for has_certificate in [false, true] {
                        cells.push(Cell {
                            mode,
                            program,
                            key,
                            is_tls13,
                            has_certificate,
                        });
                    }
                }
            }
        }
    }
    cells
}

/// Runs every cell, and tells of all that went wrong.
fn each(run: impl Fn(Cell) -> Result<(), String>) {
    let wrong: Vec<String> = cells()
        .into_iter()
        .filter_map(|cell| Some(format!("{cell:?}: {}", run(cell).err()?)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check(
    cell: Cell,
    made: Option<&Handshake>,
    peer: Option<&str>,
    resumed: &str,
) -> Result<(), String> {
    let made = made.ok_or("no handshake")?;
    if !made.done {
        return Err(format!("{made:?}"));
    }
    let agreed = made.agreed();
    let version = if cell.is_tls13 { "TLSv1.3" } else { "TLSv1.2" };
    let has_peer = made.rest.contains(" peer=");
    let is_peer = match peer {
        Some(fingerprint) => has_peer && made.value("peer") == fingerprint,
        None => !has_peer,
    };
    for (what, is_right) in [
        ("version", agreed[0] == version),
        ("mode", agreed[2] == cell.mode),
        ("peer", is_peer),
        ("resumed", made.value("resumed") == resumed),
    ] {
        if !is_right {
            return Err(format!("{what}: {made:?}"));
        }
    }
    Ok(())
}

/// The gateway as client: a full handshake, then one that resumes it.
fn as_client(site: &Site, cell: Cell) -> Result<(), String> {
    let wanted = (cell.program, MATRIX_KEYS[cell.key]);
    let peer = UPSTREAMS.iter().position(|u| *u == wanted).unwrap();
    let port = in_mode(
        cell,
        sending_port(peer, cell.is_tls13, cell.has_certificate),
    );
    let fingerprint = sha256_hex(&site.material.chain(MATRIX_KEYS[cell.key])[0]);
    for resumed in ["false", "true"] {
        let start = site.guest.log().end();
        let answer = ask(site, port);
        let made = site.handshake_at(start, port);
        check(cell, made.as_ref(), Some(&fingerprint), resumed)?;
        if !answer.starts_with("HTTP/1.0 200") {
            return Err(format!("resumed={resumed}: {answer:?}"));
        }
        // OpenSSL's page says whether it has seen a client's certificate.
        let is_seen = !answer.contains("no client certificate available");
        if cell.program == Program::OpenSsl && is_seen != cell.has_certificate {
            return Err(format!("the server's view: {answer}"));
        }
    }
    Ok(())
}

/// The gateway as server: a full handshake, then one that resumes it.
fn as_server(site: &Site, cell: Cell) -> Result<(), String> {
    let port = in_mode(cell, port::MATRIX[cell.key]);
    let fingerprint = sha256_hex(&site.material.chain("client")[0]);
    let peer = cell.has_certificate.then_some(fingerprint.as_str());
    let start = site.guest.log().end();
    match cell.program {
        Program::OpenSsl => {
            let session = site.folder.join("session.pem");
            let session = session.to_str().unwrap();
            for (option, word) in [("-sess_out", "New, TLSv1."), ("-sess_in", "Reused, TLSv1.")] {
                let mut options = vec![if cell.is_tls13 { "-tls1_3" } else { "-tls1_2" }];
                let (chain, key) = client_files(site);
                if cell.has_certificate {
                    options.extend(["-cert", &chain, "-key", &key]);
                }
                options.extend([option, session]);
                let ended = openssl(site.address(port), &site.material, &options);
                if !ended.success || !ended.said.contains(word) || !ended.said.contains(PAGE) {
                    return Err(format!("{option}: {}", ended.said));
                }
            }
        }
        Program::GnuTls => {
            let version = if cell.is_tls13 { "1.3" } else { "1.2" };
            let priority = format!("NORMAL:-VERS-ALL:+VERS-TLS{version}");
            let (chain, key) = client_files(site);
            // Without the second one it waits for a ticket as long as it takes a round
            // trip to be (gnutls_session_get_data2(3)).
            let mut options = vec!["--resume", "--waitresumption"];
            if cell.has_certificate {
                options.extend(["--x509certfile", &chain, "--x509keyfile", &key]);
            }
            let ended = gnutls_with(site.address(port), &site.material, &priority, &options);
            let is_resumed = ended.said.contains("This is a resumed session");
            if !ended.success || !is_resumed || !ended.said.contains(PAGE) {
                return Err(ended.said);
            }
        }
        Program::ModernOpenSsl | Program::Go | Program::GoRetrying => {
            return Err("it has no cells".to_string());
        }
    }
    let made = site.handshakes_at(start, port);
    check(cell, made.first(), peer, "false")?;
    check(cell, made.get(1), peer, "true")
}

/// `port`, or its twin in directed mode.
fn in_mode(cell: Cell, port: u16) -> u16 {
    match cell.mode {
        "directed" => port::directed(port),
        _ => port,
    }
}

fn client_files(site: &Site) -> (String, String) {
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_string();
    (
        text(site.material.chain_file("client")),
        text(site.material.key_file("client")),
    )
}

#[test]
fn r02_r06_r12_r17_r22_r24_r26_r28_r33_every_cell_of_the_matrix_as_client() {
    let site = system();
    each(|cell| as_client(&site, cell));
}

#[test]
fn r02_r06_r33_every_cell_of_the_matrix_as_server() {
    let site = system();
    each(|cell| as_server(&site, cell));
}
