//! Calls from domain to domain in one process.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipc::badge::Badge;
use ipc::channel::SlotIndex;
use ipc::channel::local::{LocalDoorbell, Silent};
use ipc::clock::{Clock, Instant};
use ipc::net::{self, Net};
use ipc::transport::{MAX_MESSAGE, Transport, TransportError, dispatch};

use crate::wire::Wire;

/// The application, and the offload component at the key store.
pub(crate) const CLIENT: Badge = Badge::Client(1);

pub(crate) type Bell = LocalDoorbell<Silent>;
pub(crate) type Record = record_server::Server<'static, Bell, Bell, Bell>;

pub(crate) struct Stack(pub(crate) Rc<RefCell<Wire>>);

impl Transport for Stack {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        Ok(dispatch::<Net>(request, reply, |request| match request {
            net::Request::Move {
                to,
                expected_tx_next,
                ..
            } => {
                let position = self.0.borrow_mut().hand_over(to, expected_tx_next)?;
                Ok(net::Answer::Moved { position })
            }
            net::Request::Release { .. } | net::Request::Abort { .. } => {
                self.0.borrow_mut().release();
                Ok(net::Answer::Done)
            }
            _ => Ok(net::Answer::Done),
        }))
    }
}

pub(crate) struct Slots(pub(crate) Rc<RefCell<Record>>);

impl Transport for Slots {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        let badge = Badge::Control.to_word();
        Ok(self.0.borrow_mut().serve(badge, request, reply, Now.now()))
    }
}

/// What the shim minted: the badge that installs keys, and that of the session.
#[derive(Clone, Default)]
pub(crate) struct Minted {
    pub(crate) install: Rc<Cell<Option<Badge>>>,
    pub(crate) session: Rc<Cell<Option<Badge>>>,
}

pub(crate) struct Install(pub(crate) Rc<RefCell<Record>>, pub(crate) Minted);

impl Transport for Install {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        // Without a capability nothing answers.
        let badge = self.1.install.get().map_or(0, Badge::to_word);
        Ok(self.0.borrow_mut().serve(badge, request, reply, Now.now()))
    }
}

pub(crate) struct Windows(pub(crate) Minted);

impl kernel_shim::Windows for Windows {
    fn grant_install(&mut self, _: SlotIndex, badge: Badge) {
        self.0.install.set(Some(badge));
    }
    fn revoke_install(&mut self, _: SlotIndex) {
        self.0.install.set(None);
    }
    fn grant_session(&mut self, _: u16, _: SlotIndex, badge: Badge) {
        self.0.session.set(Some(badge));
    }
    fn revoke_session(&mut self, _: u16, _: SlotIndex) {
        self.0.session.set(None);
    }
}

pub(crate) struct Keys(pub(crate) Arc<Mutex<keystore_server::Server<'static>>>);

impl Transport for Keys {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(store.serve(CLIENT.to_word(), request, reply))
    }
}

/// This machine's clock, and what was skipped of it.
#[derive(Clone, Copy)]
pub(crate) struct Now;

static SKIPPED: AtomicU64 = AtomicU64::new(0);

impl Now {
    /// So many seconds pass at once.
    pub(crate) fn skip(seconds: u64) {
        SKIPPED.fetch_add(seconds, Ordering::Relaxed);
    }

    fn since_epoch() -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.unwrap_or_default() + Duration::from_secs(SKIPPED.load(Ordering::Relaxed))
    }
}

impl Clock for Now {
    fn now(&self) -> Instant {
        let nanos = Self::since_epoch().as_nanos();
        Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
    fn unix_seconds(&self) -> u64 {
        Self::since_epoch().as_secs()
    }
}
