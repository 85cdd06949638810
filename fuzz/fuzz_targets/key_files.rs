//! PEM files of chains, trust anchors and private keys.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::key_files(data));
