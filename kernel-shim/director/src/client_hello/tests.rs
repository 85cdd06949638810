use super::*;

const RANDOM: [u8; 32] = [7; 32];

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    [&kind.to_be_bytes(), &length.to_be_bytes(), content].concat()
}

fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    let extensions = extensions.concat();
    let length = u16::try_from(extensions.len()).unwrap();
    let mut body = [&[3, 3], &RANDOM[..], &[2, 0xa, 0xb]].concat();
    body.extend([0, 6, 0x0a, 0x0a, 0x13, 1, 0xc0, 0x2b, 1, 0]);
    body.extend(length.to_be_bytes());
    body.extend(extensions);
    body
}

fn good() -> Vec<Vec<u8>> {
    let share = [&[0, 36, 0, 0x1d, 0, 32], &[9; 32][..]].concat();
    vec![
        extension(0, &[0, 7, 0, 0, 4, b'n', b'a', b'm', b'e']),
        extension(10, &[0, 4, 0x0a, 0x0a, 0, 0x1d]),
        extension(11, &[2, 1, 0]),
        extension(13, &[0, 4, 4, 3, 8, 4]),
        extension(16, &[0, 3, 2, b'h', b'2']),
        extension(23, &[]),
        extension(28, &[0x40, 1]),
        extension(43, &[4, 3, 4, 3, 3]),
        extension(51, &share),
        extension(0xff01, &[0]),
        // None that is known.
        extension(0x0a0a, &[1, 2, 3]),
    ]
}

fn parse(body: &[u8]) -> Result<ClientHello, Refusal> {
    let ours = Protocols::from_items([Bytes::from_slice(b"h2").unwrap()]).unwrap();
    ClientHello::parse(body, &ours)
}

fn alert(body: &[u8]) -> Option<Alert> {
    parse(body).err().map(|refusal| refusal.alert)
}

#[test]
fn a_client_hello_tells_what_this_server_knows_of_it() {
    let body = hello(&good());
    let hello = parse(&body).ok().unwrap();
    assert_eq!(hello.random, RANDOM);
    assert_eq!(&hello.session_id[..], [0xa, 0xb]);
    assert_eq!(hello.suites.len(), 2);
    assert!(hello.offers_tls13 && hello.offers_tls12);
    assert_eq!(hello.server_name.as_deref(), Some("name"));
    assert_eq!(hello.groups.as_deref(), Some(&[Group::X25519][..]));
    assert_eq!(hello.schemes.as_ref().map(|schemes| schemes.len()), Some(2));
    assert_eq!(hello.alpn, Alpn::Common(0));
    assert!(hello.has_extended_master_secret && hello.has_secure_renegotiation);
    let limit = hello.record_limit(Version::Tls13);
    assert_eq!(limit, Some(RecordLimit::NONE));
    let key = hello.shares.unwrap()[0].key;
    let key = usize::from(key.offset)..usize::from(key.offset + key.length);
    assert_eq!(body[key], [9; 32]);
}

#[test]
fn every_truncation_is_refused() {
    let whole = hello(&good());
    let without_extensions = 2 + 32 + 3 + 8 + 2;
    for length in (0..whole.len()).filter(|length| *length != without_extensions) {
        let cut = whole.get(..length).unwrap();
        assert_eq!(alert(cut), Some(Alert::DECODE_ERROR), "{length} bytes");
    }
    let long = [&whole[..], &[0]].concat();
    assert_eq!(alert(&long), Some(Alert::DECODE_ERROR));
}

#[test]
fn every_duplicate_is_refused() {
    for place in 0..good().len() {
        let mut extensions = good();
        let again = extensions[place].clone();
        extensions.push(again);
        let body = hello(&extensions);
        assert_eq!(alert(&body), Some(Alert::ILLEGAL_PARAMETER), "{place}");
    }
}

