//! What the image builder hands to a domain at boot: postcard in a region that
//! this domain alone can read.

mod log;

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use tls::Role;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::control::Parameters;
use crate::keystore::KeyKind;
use crate::net::Address;
use crate::segment::Step;
use crate::tls::{Label, Mode, Protocol, Revocation, Schemes};

pub use log::{LogFormat, LogWords};

/// For the key store alone.
#[derive(Serialize, Deserialize)]
pub struct KeystoreData<K = Keyrings> {
    /// Its key rings.
    pub rings: Rings<K>,
    /// Who may replace them while the system runs: an Ed25519 public key (RFC
    /// 8032). `None`: no updates.
    pub signer: Option<[u8; 32]>,
}

impl<K> KeystoreData<K> {
    /// Rings in the clear, for good.
    pub const fn open(rings: K) -> Self {
        Self {
            rings: Rings::Open(rings),
            signer: None,
        }
    }
}

/// Key rings on their way to the key store.
#[derive(Serialize, Deserialize)]
pub enum Rings<K = Keyrings> {
    /// In the clear.
    Open(K),
    /// Under a key that comes another way.
    Sealed(Sealed),
}

/// [`Keyrings`], encoded and sealed by AES-256-GCM (RFC 5116 §5.2) under the
/// key-encryption key.
#[derive(Serialize, Deserialize)]
pub struct Sealed {
    /// How the key comes from a passphrase, if it does; authenticated with the
    /// rings.
    pub kdf: Option<Kdf>,
    /// The nonce.
    pub nonce: [u8; 12],
    /// Ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

impl Sealed {
    /// What the associated data begins with; [`Kdf`], encoded, follows.
    pub const CONTEXT: &[u8] = b"handoff key rings 1";

    /// The associated data.
    pub fn associated_data(&self) -> Vec<u8> {
        let kdf = postcard::to_allocvec(&self.kdf).unwrap_or_default();
        [Self::CONTEXT, &kdf].concat()
    }
}

/// Argon2id, version 1.3 (RFC 9106): how a key-encryption key comes from a
/// passphrase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kdf {
    /// The salt.
    pub salt: [u8; 16],
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

/// Bytes of the key-encryption key.
pub const KEK: usize = 32;
/// The firmware's file that holds it.
pub const KEK_FILE: &str = "opt/handoff/kek";

/// New key rings for those of the same labels.
#[derive(Serialize, Deserialize)]
pub struct Update<K = Keyrings> {
    /// Counts updates; the image's rings are version 0.
    pub version: u64,
    /// The rings.
    pub rings: Rings<K>,
}

/// How an [`Update`] stands on the line to the key store:
///
/// ```text
/// MAGIC, length of the update (u32, little-endian), signature, update (postcard)
/// ```
pub mod update {
    /// What it begins with.
    pub const MAGIC: [u8; 4] = *b"HKR1";
    /// Bytes of the signature (Ed25519, RFC 8032).
    pub const SIGNATURE: usize = 64;
    /// Bytes before the update.
    pub const HEADER: usize = MAGIC.len() + 4 + SIGNATURE;
    /// The longest update.
    pub const MAX: usize = 128 * 1024;
    /// What the signature is over, before the update itself.
    pub const CONTEXT: &[u8] = b"handoff key ring update 1";
    /// What the answer, one line, begins with.
    pub const ACCEPTED: &str = "accepted: ";
    /// The same for one that is refused.
    pub const REFUSED: &str = "refused: ";
}

/// All key rings.
#[derive(Default, Serialize, Deserialize)]
pub struct Keyrings(pub Vec<Keyring>);

/// One key ring.
#[derive(Serialize, Deserialize)]
pub struct Keyring {
    /// Its label, unique.
    pub label: Label,
    /// The roles that its key may sign in.
    pub roles: Vec<Role>,
    /// Whether its key may decrypt, for static RSA.
    pub decrypts: bool,
    /// What its key signs by, and nothing else.
    pub schemes: Schemes,
    /// The private key; `None` for a ring of trust anchors alone.
    pub key: Option<PrivateKey>,
    /// Certificates in DER, end entity first.
    pub chain: Vec<Vec<u8>>,
    /// Trust anchors in DER.
    pub trust: Vec<Vec<u8>>,
    /// Which certificates are revoked of those that lead to the anchors.
    pub crls: Crls,
    /// What an OCSP responder says of the end entity's certificate (RFC 6960 §4.2.1), in
    /// DER, at most [`MAX_OCSP`] bytes: for clients that ask (RFC 6066 §8).
    pub ocsp: Option<Vec<u8>>,
}

/// Bytes of the longest OCSP response.
pub const MAX_OCSP: usize = 16 * 1024;

/// The revocation lists of a key ring (CRLs, RFC 5280 §5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crls {
    /// What they have to say. Without any of them nothing is asked.
    pub revocation: Revocation,
    /// In DER, each shorter than [`MAX_CRL`].
    pub lists: Vec<Vec<u8>>,
}

