//! Every message of every protocol, and what the builder hands to domains.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::messages(data));