#[test]
fn an_extension_that_can_not_be_is_refused() {
    let share = |length: u8| [&[0, 4 + length, 0, 0x1d, 0, length], &vec![1; 32][..]].concat();
    for (wrong, expected) in [
        (extension(0, &[0, 0]), Alert::DECODE_ERROR),
        (
            extension(0, &[0, 4, 0, 0, 1, 0xff]),
            Alert::ILLEGAL_PARAMETER,
        ),
        (extension(0, &[0, 3, 0, 0, 0]), Alert::ILLEGAL_PARAMETER),
        (extension(10, &[0, 0]), Alert::DECODE_ERROR),
        (extension(10, &[0, 3, 0, 0x1d, 0]), Alert::DECODE_ERROR),
        (extension(11, &[1, 1]), Alert::ILLEGAL_PARAMETER),
        (extension(11, &[2, 0]), Alert::DECODE_ERROR),
        (extension(13, &[0, 2, 4, 3, 0]), Alert::DECODE_ERROR),
        (extension(16, &[0, 1, 0]), Alert::DECODE_ERROR),
        (extension(23, &[0]), Alert::DECODE_ERROR),
        (extension(43, &[0]), Alert::DECODE_ERROR),
        (extension(43, &[3, 3, 4, 3]), Alert::DECODE_ERROR),
        (extension(51, &share(31)), Alert::ILLEGAL_PARAMETER),
        (extension(51, &share(33)), Alert::DECODE_ERROR),
        (
            extension(51, &[0, 5, 0, 0x1d, 0, 1, 1]),
            Alert::ILLEGAL_PARAMETER,
        ),
        (extension(0xff01, &[1, 1]), Alert::HANDSHAKE_FAILURE),
    ] {
        let kind = wrong.get(..2).unwrap().to_vec();
        let mut extensions = good();
        extensions.retain(|other| !other.starts_with(&kind));
        extensions.push(wrong.clone());
        assert_eq!(alert(&hello(&extensions)), Some(expected), "{wrong:?}");
    }
}

#[test]
fn a_server_name_is_a_dns_name_or_nothing() {
    let named = |name: &[u8]| {
        let length = u16::try_from(name.len()).unwrap();
        let [list, length] = [length + 3, length].map(u16::to_be_bytes);
        let content = [&list[..], &[0], &length, name].concat();
        let mut extensions = good();
        extensions[0] = extension(0, &content);
        parse(&hello(&extensions)).map(|hello| hello.server_name)
    };
    for (name, expected) in [
        ("a.test", Some("a.test")),
        ("_service.a.test", Some("_service.a.test")),
        ("a.test.", Some("a.test")),
        ("192.0.2.1", None),
        ("2001:db8::1", None),
    ] {
        let found = named(name.as_bytes()).ok().unwrap();
        assert_eq!(found.as_deref(), expected, "{name}");
    }
    let long = "a.".repeat(127) + "test";
    for name in [
        "a.test\r\nPROXY TCP4 10.0.0.1",
        "a.test keyring=other",
        "a.test\0",
        "a..test",
        "-a.test",
        ".",
        "café.test",
        &long,
    ] {
        let refused = named(name.as_bytes()).err().map(|refusal| refusal.alert);
        assert_eq!(refused, Some(Alert::ILLEGAL_PARAMETER), "{name:?}");
    }
}

#[test]
fn nothing_may_follow_pre_shared_key() {
    let (modes, psk) = (extension(45, &[1, 1]), psk(&[32]));
    let mut last = good();
    last.extend([modes.clone(), psk.clone()]);
    assert_eq!(alert(&hello(&last)), None);
    let mut first = good();
    first.splice(0..0, [modes, psk.clone()]);
    assert_eq!(alert(&hello(&first)), Some(Alert::ILLEGAL_PARAMETER));
    // RFC 8446 §4.2.9.
    let mut without_modes = good();
    without_modes.push(psk);
    let missing = Some(Alert::MISSING_EXTENSION);
    assert_eq!(alert(&hello(&without_modes)), missing);
}

/// A list of as many tickets of two bytes as there are binders, of these
/// lengths.
fn psk(binders: &[u8]) -> Vec<u8> {
    let ticket = [0, 2, 0xa, 0xb, 0, 0, 0, 9];
    let identities = ticket.repeat(binders.len());
    let filled = |length: &u8| [vec![*length], vec![7; usize::from(*length)]].concat();
    let binders: Vec<u8> = binders.iter().flat_map(filled).collect();
    let length = |list: &[u8]| u16::try_from(list.len()).unwrap().to_be_bytes();
    let lists = [
        &length(&identities)[..],
        &identities,
        &length(&binders),
        &binders,
    ];
    extension(41, &lists.concat())
}

