//! All traces of RFC 8448 byte by byte: transcript, key schedule, records. Its
//! shared secrets of §5 to §7 are made of the private keys that it gives.

use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::{SupportedCipherSuite, Tls13CipherSuite};
use tls::protection::Key;
use tls::schedule13::{Schedule, TrafficSecrets};
use tls::{CipherSuite, ContentType, Role, TrafficKey};

use super::outbound::{Outbound, seal};
use super::transcript::Transcript;
use crate::output::Output;

const SUITE: CipherSuite = CipherSuite::Aes128GcmSha256;

/// A value of the trace.
fn value(name: &str) -> Vec<u8> {
    let mut lines = include_str!("rfc8448.txt").lines();
    lines.find(|line| *line == name).unwrap();
    let hex: String = lines
        .take_while(|line| line.starts_with("  "))
        .map(str::trim)
        .collect();
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn is_key(key: &TrafficKey, name: &str) {
    assert_eq!(key.key.expose(), value(&format!("{name}_key")), "{name}");
    assert_eq!(key.iv.expose(), value(&format!("{name}_iv")), "{name}");
}

fn finished(verify_data: &[u8]) -> Vec<u8> {
    [&[20, 0, 0, 32], verify_data].concat()
}

fn suite() -> &'static Tls13CipherSuite {
    match TLS13_AES_128_GCM_SHA256 {
        SupportedCipherSuite::Tls13(suite) => suite,
        SupportedCipherSuite::Tls12(_) => panic!("not TLS 1.3"),
    }
}

/// The server's flight after ServerHello, which is one record: these messages of
/// the trace and Finished.
fn flight(trace: &str, traffic: &TrafficSecrets, transcript: &mut Transcript, messages: &[&str]) {
    let server = traffic.key(Role::Server).unwrap();
    let mut outbound = Outbound::new(Output::new(0, 16384), Role::Server);
    let protection = Key::new(SUITE, &server).unwrap();
    assert!(outbound.protect(protection).is_ok());
    for name in messages {
        let message = value(&format!("{trace}{name}"));
        outbound.message(&message);
        transcript.add(&message);
    }
    let mac = traffic
        .verify_data(Role::Server, transcript.hash().unwrap().as_ref())
        .unwrap();
    assert_eq!(mac.as_ref(), value(&format!("{trace}server_verify_data")));
    outbound.message(&finished(mac.as_ref()));
    transcript.add(&finished(mac.as_ref()));
    assert!(outbound.end_flight().is_ok());
    assert_eq!(
        outbound.written(),
        value(&format!("{trace}server_flight_record"))
    );
}

/// The client's Finished; `transcript` ends in front of it.
fn clients_finished(trace: &str, traffic: &TrafficSecrets, transcript: &mut Transcript) {
    let client = traffic.key(Role::Client).unwrap();
    let mac = traffic
        .verify_data(Role::Client, transcript.hash().unwrap().as_ref())
        .unwrap();
    assert_eq!(mac.as_ref(), value(&format!("{trace}client_verify_data")));
    let mut protection = Key::new(SUITE, &client).unwrap();
    let mut record = value(&format!("{trace}client_finished_record"));
    let opened = protection.open(ContentType::ApplicationData, &mut record);
    let (kind, text) = opened.unwrap();
    assert_eq!(kind, ContentType::Handshake);
    let text = &record[text];
    assert_eq!(text, finished(mac.as_ref()));
    transcript.add(text);
}

/// What is installed, and the client's first record with it.
fn application(trace: &str, application: &TrafficSecrets) {
    let server = application.key(Role::Server).unwrap();
    is_key(&server, &format!("{trace}server_application"));
    let client = application.key(Role::Client).unwrap();
    is_key(&client, &format!("{trace}client_application"));
    let mut record = Vec::new();
    let text: Vec<u8> = (0..50).collect();
    let mut protection = Key::new(SUITE, &client).unwrap();
    let kind = ContentType::ApplicationData;
    let sealed = seal(&mut protection, kind, &text, &mut record);
    assert!(sealed.is_ok());
    assert_eq!(record, value(&format!("{trace}client_data_record")));
}

#[test]
fn r22_r23_r26_to_r29_the_trace_of_rfc_8448_byte_by_byte() {
    let mut transcript = Transcript::new();
    transcript.add(&value("client_hello"));
    transcript.start(suite().common.hash_provider, false);
    transcript.add(&value("server_hello"));
    let schedule = Schedule::new(SUITE.hash())
        .into_handshake(&value("shared_secret"))
        .unwrap();
    let traffic = schedule
        .handshake_traffic(SUITE, transcript.hash().unwrap().as_ref())
        .unwrap();
    is_key(&traffic.key(Role::Server).unwrap(), "server_handshake");
    is_key(&traffic.key(Role::Client).unwrap(), "client_handshake");
    flight("", &traffic, &mut transcript, &FLIGHT);
    let master = schedule.into_master().unwrap();
    application(
        "",
        &master
            .application_traffic(SUITE, transcript.hash().unwrap().as_ref())
            .unwrap(),
    );
    clients_finished("", &traffic, &mut transcript);

    // The pre-shared key of the ticket that follows, whose nonce is two zeros.
    let secret = master
        .resumption(transcript.hash().unwrap().as_ref())
        .unwrap();
    let key = secret.pre_shared_key(&[0, 0]).unwrap();
    assert_eq!(key.expose(), value("resumed_pre_shared_key"));
}

