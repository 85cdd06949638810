//! Key rings that are sealed until the key-encryption key comes.

use alloc::vec::Vec;
use core::hint::black_box;

use ipc::provision::{Keyrings, Sealed};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::firmware::Kek;

/// The rings; `None` under another key, or when a bit was changed.
pub(crate) fn open(sealed: &Sealed, key: &Kek) -> Option<Keyrings> {
    let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &**key).ok()?);
    let nonce = Nonce::assume_unique_for_key(sealed.nonce);
    let mut text: Zeroizing<Vec<u8>> = Zeroizing::new(sealed.ciphertext.clone());
    let associated = Aad::from(sealed.associated_data());
    let plain = aead.open_in_place(nonce, associated, &mut text).ok()?;
    postcard::from_bytes(plain).ok()
}

/// More than opening uses of the stack.
const STACK_USED: usize = 16 * 1024;

/// Clears the stack below the caller. Otherwise what opening left there, the key
/// included, could be copied to the heap as padding.
#[inline(never)]
pub(crate) fn clear_below() {
    black_box(&mut [0_u8; STACK_USED]);
}
