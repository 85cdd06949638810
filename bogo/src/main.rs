//! The shim of BoringSSL's protocol tests.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    bogo::shim::main(&arguments)
}
