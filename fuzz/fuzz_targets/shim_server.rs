//! The shim's state machines as server, whatever the offload component says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::shim_server(data));
