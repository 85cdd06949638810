//! Keys, as rustls makes them.
//!
//! rustls can export a finished connection's keys, but derives them again for that:
//! eleven compressions of SHA-384 a handshake, a twentieth of all that the handshake
//! costs. So the suites that it gets here keep a copy of each key that it makes, and its
//! key log a copy of the secrets that keys come from (key capture, ADR 0033).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use rustls::crypto::ActiveKeyExchange;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, KeyBlockShape, MessageDecrypter,
    MessageEncrypter, OutboundOpaqueMessage, OutboundPlainMessage, Tls12AeadAlgorithm,
    Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::crypto::ring as provider;
use rustls::crypto::tls12::Prf;
use rustls::{
    CipherSuiteCommon, ConnectionTrafficSecrets, Error, KeyLog, SupportedCipherSuite,
    Tls12CipherSuite, Tls13CipherSuite,
};
use spin::Mutex;
use tls::protection::Key;
use tls::schedule13::{HashSecret, TrafficSecrets};
use tls::{Alert, CipherSuite, ContentType, Exporter, Secret, TrafficKey, Version};

use super::flight_check::FlightCheck;

/// NSS key log format: the first application traffic secrets of TLS 1.3.
const CLIENT_SECRET: &str = "CLIENT_TRAFFIC_SECRET_0";
const SERVER_SECRET: &str = "SERVER_TRAFFIC_SECRET_0";
/// Its exporter master secret.
const EXPORTER_SECRET: &str = "EXPORTER_SECRET";
/// RFC 5246 §6.3: what a master secret is expanded by, with the server's random and the
/// client's.
const KEY_EXPANSION: &[u8] = b"key expansion";

/// RFC 5116 §5.1: bytes of the nonce of every AEAD here.
const NONCE: usize = 12;

/// The latest keys and secrets of one handshake.
#[derive(Default)]
pub(crate) struct CapturedKeys {
    tx: Option<(Secret<32>, Secret<NONCE>)>,
    rx: Option<(Secret<32>, Secret<NONCE>)>,
    tx_next: Option<u64>,
    rx_next: Option<u64>,
    client: Option<HashSecret>,
    server: Option<HashSecret>,
    exporter: Option<Exporter>,
    alert: Option<Alert>,
    violation: Option<Alert>,
    entries: Option<u32>,
}

impl CapturedKeys {
    /// Later keys replace the present ones.
    pub(crate) fn update(&mut self, later: &mut Self) {
        fn replace<T>(old: &mut Option<T>, new: &mut Option<T>) {
            if new.is_some() {
                *old = new.take();
            }
        }
        replace(&mut self.tx, &mut later.tx);
        replace(&mut self.rx, &mut later.rx);
        replace(&mut self.tx_next, &mut later.tx_next);
        replace(&mut self.rx_next, &mut later.rx_next);
        replace(&mut self.client, &mut later.client);
        replace(&mut self.server, &mut later.server);
        replace(&mut self.exporter, &mut later.exporter);
        replace(&mut self.alert, &mut later.alert);
        replace(&mut self.violation, &mut later.violation);
        replace(&mut self.entries, &mut later.entries);
    }

    /// Whether any are in use.
    pub(crate) const fn has_keys(&self) -> bool {
        self.tx.is_some()
    }

    /// Whether what comes is opened by a key.
    pub(crate) const fn opens(&self) -> bool {
        self.rx.is_some()
    }

    /// The keys in use, out and in.
    pub(crate) fn keys(&mut self) -> Option<(TrafficKey, TrafficKey)> {
        Some((
            traffic_key(self.tx.take()?, self.tx_next?),
            traffic_key(self.rx.take()?, self.rx_next?),
        ))
    }

    /// The alert that rustls sealed.
    pub(crate) const fn alert(&self) -> Option<Alert> {
        self.alert
    }

    /// The alert that is due for what was opened, and rustls did not get.
    pub(crate) const fn violation(&self) -> Option<Alert> {
        self.violation
    }

    /// Entries of the lists of what was opened.
    pub(crate) fn entries(&self) -> u32 {
        self.entries.unwrap_or_default()
    }

    /// A record with a fatal alert, as the peer can read it now. The keys are used up.
    pub(crate) fn last_record(
        &mut self,
        suite: Option<CipherSuite>,
        alert: Alert,
    ) -> Option<Vec<u8>> {
        // In TLS 1.2 they are in use when Finished has gone with them.
        let is_sealing = |suite: CipherSuite| match suite.version() {
            Version::Tls13 => self.tx.is_some(),
            Version::Tls12 => self.tx_next.is_some_and(|next| next > 0),
        };
        let Some(suite) = suite.filter(|suite| is_sealing(*suite)) else {
            return Some(alert.fatal_record().to_vec());
        };
        let mut key = Key::new(suite, &traffic_key(self.tx.take()?, self.tx_next?)).ok()?;
        let (form, text) = (key.form(), alert.fatal());
        let mut record = alloc::vec![0; form.overhead() + text.len()];
        let at = form.plaintext_at();
        record.get_mut(at..at + text.len())?.copy_from_slice(&text);
        key.seal(ContentType::Alert, &mut record, text.len())?;
        Some(record)
    }

