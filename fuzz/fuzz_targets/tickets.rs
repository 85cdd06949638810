//! Tickets that come back.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::tickets(data));
