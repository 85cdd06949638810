//! Handing capabilities out and taking them back.
//!
//! A window is a small CNode in another domain's CSpace. Its manager mints
//! capabilities into it; the holder can call them and can't copy them, because
//! no domain holds a capability of its own CSpace.

use crate::Error;
use crate::cap::{CNode, MintData, Rights};

/// Unbadged endpoint capabilities that only a manager may mint from.
#[derive(Debug)]
pub struct MintSource {
    cnode: CNode,
    depth: u8,
}

/// The manager's side of a window.
#[derive(Debug)]
pub struct Window {
    cnode: CNode,
    depth: u8,
}

impl MintSource {
    /// The mint source at `cptr`, a CNode with 2^`radix` slots.
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

    /// Puts a capability of the endpoint in slot `endpoint` of `source`, with
    /// `badge`, into slot `index` for the holder to call; what was there is
    /// gone.
    ///
    /// # Errors
    /// The kernel's: a slot does not exist.
    pub fn install(
        &self,
        index: u64,
        source: &MintSource,
        endpoint: u64,
        badge: u64,
    ) -> Result<(), Error> {
        let slot = self.cnode.slot(index, self.depth);
        let from = source.cnode.slot(endpoint, source.depth);
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