#[test]
fn r33_tickets_and_binders_are_told_where_they_stand() {
    let mut extensions = good();
    extensions.extend([extension(45, &[1, 1]), psk(&[32, 48, 32, 32])]);
    let body = hello(&extensions);
    let hello = ClientHello::parse(&body, &Protocols::default())
        .ok()
        .unwrap();
    assert!(hello.has_psk_dhe);
    let lengths: Vec<u16> = hello
        .tickets
        .iter()
        .map(|o| o.binder.binder.length)
        .collect();
    assert_eq!(lengths, [32, 48, 32]);
    for offer in hello.tickets.iter() {
        let part = |place: Place| {
            let start = usize::from(place.offset);
            &body[start..start + usize::from(place.length)]
        };
        assert_eq!(part(offer.ticket), [0xa, 0xb]);
        assert!(part(offer.binder.binder).iter().all(|byte| *byte == 7));
        let list = usize::from(offer.binder.list);
        assert_eq!(body[list..list + 2], [0, 33 + 49 + 33 + 33]);
    }
}

#[test]
fn a_list_of_tickets_that_is_wrong_is_refused() {
    let alert_of = |psk: Vec<u8>| {
        let mut extensions = good();
        extensions.extend([extension(45, &[1, 1]), psk]);
        alert(&hello(&extensions))
    };
    let identity = [0, 2, 0xa, 0xb, 0, 0, 0, 9];
    let binder = [[32].as_slice(), &[7; 32]].concat();
    let list = |identities: &[u8], binders: &[u8]| {
        let length = |list: &[u8]| u16::try_from(list.len()).unwrap().to_be_bytes();
        let (first, second) = (length(identities), length(binders));
        extension(41, &[&first, identities, &second, binders].concat())
    };
    assert_eq!(alert_of(list(&identity, &binder)), None);
    let decode = Some(Alert::DECODE_ERROR);
    let illegal = Some(Alert::ILLEGAL_PARAMETER);
    assert_eq!(alert_of(list(&[], &binder)), decode);
    assert_eq!(alert_of(list(&identity, &[])), decode);
    assert_eq!(alert_of(list(&identity[..7], &binder)), decode);
    assert_eq!(alert_of(list(&[0, 0, 0, 0, 0, 9], &binder)), decode);
    assert_eq!(alert_of(list(&identity, &binder[..32])), decode);
    assert_eq!(alert_of(list(&identity, &[0])), decode);
    // With a ticket of TLS 1.2 it is as long as a Finished of that.
    assert_eq!(
        alert_of(list(&identity, &[&[12], &binder[1..13]].concat())),
        None
    );
    assert_eq!(alert_of(list(&identity.repeat(2), &binder)), illegal);
    assert_eq!(alert_of(list(&identity, &binder.repeat(2))), illegal);
    let mut more = list(&identity, &binder);
    more.push(0);
    more[3] += 1;
    assert_eq!(alert_of(more), decode);
}

#[test]
fn a_hello_may_have_any_number_of_extensions_that_are_not_known() {
    let many = |count: u16| (0..count).map(|number| extension(0x4000 + number, &[]));
    let mut extensions: Vec<_> = many(200).collect();
    extensions.extend(good());
    let parsed = parse(&hello(&extensions)).ok().unwrap();
    assert_eq!(parsed.server_name.as_deref(), Some("name"));
    // One that is known is found twice all the same.
    extensions.push(extension(23, &[]));
    assert_eq!(alert(&hello(&extensions)), Some(Alert::ILLEGAL_PARAMETER));
}

#[test]
fn authorities_that_can_not_be_are_a_decode_error() {
    let with = |content: &[u8]| {
        let mut extensions = good();
        extensions.push(extension(47, content));
        alert(&hello(&extensions))
    };
    assert_eq!(with(&[0, 3, 0, 1, 9]), None);
    for wrong in [&[0, 0][..], &[0, 2, 0, 0], &[0, 3, 0, 1, 9, 9]] {
        assert_eq!(with(wrong), Some(Alert::DECODE_ERROR), "{wrong:?}");
    }
}

/// Of a server with these rings.
fn config(rings: &[ipc::keystore::KeyKind]) -> crate::negotiation::Config {
    let mut config = crate::negotiation::Config::new(Box::new(ipc::control::Parameters {
        versions: List::from_items([Version::Tls13, Version::Tls12]).unwrap(),
        suites: List::new(),
        allow_static_rsa: false,
        peer_schemes: List::new(),
        groups: List::new(),
        keyrings: List::new(),
        peer_authentication: ipc::tls::PeerAuthentication::None,
        server_name: None,
        alpn: List::new(),
        segment_size: 1400,
        resumption: false,
        expose_keys: false,
    }));
    config.rings = List::from_items(rings.iter().copied().map(Some)).unwrap();
    config
}

