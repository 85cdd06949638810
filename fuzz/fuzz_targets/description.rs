//! System.toml and policy.toml.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::description(data));