    /// TLS 1.3: the application traffic secrets.
    pub(crate) fn secrets(&mut self, suite: CipherSuite) -> Option<TrafficSecrets> {
        TrafficSecrets::new(suite, self.client.take()?, self.server.take()?)
    }

    /// What keying material for other protocols comes from.
    pub(crate) const fn exporter(&mut self) -> Option<Exporter> {
        self.exporter.take()
    }
}

fn traffic_key((key, iv): (Secret<32>, Secret<NONCE>), sequence: u64) -> TrafficKey {
    TrafficKey { key, iv, sequence }
}

/// Where captured keys are kept. They are passed on in place, in memory that the heap
/// clears when it is freed: moving a value would leave its bytes.
type Shared = Arc<Mutex<Option<Box<CapturedKeys>>>>;

/// Suites whose keys are captured. One handshake works at a time, and the captured keys
/// are taken after each step of it.
pub(crate) struct KeyCapture {
    captured: Shared,
    suites: Vec<SupportedCipherSuite>,
}

impl KeyCapture {
    /// Makes the suites. rustls wants them for ever, so they are never freed:
    /// call it once for a server.
    pub(crate) fn new() -> Self {
        let captured: Shared = Arc::default();
        let suites = provider::ALL_CIPHER_SUITES
            .iter()
            .map(|suite| wrapped(*suite, &captured))
            .collect();
        Self { captured, suites }
    }

    /// rustls' suite for `suite`.
    pub(crate) fn suite(&self, suite: CipherSuite) -> Option<SupportedCipherSuite> {
        let is_it = |s: &SupportedCipherSuite| u16::from(s.suite()) == suite.number();
        self.suites.iter().copied().find(is_it)
    }

    /// A key log for rustls that keeps the traffic secrets here.
    pub(crate) fn key_log(&self) -> Arc<dyn KeyLog> {
        Arc::new(Secrets(self.captured.clone()))
    }

    /// What was captured since the last call.
    pub(crate) fn take(&self) -> Option<Box<CapturedKeys>> {
        self.captured.lock().take()
    }
}

fn wrapped(suite: SupportedCipherSuite, captured: &Shared) -> SupportedCipherSuite {
    fn common(of: &CipherSuiteCommon) -> CipherSuiteCommon {
        CipherSuiteCommon {
            suite: of.suite,
            hash_provider: of.hash_provider,
            confidentiality_limit: of.confidentiality_limit,
        }
    }
    let captured = captured.clone();
    match suite {
        SupportedCipherSuite::Tls13(of) => {
            let inner = of.aead_alg;
            SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                common: common(&of.common),
                hkdf_provider: of.hkdf_provider,
                aead_alg: Box::leak(Box::new(Aead { inner, captured })),
                quic: None,
            })))
        }
        SupportedCipherSuite::Tls12(of) => {
            let (inner, prf) = (of.aead_alg, of.prf_provider);
            SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                common: common(&of.common),
                prf_provider: Box::leak(Box::new(MasterPrf {
                    inner: prf,
                    captured: captured.clone(),
                })),
                kx: of.kx,
                sign: of.sign,
                aead_alg: Box::leak(Box::new(Aead { inner, captured })),
            })))
        }
    }
}

struct Secrets(Shared);

impl KeyLog for Secrets {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        let Ok(secret) = HashSecret::from_slice(secret) else {
            return;
        };
        let mut captured = self.0.lock();
        let captured = captured.get_or_insert_default();
        match label {
            CLIENT_SECRET => captured.client = Some(secret),
            SERVER_SECRET => captured.server = Some(secret),
            EXPORTER_SECRET => captured.exporter = Some(Exporter::tls13(secret)),
            _ => {}
        }
    }

    fn will_log(&self, label: &str) -> bool {
        [CLIENT_SECRET, SERVER_SECRET, EXPORTER_SECRET].contains(&label)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

/// A PRF by which the master secret of TLS 1.2 is captured, with both randoms (RFC 5705 §4).
struct MasterPrf {
    inner: &'static dyn Prf,
    captured: Shared,
}

impl Prf for MasterPrf {
    fn for_key_exchange(
        &self,
        output: &mut [u8; 48],
        exchange: Box<dyn ActiveKeyExchange>,
        peer: &[u8],
        label: &[u8],
        seed: &[u8],
    ) -> Result<(), Error> {
        self.inner
            .for_key_exchange(output, exchange, peer, label, seed)
    }

    fn for_secret(&self, output: &mut [u8], secret: &[u8], label: &[u8], seed: &[u8]) {
        if label == KEY_EXPANSION
            && let Ok(secret) = HashSecret::from_slice(secret)
            && let Some((server, client)) = seed.split_first_chunk()
            && let Some((client, [])) = client.split_first_chunk()
        {
            let exporter = Exporter::tls12(secret, *client, *server);
            self.captured.lock().get_or_insert_default().exporter = Some(exporter);
        }
        self.inner.for_secret(output, secret, label, seed);
    }
}

/// An AEAD whose keys are captured.
struct Aead<T: ?Sized + 'static> {
    inner: &'static T,
    captured: Shared,
}

