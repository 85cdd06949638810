//! Whether the key store takes as long for a wrong padding as for a right one (R21):
//! instructions of each, for `cargo xtask bench
//! --static-rsa` to compare.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use ipc::badge::Badge;
use ipc::bounded::{Bytes, List};
use ipc::keystore::{Answer, KeyKind, KeyringIndex, Keystore, PRE_MASTER, Request};
use ipc::provision::{Crls, Keyring, Keyrings, KeystoreData, PrivateKey};
use ipc::stats::Page;
use ipc::transport::{MAX_MESSAGE, Protocol, decode};
use keystore_server::{Server, firmware};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{KeyPair, RsaKeyPair};
use sel4::log;

use crate::meter::Meter;

/// Decryptions of each kind.
const ROUNDS: usize = 200;
/// Bytes of the modulus.
const LENGTH: usize = 256;
const VERSION: u16 = 0x0303;

/// What is wrong with a padding; [`Kind::Good`] is what others are compared with.
#[derive(Clone, Copy)]
enum Kind {
    Good,
    /// The same once more: what two measurements of one thing differ by.
    GoodToo,
    FirstByte,
    ZeroAtOnce,
    ZeroLate,
    NoZero,
    Version,
    Everything,
}

const KINDS: [(Kind, &str); 8] = [
    (Kind::Good, "good"),
    (Kind::GoodToo, "good_too"),
    (Kind::FirstByte, "first_byte"),
    (Kind::ZeroAtOnce, "zero_at_once"),
    (Kind::ZeroLate, "zero_late"),
    (Kind::NoZero, "no_zero"),
    (Kind::Version, "version"),
    (Kind::Everything, "everything"),
];

/// Counts what a decryption takes, the kinds in random order.
pub(crate) fn measure(meter: &Meter, Keyrings(rings): &Keyrings) {
    let random = SystemRandom::new();
    let key = rings.iter().find_map(|ring| {
        let key = ring.key.as_ref()?;
        (key.kind == KeyKind::Rsa).then_some(key)
    });
    let Some(key) = key else { panic!("no RSA key") };
    let Some(params) = modulus(&key.pkcs8) else {
        panic!("no modulus");
    };
    let mut server = key_store(key);
    let mut plan: Vec<(Kind, &str)> = (0..ROUNDS).flat_map(|_| KINDS).collect();
    shuffle(&mut plan, &random);
    // Not grown in between: the heap is to look the same each time.
    let mut counts = KINDS.map(|_| Vec::with_capacity(ROUNDS));
    // What is filled once is filled before anything counts.
    for _ in 0..4 {
        decrypt(meter, &mut server, &params, Kind::Good, &random);
    }
    for (kind, _) in plan {
        let count = decrypt(meter, &mut server, &params, kind, &random);
        if let Some(counts) = counts.get_mut(kind as usize) {
            counts.push(count);
        }
    }
    report("all", &counts);
    // An interrupt in between is noise: the quiet ones say more.
    let mut every: Vec<u64> = counts.iter().flatten().copied().collect();
    every.sort_unstable();
    let bound = every.get(every.len() / 4 * 3).copied().unwrap_or(0);
    for counts in &mut counts {
        counts.retain(|count| *count <= bound);
    }
    report("quiet", &counts);
}

/// Number, mean and variance of each kind.
fn report(which: &str, counts: &[Vec<u64>]) {
    for ((_, name), counts) in KINDS.iter().zip(counts) {
        let number = counts.len() as f64;
        let mean = counts.iter().map(|count| *count as f64).sum::<f64>() / number;
        let squares = counts.iter().map(|count| {
            let away = *count as f64 - mean;
            away * away
        });
        let variance = squares.sum::<f64>() / (number - 1.0);
        log!("figure static_rsa_{which}_count_{name} {number}");
        log!("figure static_rsa_{which}_mean_{name} {mean}");
        log!("figure static_rsa_{which}_variance_{name} {variance}");
    }
}

