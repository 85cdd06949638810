//! What a CertificateVerify of TLS 1.3 signs (RFC 8446 §4.4.3): [`PADDING`], the context of
//! its sender, and the hash of the transcript.

use crate::names::Role;

/// What the signed content begins with.
pub const PADDING: [u8; 64] = [0x20; 64];

/// What comes after the padding: a sentence that names the sender, and a zero.
pub const fn context(sender: Role) -> &'static [u8] {
    match sender {
        Role::Server => b"TLS 1.3, server CertificateVerify\0",
        Role::Client => b"TLS 1.3, client CertificateVerify\0",
    }
}