impl<T: ?Sized> Aead<T> {
    fn catch_tx(&self, key: &AeadKey, iv: [&[u8]; 2]) {
        let mut captured = self.captured.lock();
        let captured = captured.get_or_insert_default();
        captured.tx = copy(key, iv);
        captured.tx_next = Some(0);
    }

    fn catch_rx(&self, key: &AeadKey, iv: [&[u8]; 2]) {
        let mut captured = self.captured.lock();
        let captured = captured.get_or_insert_default();
        captured.rx = copy(key, iv);
        captured.rx_next = Some(0);
    }

    fn counting<C>(&self, cipher: C) -> Box<Counting<C>> {
        Box::new(Counting {
            cipher,
            captured: self.captured.clone(),
            check: None,
        })
    }
}

/// A key and its nonce base, of two parts.
fn copy(key: &AeadKey, [salt, rest]: [&[u8]; 2]) -> Option<(Secret<32>, Secret<NONCE>)> {
    let mut iv = zeroize::Zeroizing::new([0; NONCE]);
    for (to, from) in iv.iter_mut().zip(salt.iter().chain(rest)) {
        *to = *from;
    }
    Some((
        Secret::from_slice(key.as_ref()).ok()?,
        Secret::from_slice(&*iv).ok()?,
    ))
}

impl Tls13AeadAlgorithm for Aead<dyn Tls13AeadAlgorithm> {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        self.catch_tx(&key, [iv.as_ref(), &[]]);
        self.counting(self.inner.encrypter(key, iv))
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        self.catch_rx(&key, [iv.as_ref(), &[]]);
        let mut counting = self.counting(self.inner.decrypter(key, iv));
        counting.check = Some(FlightCheck::default());
        counting
    }

    fn key_len(&self) -> usize {
        self.inner.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.inner.extract_keys(key, iv)
    }
}

impl Tls12AeadAlgorithm for Aead<dyn Tls12AeadAlgorithm> {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        self.catch_tx(&key, [iv, extra]);
        self.counting(self.inner.encrypter(key, iv, extra))
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        self.catch_rx(&key, [iv, &[]]);
        self.counting(self.inner.decrypter(key, iv))
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        self.inner.key_block_shape()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.inner.extract_keys(key, iv, explicit)
    }
}

/// Counts the records of a key.
struct Counting<C> {
    cipher: C,
    captured: Shared,
    /// TLS 1.3, of what comes in.
    check: Option<FlightCheck>,
}

impl MessageEncrypter for Counting<Box<dyn MessageEncrypter>> {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        sequence: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let mut captured = self.captured.lock();
        let of = captured.get_or_insert_default();
        of.tx_next = sequence.checked_add(1);
        if message.typ == rustls::ContentType::Alert {
            of.alert = message.payload.to_vec().get(1).copied().map(Alert);
        }
        drop(captured);
        self.cipher.encrypt(message, sequence)
    }

    fn encrypted_payload_len(&self, length: usize) -> usize {
        self.cipher.encrypted_payload_len(length)
    }
}

impl MessageDecrypter for Counting<Box<dyn MessageDecrypter>> {
    fn decrypt<'a>(
        &mut self,
        message: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let mut captured = self.captured.lock();
        captured.get_or_insert_default().rx_next = sequence.checked_add(1);
        drop(captured);
        let message = self.cipher.decrypt(message, sequence)?;
        if message.typ == rustls::ContentType::Handshake
            && let Some(check) = &mut self.check
        {
            let checked = check.look_at(message.payload);
            let mut captured = self.captured.lock();
            let of = captured.get_or_insert_default();
            of.entries = Some(check.entries());
            if let Err(alert) = checked {
                of.violation = Some(alert);
                // Of which rustls tells the peer nothing.
                return Err(Error::General(String::new()));
            }
        }
        Ok(message)
    }
}
