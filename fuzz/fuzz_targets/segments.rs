//! The executor of directed mode, with a shim that sends any segment.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::segments(data));
