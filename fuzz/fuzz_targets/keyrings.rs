//! The key store: its key rings, and the calls that it answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::keyrings(data));