fn key_store(key: &PrivateKey) -> Server<'static> {
    let ring = Keyring {
        label: ipc::tls::Label::default(),
        roles: vec![],
        decrypts: true,
        schemes: List::new(),
        key: Some(PrivateKey {
            kind: key.kind,
            pkcs8: key.pkcs8.clone(),
        }),
        chain: vec![],
        trust: vec![],
        crls: Crls::default(),
        ocsp: None,
    };
    let Ok(blob) = postcard::to_allocvec(&KeystoreData::open(Keyrings(vec![ring]))) else {
        panic!("no key ring");
    };
    let Ok(server) = Server::new(&blob, Box::leak(Box::<Page>::default()), firmware::absent) else {
        panic!("no key store");
    };
    server
}

fn decrypt(
    meter: &Meter,
    server: &mut Server<'_>,
    params: &BoxedMontyParams,
    kind: Kind,
    random: &SystemRandom,
) -> u64 {
    let Some(encrypted) = encrypted(params, kind, random) else {
        panic!("not encrypted");
    };
    let request = Request::Decrypt {
        keyring: KeyringIndex(0),
        client_version: VERSION,
        encrypted,
    };
    let mut message = [0; MAX_MESSAGE];
    let Ok(message) = postcard::to_slice(&request, &mut message) else {
        panic!("no message");
    };
    let mut reply = [0; MAX_MESSAGE];
    let start = meter.start();
    let length = server.serve(Badge::Client(1).to_word(), message, &mut reply);
    let count = meter.since(&start);
    let answer = decode::<<Keystore as Protocol>::Reply>(reply.get(..length).unwrap_or_default());
    if !matches!(answer, Some(Ok(Answer::PreMaster(_)))) {
        panic!("not decrypted");
    }
    count
}

/// A ciphertext whose padding is of this kind and random otherwise.
fn encrypted(params: &BoxedMontyParams, kind: Kind, random: &SystemRandom) -> Option<Bytes<512>> {
    let mut padded = vec![0; LENGTH];
    random.fill(&mut padded).ok()?;
    for byte in padded.iter_mut().filter(|byte| **byte == 0) {
        *byte = 7;
    }
    let end = LENGTH - PRE_MASTER - 1;
    let [high, low] = VERSION.to_be_bytes();
    let mut set = |place: usize, to: u8| {
        if let Some(byte) = padded.get_mut(place) {
            *byte = to;
        }
    };
    for (place, to) in [(0, 0), (1, 2), (end, 0), (end + 1, high), (end + 2, low)] {
        set(place, to);
    }
    match kind {
        Kind::Good | Kind::GoodToo => {}
        Kind::FirstByte => set(0, 1),
        Kind::ZeroAtOnce => set(2, 0),
        Kind::ZeroLate => set(end - 1, 0),
        Kind::NoZero => set(end, 1),
        Kind::Version => set(end + 2, 1),
        Kind::Everything => {
            for (place, to) in [(0, 1), (1, 7), (end, 9), (end + 1, 9)] {
                set(place, to);
            }
        }
    }
    let bits = params.bits_precision();
    let number = BoxedUint::from_be_slice(&padded, bits).ok()?;
    let form = BoxedMontyForm::new(number, params);
    let power = form.pow(&BoxedUint::from(65_537u64));
    Bytes::from_slice(&power.retrieve().to_be_bytes()).ok()
}

/// RFC 8017 §A.1.1: SEQUENCE { modulus with a zero in front, exponent }.
fn modulus(pkcs8: &[u8]) -> Option<BoxedMontyParams> {
    let pair = RsaKeyPair::from_pkcs8(pkcs8).ok()?;
    let public = pair.public_key().as_ref();
    let modulus = public.get(9..9 + LENGTH)?;
    let modulus = BoxedUint::from_be_slice(modulus, 8 * LENGTH as u32).ok()?;
    Some(BoxedMontyParams::new(Odd::new(modulus).into_option()?))
}

fn shuffle<T>(list: &mut [T], random: &SystemRandom) {
    for place in (1..list.len()).rev() {
        let mut bytes = [0; 8];
        if random.fill(&mut bytes).is_err() {
            panic!("no randomness");
        }
        let other = u64::from_le_bytes(bytes) % (place as u64 + 1);
        list.swap(place, other as usize);
    }
}