/// Bytes of the longest revocation list: an offset into it has 16 bits.
pub const MAX_CRL: usize = u16::MAX as usize;

/// A private key in PKCS#8 DER (the builder converts SEC1 and PKCS#1). No
/// `Debug`; zeroized on drop.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct PrivateKey {
    /// Its kind.
    #[zeroize(skip)]
    pub kind: KeyKind,
    /// PKCS#8 DER.
    pub pkcs8: Vec<u8>,
}

/// For the network stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// How the system gets its IPv4 address. IPv6 is link-local, and by router
    /// advertisement if those are asked for.
    pub address: AddressConfig,
    /// Bytes of the largest IP packet on the link, within [`MTU`]; `None` for as
    /// many as the NIC supports.
    pub mtu: Option<u16>,
    /// Whether routers may give this system IPv6 addresses and routes (RFC 4862).
    /// Any host on the link can pose as a router.
    pub router_advertisements: bool,
    /// What each client may do, by the number in its badge.
    pub rights: Vec<NetworkRights>,
}

/// The least and the most of [`Network::mtu`]: what IPv6 asks of every link (RFC
/// 8200 §5), and what Ethernet carries (RFC 894).
pub const MTU: core::ops::RangeInclusive<u16> = 1280..=1500;

/// How an address is got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressConfig {
    /// RFC 2131.
    Dhcp,
    /// Fixed.
    Static {
        /// The address.
        address: Ipv4Addr,
        /// Bits of the network.
        prefix: u8,
        /// The router, if any.
        gateway: Option<Ipv4Addr>,
    },
}

/// What a client of the network stack may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRights {
    /// The number in its badge.
    pub client: u16,
    /// Ports to listen on.
    pub listen: Vec<u16>,
    /// Addresses to connect to.
    pub connect: Vec<Address>,
}

/// For the kernel shim: what each client may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimRights(pub Vec<ClientRights>);

/// What a client of the shim may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRights {
    /// The number in its badge.
    pub client: u16,
    /// Key rings by label.
    pub keyrings: Vec<Label>,
    /// Roles.
    pub roles: Vec<Role>,
    /// Modes.
    pub modes: Vec<Mode>,
    /// Whether it may have the session's keys.
    pub expose_keys: bool,
    /// Whether it may agree on static RSA.
    pub static_rsa: bool,
    /// Whether each segment of its directed handshakes is a line of the log.
    pub audit: bool,
    /// Steps that the shim refuses in directed handshakes.
    pub refused_steps: Vec<RefusedSteps>,
}

/// What a key ring is never used for, by any client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedSteps {
    /// The ring's label.
    pub keyring: Label,
    /// The steps, each once.
    pub steps: Vec<Step>,
}

/// For the gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway {
    /// What it serves.
    pub listeners: Vec<Listener>,
    /// What it logs.
    pub log: LogWords,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// For the log and the status page.
    pub name: String,
    /// TCP port.
    pub port: u16,
    /// What the handshake must use; `None` for clients without TLS, and where
    /// rules say it.
    pub tls: Option<Tls>,
    /// Rules in order: the first that matches says what the handshake must
    /// use; a client that none matches is refused.
    pub rules: Vec<Rule>,
    /// Where the plaintext goes.
    pub backend: Backend,
    /// How much of the gateway one client address may have.
    pub limits: Limits,
    /// How long the gateway waits, and for what.
    pub timeouts: Timeouts,
}

/// How much one client address may have at once, of all listeners together; a connection
/// to this listener is checked against these. An IPv6 address stands for all that share
/// its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Connections of every kind and state; and places in the channel to the network
    /// stack, where a client without TLS has one, and its backend's connection another.
    pub connections: u16,
    /// Handshakes in progress.
    pub handshakes: u16,
    /// Sessions: its own, and those with backends that it is the reason for.
    pub sessions: u16,
    /// Bits of an IPv6 address that count, 1 to 128.
    pub ipv6_prefix: u8,
}

