//! Hands capabilities out and takes them back.

use ipc::badge::{Badge, GENERATIONS, MAX_SESSIONS};
use ipc::boot::slot;
use sel4::log;
use sel4::runtime::{MintSource, Window, wait_signals};

/// What is in the window when the holder looks first.
pub(crate) const GRANTED: u64 = 3;
pub(crate) const REVOKED: u64 = 4;
pub(crate) const EMPTY: u64 = 5;
/// The badge in [`GRANTED`].
pub(crate) const BADGE: Badge = Badge::Session {
    slot: MAX_SESSIONS - 1,
    generation: GENERATIONS - 1,
};

/// Slots of the window and of the mint source, as powers of two.
const WINDOW_RADIX: u8 = 4;
const SOURCE_RADIX: u8 = 1;

pub(crate) fn run() {
    let tools = slot::cptr(slot::TOOLS);
    // SAFETY: the description makes this domain the window's manager.
    let window = unsafe { Window::new(tools, WINDOW_RADIX) };
    // SAFETY: and gives it that mint source second.
    let source = unsafe { MintSource::new(tools | 1, SOURCE_RADIX, 0) };
    let badge = BADGE.to_word();
    let good = window.install(GRANTED, &source, badge).is_ok()
        && window.install(REVOKED, &source, badge).is_ok()
        && window.revoke(REVOKED).is_ok()
        && window.revoke(EMPTY).is_ok();
    log!(
        "{} capabilities are handed out",
        if good { "ok" } else { "FAILED" }
    );
    // The holder rings when it has used what it got.
    wait_signals();
    let good = window.revoke(GRANTED).is_ok();
    log!(
        "{} a capability is taken back",
        if good { "ok" } else { "FAILED" }
    );
}
