//! Tests of the whole system: the booted image, from the host over the wire.
//! Names begin with the row that they show.
//!
//! The first test builds the image and boots it; the others share it.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up fails")]
#![allow(
    clippy::indexing_slicing,
    reason = "a test that finds less than it looks for fails"
)]
#![allow(dead_code, reason = "the harness offers more than is used yet")]

mod applications;
mod bad_input;
mod boots;
mod clients;
mod counter;
mod deploy;
mod directed;
mod directed_client;
mod disc;
mod failures;
mod harness;
mod hostile;
mod hybrid_secrets;
mod identity;
mod isolation;
mod keys;
mod load;
mod logs;
mod machines;
mod matrix;
mod medium;
mod negotiation;
mod randomness;
mod rekey;
mod restart;
mod resumption;
mod resumption_secrets;
mod revocation;
mod rules;
mod secrets;
mod selftest;
mod session;
mod static_rsa;
mod status;
mod tap;
mod undirected;
mod upstream;
mod wire;
