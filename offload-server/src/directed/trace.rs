//! The trace of RFC 8448 §3, byte by byte: transcript, key schedule, records.

use ipc::net::TcpPosition;
use ipc::tls::{CipherSuite, Role, TrafficKey};
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;

use super::inbound::ContentType;
use super::outbound::Outbound;
use super::protection::Protection;
use super::schedule13::Schedule;
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

#[test]
fn r22_r23_r26_to_r29_the_trace_of_rfc_8448_byte_by_byte() {
    let rustls::SupportedCipherSuite::Tls13(suite) = TLS13_AES_128_GCM_SHA256 else {
        panic!("not TLS 1.3");
    };
    let mut transcript = Transcript::new();
    transcript.add(&value("client_hello"));
    transcript.start(suite.common.hash_provider, false);
    transcript.add(&value("server_hello"));
    let schedule = Schedule::new(suite).into_handshake(&value("shared_secret"));
    let traffic = schedule.handshake_traffic(&transcript.hash().unwrap());
    let server = traffic.key(Role::Server).unwrap();
    let client = traffic.key(Role::Client).unwrap();
    is_key(&server, "server_handshake");
    is_key(&client, "client_handshake");

    // The server's flight is one record.
    let position = TcpPosition {
        tx_next: 0,
        rx_next: 0,
    };
    let mut outbound = Outbound::new(Output::new(position.tx_next, 16384));
    let protection = Protection::new(SUITE, &server).unwrap();
    assert!(outbound.protect(protection).is_ok());
    for name in ["encrypted_extensions", "certificate", "certificate_verify"] {
        outbound.message(&value(name));
        transcript.add(&value(name));
    }
    let mac = traffic.verify_data(Role::Server, &transcript.hash().unwrap());
    assert_eq!(mac.as_ref(), value("server_verify_data"));
    outbound.message(&finished(mac.as_ref()));
    transcript.add(&finished(mac.as_ref()));
    assert!(outbound.end_flight().is_ok());
    assert_eq!(outbound.written(), value("server_flight_record"));

    // The client's Finished.
    let mac = traffic.verify_data(Role::Client, &transcript.hash().unwrap());
    assert_eq!(mac.as_ref(), value("client_verify_data"));
    let mut protection = Protection::new(SUITE, &client).unwrap();
    let record = value("client_finished_record");
    let (header, body) = record.split_first_chunk().unwrap();
    let mut body = body.to_vec();
    let Ok((kind, text)) = protection.open(*header, &mut body) else {
        panic!("not opened");
    };
    assert!(kind == ContentType::Handshake);
    assert_eq!(text, finished(mac.as_ref()));

    // And what is installed.
    let application = schedule.into_master();
    let application = application.application_traffic(&transcript.hash().unwrap());
    is_key(
        &application.key(Role::Server).unwrap(),
        "server_application",
    );
    let client = application.key(Role::Client).unwrap();
    is_key(&client, "client_application");
    let mut record = Vec::new();
    let text: Vec<u8> = (0..50).collect();
    let sealed = Protection::new(SUITE, &client).unwrap().seal(
        ContentType::ApplicationData,
        &text,
        &mut record,
    );
    assert!(sealed.is_ok());
    assert_eq!(record, value("client_data_record"));
}
