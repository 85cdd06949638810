//! Numbers out of the kernel's headers, made by `build.rs`.
#![allow(dead_code, reason = "one list serves the root task and the domains")]

include!(concat!(env!("OUT_DIR"), "/facts.rs"));