#[test]
fn an_ocsp_response_is_for_clients_that_ask_for_one_and_of_the_ring_that_is_shown() {
    use ipc::keystore::KeyKind::{EcdsaP256, EcdsaP384};
    let mut config = config(&[EcdsaP384, EcdsaP256]);
    let staples = |config: &crate::negotiation::Config, request: Option<&[u8]>| {
        let mut extensions = good();
        extensions[1] = extension(10, &[0, 2, 0, 0x17]);
        extensions.extend(request.map(|content| extension(5, content)));
        let hello = parse(&hello(&extensions)).ok().unwrap();
        config
            .plan(Version::Tls12, &hello, &Default::default())
            .ok()
            .unwrap()
            .staples
    };
    const OCSP: &[u8] = &[1, 0, 0, 0, 0];
    assert!(!staples(&config, Some(OCSP)));
    config.staples = List::from_items([true, false]).unwrap();
    assert!(!staples(&config, Some(OCSP)));
    config.staples = List::from_items([false, true]).unwrap();
    assert!(staples(&config, Some(OCSP)));
    assert!(staples(&config, Some(&[1, 0, 3, 0, 1, 9, 0, 2, 5, 0])));
    assert!(!staples(&config, None));
    // Of another type.
    assert!(!staples(&config, Some(&[2, 7])));
    for wrong in [
        &[][..],
        &[1],
        &[1, 0, 0, 0],
        &[1, 0, 0, 0, 0, 0],
        &[1, 0, 1, 0, 0],
    ] {
        let mut extensions = good();
        extensions.push(extension(5, wrong));
        let alert = alert(&hello(&extensions));
        assert_eq!(alert, Some(Alert::DECODE_ERROR), "{wrong:?}");
    }
}

#[test]
fn a_certificate_of_tls_1_2_is_on_a_curve_that_the_client_offers() {
    use ipc::keystore::KeyKind::{EcdsaP256, EcdsaP384};
    let config = config(&[EcdsaP384, EcdsaP256]);
    let mut extensions = good();
    extensions[3] = extension(13, &[0, 4, 4, 3, 5, 3]);
    let ring = |version, groups: &[u8]| {
        let mut extensions = extensions.clone();
        extensions[1] = extension(10, groups);
        let hello = parse(&hello(&extensions)).ok().unwrap();
        let plan = config.plan(version, &hello, &Default::default());
        plan.ok().map(|plan| plan.ring)
    };
    let both = [0, 4, 0, 0x17, 0, 0x18];
    assert_eq!(ring(Version::Tls12, &both), Some(0));
    assert_eq!(ring(Version::Tls12, &[0, 2, 0, 0x17]), Some(1));
    assert_eq!(ring(Version::Tls12, &[0, 2, 0, 0x1d]), None);
    // RFC 8446 §4.2.7: there the groups are for the key exchange alone.
    assert_eq!(ring(Version::Tls13, &[0, 2, 0, 0x1d]), Some(0));
}

#[test]
fn a_client_without_tls_1_3_may_offer_its_tickets_in_any_form() {
    let mut extensions = good();
    extensions.remove(7);
    extensions[6] = extension(43, &[2, 3, 3]);
    extensions.push(extension(41, &[1, 2, 3]));
    let hello = parse(&hello(&extensions)).ok().unwrap();
    assert!(hello.offers_tls12 && !hello.offers_tls13 && hello.tickets.is_empty());
}

#[test]
fn records_that_are_shorter_than_64_bytes_can_not_be_asked_for() {
    let with = |content: &[u8]| {
        let mut extensions = good();
        extensions[6] = extension(28, content);
        hello(&extensions)
    };
    assert_eq!(alert(&with(&[0, 63])), Some(Alert::ILLEGAL_PARAMETER));
    assert_eq!(alert(&with(&[64])), Some(Alert::DECODE_ERROR));
    assert_eq!(alert(&with(&[0, 64, 0])), Some(Alert::DECODE_ERROR));
    let least = parse(&with(&[0, 64])).ok().unwrap();
    let of = |version| least.record_limit(version).map(RecordLimit::plaintext);
    assert_eq!(
        (of(Version::Tls13), of(Version::Tls12)),
        (Some(63), Some(64))
    );
    // RFC 8449 §4: more than the protocol allows may be said.
    assert_eq!(alert(&with(&[0xff, 0xff])), None);
}
