//! OCSP responses of a key ring, for clients that ask for them.

use std::sync::Arc;
use std::time::Duration;

use crate::client::{Client, complete, established};
use crate::credulous::Visitor;
use crate::revoking::{BOTH, HOUR, RING, asked, of_rustls, world};
use crate::world::{World, authority, keyring, set_passed};
use ipc::control::Parameters;
use ipc::provision::Keyring;
use ipc::tls::{Mode, PeerAuthentication};
use rustls::ClientConfig;
use tls::Version;

/// Without a client's certificate.
fn request(version: Version) -> Parameters {
    Parameters {
        peer_authentication: PeerAuthentication::None,
        ..asked(version)
    }
}

fn config(shown: &Arc<Visitor>, version: Version) -> Arc<ClientConfig> {
    let provider = rustls::crypto::ring::default_provider();
    let mut config = ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&of_rustls(version))
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(shown.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// What a client was shown, and whether it was resumed.
fn visit(
    world: &mut World,
    config: &Arc<ClientConfig>,
    shown: &Visitor,
    version: Version,
) -> (Vec<u8>, bool) {
    shown.shown.lock().unwrap().clear();
    world.start(0, request(version));
    let mut client = Client::with(config.clone(), "localhost");
    let resumed = established(complete(world, 0, &mut client)).resumed;
    client.receive(&world.exchange(0, &[]));
    (shown.shown.lock().unwrap().clone(), resumed)
}

fn stapled(mode: Mode, response: Option<Vec<u8>>) -> World {
    world(mode, |issuer| Keyring {
        ocsp: response,
        ..keyring(RING, issuer, issuer.der(), None)
    })
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    let length = match content.len() {
        ..0x80 => vec![low],
        0x80..0x100 => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [&[tag], &length[..], content].concat()
}

/// A response that is good for so long, as far as the offload component reads it.
fn response(good_for: Duration) -> Vec<u8> {
    let due = time::OffsetDateTime::now_utc() + good_for;
    let digits = format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}Z",
        due.year(),
        u8::from(due.month()),
        due.day(),
        due.hour(),
        due.minute(),
        due.second()
    );
    let time = der(0x18, digits.as_bytes());
    let now = der(0x18, b"20260101000000Z");
    let single = [der(0x30, &[]), vec![0x80, 0], now.clone(), der(0xa0, &time)];
    let singles = der(0x30, &der(0x30, &single.concat()));
    let data = der(0x30, &[der(0xa2, &[4, 1, 7]), now, singles].concat());
    let basic = der(0x30, &[data, der(0x30, &[5; 2000])].concat());
    let kind = vec![6, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
    let bytes = der(0x30, &[kind, der(4, &basic)].concat());
    der(0x30, &[vec![0x0a, 1, 0], der(0xa0, &bytes)].concat())
}

#[test]
fn a_client_that_asks_gets_the_response_of_the_ring() {
    for (mode, version) in BOTH {
        let whole = response(HOUR);
        let mut world = stapled(mode, Some(whole.clone()));
        let shown = Arc::new(Visitor::default());
        let config = config(&shown, version);
        let first = visit(&mut world, &config, &shown, version);
        assert_eq!(first, (whole, false), "{mode:?} {version:?}");
        // A session that is resumed shows no certificate.
        let second = visit(&mut world, &config, &shown, version);
        assert_eq!(second, (Vec::new(), true), "{mode:?} {version:?}");
    }
}

#[test]
fn a_ring_without_a_response_shows_none() {
    for (mode, version) in BOTH {
        let mut world = stapled(mode, None);
        let shown = Arc::new(Visitor::default());
        let config = config(&shown, version);
        let first = visit(&mut world, &config, &shown, version);
        assert_eq!(first, (Vec::new(), false), "{mode:?} {version:?}");
    }
}

#[test]
fn a_response_that_is_out_of_date_is_told_and_not_shown() {
    for (mode, version) in BOTH {
        set_passed(Duration::ZERO);
        let whole = response(HOUR);
        let mut world = stapled(mode, Some(whole.clone()));
        let shown = Arc::new(Visitor::default());
        let first = visit(&mut world, &config(&shown, version), &shown, version);
        assert_eq!(first, (whole, false), "{mode:?} {version:?}");
        assert_eq!(world.overdue_responses(), []);

        set_passed(HOUR + Duration::from_secs(1));
        let second = visit(&mut world, &config(&shown, version), &shown, version);
        assert_eq!(second, (Vec::new(), false), "{mode:?} {version:?}");
        let told: Vec<_> = world
            .overdue_responses()
            .iter()
            .map(|l| l.to_string())
            .collect();
        assert_eq!(told, ["web"]);
        assert_eq!(world.overdue(), []);
        assert_eq!(world.stats.read(ipc::stats::offload::OCSP_OVERDUE), 1);
        // Once.
        assert_eq!(world.overdue_responses(), []);
    }
    set_passed(Duration::ZERO);
}

#[test]
fn an_update_of_the_ring_brings_the_next_response() {
    for (mode, version) in BOTH {
        let issuer = authority();
        let ring = |response: Vec<u8>| Keyring {
            ocsp: Some(response),
            ..keyring(RING, &issuer, issuer.der(), None)
        };
        let (old, new) = (response(HOUR), response(2 * HOUR));
        let mut world = world(mode, |_| ring(old.clone()));
        let shown = Arc::new(Visitor::default());
        let config = config(&shown, version);
        assert_eq!(visit(&mut world, &config, &shown, version), (old, false));
        world.update(1, vec![ring(new.clone())]);
        assert_eq!(visit(&mut world, &config, &shown, version), (new, false));
    }
}

/// The types of the handshake messages in these records, which hold them whole.
fn messages(mut records: &[u8]) -> Vec<u8> {
    let mut flight = Vec::new();
    while let [22, 3, 3, high, low, rest @ ..] = records {
        let (body, after) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        flight.extend_from_slice(body);
        records = after;
    }
    let (mut kinds, mut rest) = (Vec::new(), &flight[..]);
    while let [kind, a, b, c, after @ ..] = rest {
        kinds.push(*kind);
        rest = &after[u32::from_be_bytes([0, *a, *b, *c]) as usize..];
    }
    kinds
}

/// RFC 6066 §8: neither a CertificateStatus nor a word of it in ServerHello.
#[test]
fn a_client_that_does_not_ask_gets_none() {
    const STATUS_REQUEST: &[u8] = &[0, 5, 0, 5, 1, 0, 0, 0, 0];
    for mode in [Mode::Autonomous, Mode::Directed] {
        for asks in [true, false] {
            let whole = response(HOUR);
            let mut world = stapled(mode, Some(whole.clone()));
            world.start(0, request(Version::Tls12));
            let shown = Arc::new(Visitor::default());
            let client = Client::with(config(&shown, Version::Tls12), "localhost");
            let mut hello = client.outgoing.clone();
            let mut places = hello.windows(STATUS_REQUEST.len());
            let place = places.position(|part| part == STATUS_REQUEST).unwrap();
            if !asks {
                // An extension that nobody knows.
                hello[place] = 0x7f;
            }
            let flight = world.exchange(0, &hello);
            let expected: &[u8] = match asks {
                true => &[2, 11, 22, 12, 14],
                false => &[2, 11, 12, 14],
            };
            assert_eq!(messages(&flight), expected, "{mode:?}");
            let is_there = flight.windows(whole.len()).any(|part| part == whole);
            assert_eq!(is_there, asks, "{mode:?}");
        }
    }
}
