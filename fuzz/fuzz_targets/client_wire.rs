//! What a server sends to a directed client.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::client_wire(data));
