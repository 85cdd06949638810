//! What a client sends, in both modes, tickets included.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::server_wire(data));