impl Default for Limits {
    /// Less than the tables hold, so that no address has them all; more than the 1,500
    /// sessions that the image is made for.
    fn default() -> Self {
        Self {
            connections: 1536,
            handshakes: 192,
            sessions: 1504,
            // What one subscriber gets at least (RFC 6177 §2).
            ipv6_prefix: 64,
        }
    }
}

/// How long the gateway waits, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// For a byte, either way, on what is open.
    pub idle_ms: u32,
    /// For the head of a request to the status page, and then for its answer to go.
    pub request_ms: u32,
    /// For a backend to take a connection.
    pub connect_ms: u32,
    /// For the last bytes to go out when the other end was cut off.
    pub linger_ms: u32,
}

impl Timeouts {
    /// The most that [`Timeouts::idle_ms`] can be: the network stack closes a connection
    /// that is idle for longer.
    pub const MAX_IDLE_MS: u32 = 300_000;
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            idle_ms: Self::MAX_IDLE_MS,
            request_ms: 10_000,
            connect_ms: 10_000,
            linger_ms: 10_000,
        }
    }
}

/// The `tls` table of a listener or of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// Server or client.
    pub role: Role,
    /// Autonomous or directed.
    pub mode: Mode,
    /// What to agree to and insist on.
    pub parameters: Parameters,
    /// From accept to completion, in milliseconds.
    pub handshake_timeout_ms: u32,
}

/// Where a listener's plaintext goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backend {
    /// To a TCP server.
    Connect(Upstream),
    /// To the built-in status page.
    Status,
}

impl Backend {
    /// Whether it is reached by TLS.
    pub const fn is_secured(&self) -> bool {
        matches!(self, Self::Connect(Upstream { tls: Some(_), .. }))
    }
}

/// An upstream TCP server of the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// Where it listens.
    pub address: Address,
    /// How it learns who the client is, if it does.
    pub identity: Option<IdentityForm>,
    /// What the handshake with it must use; `None` for plaintext.
    pub tls: Option<Tls>,
}

impl Listener {
    /// What its handshakes must use: with clients, and with the backend.
    pub fn handshakes(&self) -> impl Iterator<Item = &Tls> {
        let upstream = match &self.backend {
            Backend::Connect(upstream) => upstream.tls.as_ref(),
            Backend::Status => None,
        };
        let rules = self.rules.iter().map(|rule| &rule.tls);
        self.tls.iter().chain(rules).chain(upstream)
    }
}

/// A rule of a listener. What is empty matches everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Where the client comes from.
    pub from: Vec<Prefix>,
    /// The name that it asks for, in lower case; `*.` stands for one label.
    pub server_names: Vec<String>,
    /// An ALPN name that it offers.
    pub alpn: Vec<Protocol>,
    /// What the handshake must use then.
    pub tls: Tls,
}

/// A range of addresses (RFC 4632, RFC 4291 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix {
    /// Its first address.
    pub address: IpAddr,
    /// Bits that count.
    pub bits: u8,
}

impl Prefix {
    /// Whether `address` is in the range. An IPv4 address that is written as
    /// IPv6 is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(range), IpAddr::V4(address)) => {
                let bits = u32::from(self.bits.min(32));
                let differing = range.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= bits
            }
            (IpAddr::V6(range), IpAddr::V6(address)) => {
                let bits = u32::from(self.bits.min(128));
                let differing = range.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= bits
            }
            _ => false,
        }
    }
}

/// How a backend learns who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdentityForm {
    /// By a header of the PROXY protocol, version 2, with the TLVs of TLS.
    ProxyV2,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_the_addresses_that_share_its_bits() {
        for (range, bits, inside, outside) in [
            ("10.0.0.0", 8, "10.255.0.1", "11.0.0.0"),
            ("192.0.2.5", 32, "192.0.2.5", "192.0.2.4"),
            ("0.0.0.0", 0, "255.255.255.255", "::1"),
            ("fd00::", 8, "fdff::1", "fe00::"),
            ("10.0.2.0", 24, "::ffff:10.0.2.9", "::ffff:10.0.3.9"),
        ] {
            let prefix = Prefix {
                address: range.parse().unwrap(),
                bits,
            };
            assert!(prefix.contains(inside.parse().unwrap()), "{inside}");
            assert!(!prefix.contains(outside.parse().unwrap()), "{outside}");
        }
    }
}
