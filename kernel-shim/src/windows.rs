//! The shim's windows on the kernel.

use alloc::vec::Vec;

use ipc::badge::Badge;
use ipc::channel::SlotIndex;
use kernel_shim::Windows;
use sel4::runtime::{MintSource, Window};

/// Mints capabilities for sessions.
pub(crate) struct SystemWindows {
    pub(crate) install: Window,
    /// Of each application, by its client number.
    pub(crate) sessions: Vec<(u16, Window)>,
    pub(crate) record: MintSource,
    pub(crate) shim: MintSource,
}

impl SystemWindows {
    fn sessions(&self, client: u16) -> Option<&Window> {
        let mut sessions = self.sessions.iter();
        let (_, window) = sessions.find(|(holder, _)| *holder == client)?;
        Some(window)
    }
}

impl Windows for SystemWindows {
    // The kernel refuses only slots that do not exist; then the holder finds
    // an empty slot, and the handshake fails for want of the capability.

    fn grant_install(&mut self, slot: SlotIndex, badge: Badge) {
        let badge = badge.to_word();
        let _ = self.install.install(slot.into(), &self.record, badge);
    }

    fn revoke_install(&mut self, slot: SlotIndex) {
        let _ = self.install.revoke(slot.into());
    }

    fn grant_session(&mut self, client: u16, slot: SlotIndex, badge: Badge) {
        let badge = badge.to_word();
        if let Some(window) = self.sessions(client) {
            let _ = window.install(slot.into(), &self.shim, badge);
        }
    }

    fn revoke_session(&mut self, client: u16, slot: SlotIndex) {
        if let Some(window) = self.sessions(client) {
            let _ = window.revoke(slot.into());
        }
    }
}
