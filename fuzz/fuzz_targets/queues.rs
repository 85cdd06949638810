//! The framing of the queues between shim, offload component and record layer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::queues(data));
