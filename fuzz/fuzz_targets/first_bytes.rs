//! The gateway's look at a ClientHello.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::first_bytes(data));