/// Early data, which no request here takes, is left out: the transcript has only its
/// extensions and EndOfEarlyData.
#[test]
fn r33_the_trace_of_a_resumed_session_byte_by_byte() {
    let hash = suite().common.hash_provider;
    let hello = value("resumed_client_hello");
    let early = Schedule::with_pre_shared_key(SUITE.hash(), &value("resumed_pre_shared_key"));
    let (bound, binders) = hello.split_at(hello.len() - 2 - 1 - 32);
    let binder = early.binder(hash.hash(bound).as_ref()).unwrap();
    assert_eq!(binder.as_ref(), &binders[3..]);

    let mut transcript = Transcript::new();
    transcript.add(&hello);
    transcript.start(hash, false);
    transcript.add(&value("resumed_server_hello"));
    let schedule = early
        .into_handshake(&value("resumed_shared_secret"))
        .unwrap();
    let traffic = schedule
        .handshake_traffic(SUITE, transcript.hash().unwrap().as_ref())
        .unwrap();
    let [server, client] = [Role::Server, Role::Client].map(|role| traffic.key(role).unwrap());
    is_key(&server, "resumed_server_handshake");
    is_key(&client, "resumed_client_handshake");
    flight(
        "resumed_",
        &traffic,
        &mut transcript,
        &["encrypted_extensions"],
    );
    let master = schedule.into_master().unwrap();
    let secrets = master
        .application_traffic(SUITE, transcript.hash().unwrap().as_ref())
        .unwrap();
    application("resumed_", &secrets);
    transcript.add(&value("resumed_end_of_early_data"));
    clients_finished("resumed_", &traffic, &mut transcript);
}

/// The traces that carry no application data: their records under application keys
/// are close_notify.
fn to_its_end(trace: &str, messages: &[&str]) {
    let named = |name: &str| value(&format!("{trace}{name}"));
    let mut transcript = Transcript::new();
    let hash = suite().common.hash_provider;
    if trace == "retried_" {
        transcript.add(&named("first_client_hello"));
        transcript.start(hash, false);
        assert!(transcript.restart().is_some());
        transcript.add(&named("retry_request"));
        transcript.add(&named("client_hello"));
    } else {
        transcript.add(&named("client_hello"));
        transcript.start(hash, false);
    }
    transcript.add(&named("server_hello"));
    let schedule = Schedule::new(SUITE.hash())
        .into_handshake(&named("shared_secret"))
        .unwrap();
    let traffic = schedule
        .handshake_traffic(SUITE, transcript.hash().unwrap().as_ref())
        .unwrap();
    flight(trace, &traffic, &mut transcript, messages);
    let master = schedule.into_master().unwrap();
    let application = master
        .application_traffic(SUITE, transcript.hash().unwrap().as_ref())
        .unwrap();

    // The client's flight is one record too: what it says of itself, and Finished.
    let mut record = named("client_flight_record");
    let mut protection = Key::new(SUITE, &traffic.key(Role::Client).unwrap()).unwrap();
    let opened = protection.open(ContentType::ApplicationData, &mut record);
    let (kind, text) = opened.unwrap();
    assert_eq!(kind, ContentType::Handshake);
    let text = &record[text];
    let (said, end) = text.split_at(text.len() - 4 - 32);
    transcript.add(said);
    let mac = traffic
        .verify_data(Role::Client, transcript.hash().unwrap().as_ref())
        .unwrap();
    assert_eq!(end, finished(mac.as_ref()));
    let shows_certificate = messages.contains(&"certificate_request");
    assert_eq!(said.first(), shows_certificate.then_some(&11));

    for (role, name) in [
        (Role::Client, "client_close_record"),
        (Role::Server, "server_close_record"),
    ] {
        let key = application.key(role).unwrap();
        let mut record = Vec::new();
        let close_notify = [1, 0];
        let mut protection = Key::new(SUITE, &key).unwrap();
        let sealed = seal(
            &mut protection,
            ContentType::Alert,
            &close_notify,
            &mut record,
        );
        assert!(sealed.is_ok());
        assert_eq!(record, named(name), "{name}");
    }
}

const FLIGHT: [&str; 3] = ["encrypted_extensions", "certificate", "certificate_verify"];

#[test]
fn r14_the_trace_of_a_hello_that_was_asked_for_again_byte_by_byte() {
    to_its_end("retried_", &FLIGHT);
}

#[test]
fn r16_r25_the_trace_of_a_client_with_a_certificate_byte_by_byte() {
    let [extensions, certificate, verify] = FLIGHT;
    let messages = [extensions, "certificate_request", certificate, verify];
    to_its_end("authenticated_", &messages);
}

/// ChangeCipherSpec, which is no part of the transcript, is left out.
#[test]
fn r22_r23_the_trace_in_compatibility_mode_byte_by_byte() {
    to_its_end("compatible_", &FLIGHT);
}
