//! The record layer: raw records, and records of any content under the right key.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::records(data));
