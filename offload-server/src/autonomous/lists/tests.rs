use alloc::vec;
use alloc::vec::Vec;

use super::*;

fn vector(bytes: usize, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_be_bytes();
    [&length[8 - bytes..], content].concat()
}

fn message(kind: HandshakeType, body: &[u8]) -> Vec<u8> {
    [&[kind.0], &vector(3, body)[..]].concat()
}

fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    let start = [&[3, 3][..], &[7; 32], &[2, 9, 9, 0, 2, 0x13, 1, 1, 0]];
    let body = [&start.concat(), &vector(2, &extensions.concat())[..]];
    message(HandshakeType::CLIENT_HELLO, &body.concat())
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), &vector(2, content)[..]].concat()
}

fn list(count: usize, entry: &[u8]) -> Vec<u8> {
    vector(2, &entry.repeat(count))
}

fn chain(form: Form, count: usize) -> Vec<u8> {
    let body = match form {
        Form::Clear | Form::Changed => vector(3, &vector(3, &[0x30; 9]).repeat(count)),
        Form::Protected => {
            let entry = [vector(3, &[0x30; 9]), vector(2, &[0, 5, 0, 1, 9])].concat();
            [vec![0], vector(3, &entry.repeat(count))].concat()
        }
    };
    message(HandshakeType::CERTIFICATE, &body)
}

/// What is found, which does not depend on how messages are cut.
fn found(form: Form, messages: &[u8]) -> Result<u32, Alert> {
    let of = |size| {
        let mut lists = Lists {
            form,
            ..Lists::default()
        };
        let mut parts = messages.chunks(size);
        parts.try_for_each(|part| lists.look_at(part))?;
        Ok(lists.kept + lists.walk.entries)
    };
    let whole = of(usize::MAX);
    for size in [1, 2, 3, 5, 7, 64, 300] {
        assert_eq!(of(size), whole, "{size}");
    }
    whole
}

#[test]
fn certificates_are_counted_in_either_form_and_empty_ones_too() {
    for form in [Form::Clear, Form::Protected] {
        let all = [chain(form, 3), chain(form, 2)].concat();
        assert_eq!(found(form, &all), Ok(5));
        assert_eq!(found(form, &chain(form, 64)), Ok(64));
        assert_eq!(found(form, &chain(form, 65)), Err(Alert::DECODE_ERROR));
    }
    let empty = |count: usize| {
        let body = [vec![0], vector(3, &[0; 5].repeat(count))].concat();
        found(Form::Protected, &message(HandshakeType::CERTIFICATE, &body))
    };
    assert_eq!(empty(64), Ok(64));
    assert_eq!(empty(13_000), Err(Alert::DECODE_ERROR));
}

#[test]
fn entries_of_each_list_of_a_hello_are_counted() {
    // Named group and key; identity and age; binder; authority.
    let share = [&[0, 29][..], &vector(2, &[5; 32])].concat();
    let identity = [vector(2, &[6; 50]), vec![0; 4]].concat();
    let keys = |count| [list(count, &identity), list(count, &vector(1, &[4; 32]))].concat();
    let authority = vector(2, &[0x30, 0]);
    let all = [
        extension(43, &[4, 3, 4, 3, 3]),
        extension(51, &list(3, &share)),
        extension(47, &list(5, &authority)),
        extension(0x3a3a, &[]),
        extension(41, &keys(2)),
    ];
    assert_eq!(found(Form::Clear, &hello(&all)), Ok(3 + 5 + 2 + 2));
    let many = |of: &dyn Fn(usize) -> Vec<u8>| {
        let most = usize::from(MOST_ENTRIES);
        let at = |count| found(Form::Clear, &hello(&[of(count)]));
        assert!(at(most / 3).is_ok());
        assert_eq!(at(most + 1), Err(Alert::ILLEGAL_PARAMETER));
    };
    many(&|count| extension(51, &list(count, &[0, 29, 0, 0])));
    many(&|count| extension(47, &list(count, &[0, 1, 7])));
    many(&|count| extension(41, &[list(count, &[0, 1, 7, 0, 0, 0, 0])].concat()));
    many(&|count| extension(41, &[list(1, &identity), list(count, &[1, 7])].concat()));
    many(&|count| extension(16, &list(count, &[1, 7])));
    many(&|count| extension(0, &list(count, &[0, 0, 1, 7])));
    many(&|count| extension(5, &[&[1], &list(count, &[0, 0])[..]].concat()));
}

#[test]
fn a_second_hello_is_looked_at_after_a_change_and_what_tls_1_2_protects_is_not() {
    let many = hello(&[extension(47, &list(2000, &[0, 1, 7]))]);
    let mut lists = Lists::default();
    assert_eq!(lists.look_at(&hello(&[])), Ok(()));
    lists.change();
    assert_eq!(lists.look_at(&many), Err(Alert::ILLEGAL_PARAMETER));
    // A Finished under AES-GCM is 40 bytes, whatever they are.
    for kind in 0..=255 {
        let mut lists = Lists::default();
        lists.change();
        let mut protected = [0xff; 40];
        protected[0] = kind;
        assert_eq!(lists.look_at(&protected), Ok(()), "{kind}");
    }
}

#[test]
fn authorities_of_a_request_are_counted_in_either_form() {
    let authority = vector(2, &[0x30; 20]);
    let request = |form, count| {
        let list = list(count, &authority);
        let body = match form {
            Form::Clear | Form::Changed => [&[2, 1, 64, 0, 2, 4, 3], &list[..]].concat(),
            Form::Protected => {
                let schemes = extension(13, &[0, 2, 4, 3]);
                let all = [extension(47, &list), schemes].concat();
                [vec![0], vector(2, &all)].concat()
            }
        };
        found(form, &message(HandshakeType::CERTIFICATE_REQUEST, &body))
    };
    for form in [Form::Clear, Form::Protected] {
        assert_eq!(request(form, 150), Ok(150));
        assert_eq!(request(form, 1025), Err(Alert::ILLEGAL_PARAMETER));
    }
}

#[test]
fn what_a_server_answers_is_short() {
    for kind in [
        HandshakeType::SERVER_HELLO,
        HandshakeType::ENCRYPTED_EXTENSIONS,
    ] {
        let of = |length| found(Form::Protected, &message(kind, &vec![7; length]));
        assert_eq!(of(4096), Ok(1024));
        assert_eq!(of(4100), Err(Alert::ILLEGAL_PARAMETER));
    }
}

#[test]
fn what_is_malformed_is_read_to_its_end_all_the_same() {
    for byte in [0, 1, 7, 0x30, 0xff] {
        for kind in 0..30 {
            let body = vec![byte; 3000];
            for form in [Form::Clear, Form::Protected] {
                let _ = found(form, &message(HandshakeType(kind), &body));
            }
        }
    }
}
