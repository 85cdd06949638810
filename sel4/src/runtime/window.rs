//! Handing capabilities out and taking them back.
//!
//! A window is a small CNode in another domain's CSpace. Its manager mints
//! capabilities into it; the holder can call them and can't copy them, because
//! no domain holds a capability of its own CSpace.

use super::Caller;
use crate::Error;
use crate::cap::{CNode, MintData, Rights};

/// An unbadged endpoint capability that only a manager may mint from.
#[derive(Debug)]
pub struct MintSource {
    cnode: CNode,
    depth: u8,
    endpoint: u64,
}

/// The holder's side of a window: slots that its manager fills.
#[derive(Debug)]
pub struct HeldWindow {
    cptr: u64,
    slots: u64,
}

impl HeldWindow {
    /// The window at `cptr` with 2^`radix` slots.
    ///
    /// # Safety
    /// The system description gives this domain that window.
    pub const unsafe fn new(cptr: u64, radix: u8) -> Self {
        Self {
            cptr,
            slots: 1 << radix,
        }
    }

    /// The right to call what is in a slot, if anything is.
    ///
    /// # Panics
    /// There is no such slot.
    pub fn caller(&self, index: u16) -> Caller {
        let index = u64::from(index);
        assert!(index < self.slots, "no such slot of a window");
        // SAFETY: a slot of this domain's own window: its manager fills it with endpoints
        // alone, and what it says is checked by the server.
        unsafe { Caller::new(self.cptr + index) }
    }
}

/// The manager's side of a window.
#[derive(Debug)]
pub struct Window {
    cnode: CNode,
    depth: u8,
}

impl MintSource {
    /// The endpoint in slot `endpoint` of the mint source at `cptr`, a CNode with
    /// 2^`radix` slots.
    ///
    /// # Safety
    /// The system description gives this domain that CNode capability.
    pub const unsafe fn new(cptr: u64, radix: u8, endpoint: u64) -> Self {
        Self {
            // SAFETY: the caller vouches for the capability.
            cnode: unsafe { CNode::from_bits(cptr) },
            depth: radix,
            endpoint,
        }
    }
}

impl Window {
    /// The window at `cptr`, a CNode with 2^`radix` slots.
    ///
    /// # Safety
    /// The system description gives this domain that CNode capability.
    pub const unsafe fn new(cptr: u64, radix: u8) -> Self {
        Self {
            // SAFETY: the caller vouches for the capability.
            cnode: unsafe { CNode::from_bits(cptr) },
            depth: radix,
        }
    }

    /// Puts a capability of the endpoint of `source`, with `badge`, into slot `index`
    /// for the holder to call; what was there is gone.
    ///
    /// # Errors
    /// The kernel's: a slot does not exist.
    pub fn install(&self, index: u64, source: &MintSource, badge: u64) -> Result<(), Error> {
        let slot = self.cnode.slot(index, self.depth);
        let from = source.cnode.slot(source.endpoint, source.depth);
        let mint = || slot.mint(&from, Rights::CALL, MintData::Badge(badge));
        // Mostly the slot is empty: what is revoked is deleted.
        match mint() {
            Err(Error::DeleteFirst) => {
                slot.delete()?;
                mint()
            }
            done => done,
        }
    }

    /// Takes the capability in slot `index` back. A call by it gets
    /// `TransportError::Gone` from then on.
    ///
    /// # Errors
    /// The kernel's: a slot does not exist.
    pub fn revoke(&self, index: u64) -> Result<(), Error> {
        self.cnode.slot(index, self.depth).delete()
    }
}
