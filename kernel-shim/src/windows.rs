//! The shim's windows on the kernel.

use ipc::badge::Badge;
use ipc::channel::SlotIndex;
use kernel_shim::Windows;
use sel4::runtime::{MintSource, Window};

use crate::system;

/// Mints capabilities for sessions.
pub(crate) struct SystemWindows {
    install: Window,
    /// Of each application, by its client number.
    sessions: [(u16, Window); system::APPLICATIONS.len()],
    record: MintSource,
    shim: MintSource,
}

impl SystemWindows {
    /// # Safety
    /// Called once.
    pub(crate) unsafe fn new() -> Self {
        let (install, install_radix) = system::MANAGE_WINDOW_INSTALL;
        let (record, record_radix) = system::MANAGE_MINT_RECORD;
        let (shim, shim_radix) = system::MANAGE_MINT_SHIM;
        Self {
            // SAFETY: the capability of this constant, used nowhere else.
            install: unsafe { Window::new(install, install_radix) },
            sessions: system::APPLICATIONS.map(|of| {
                let (window, radix) = of.window;
                // SAFETY: as above.
                (of.client, unsafe { Window::new(window, radix) })
            }),
            // SAFETY: as above.
            record: unsafe { MintSource::new(record, record_radix) },
            // SAFETY: as above.
            shim: unsafe { MintSource::new(shim, shim_radix) },
        }
    }
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
        let endpoint = system::MINT_RECORD_RECORD_SERVER;
        let badge = badge.to_word();
        let _ = self
            .install
            .install(slot.into(), &self.record, endpoint, badge);
    }

    fn revoke_install(&mut self, slot: SlotIndex) {
        let _ = self.install.revoke(slot.into());
    }

    fn grant_session(&mut self, client: u16, slot: SlotIndex, badge: Badge) {
        let endpoint = system::MINT_SHIM_KERNEL_SHIM;
        let badge = badge.to_word();
        if let Some(window) = self.sessions(client) {
            let _ = window.install(slot.into(), &self.shim, endpoint, badge);
        }
    }

    fn revoke_session(&mut self, client: u16, slot: SlotIndex) {
        if let Some(window) = self.sessions(client) {
            let _ = window.revoke(slot.into());
        }
    }
}
