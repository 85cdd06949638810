//! The smallest server, the domain that is never asked for anything, and the
//! price of calls.

use ipc::control;
use ipc::transport::{MAX_MESSAGE, Transport};
use sel4::log;
use sel4::runtime::{self, Caller, Service, SystemClock, Wake};

use crate::meter::IDLE;
use crate::site::Site;

/// Two looks at the clock that are farther apart had something between them.
const UNDISTURBED: u64 = 100;
/// Calls in a measurement.
const CALLS: u64 = 1000;

/// The domain `echo`: answers every call with its own bytes.
pub(crate) fn answer() -> ! {
    // SAFETY: this domain serves; the only `Service`.
    let service = unsafe { Service::new() };
    let mut request = [0; MAX_MESSAGE];
    let mut wake = service.wait(&mut request);
    loop {
        wake = match wake {
            Wake::Signal(_) => service.wait(&mut request),
            Wake::Call { length, .. } => {
                let mut answer = [0; 8];
                let asked = request.get(..length).unwrap_or_default();
                for (to, from) in answer.iter_mut().zip(asked) {
                    *to = *from;
                }
                service.reply_and_wait(&answer, &mut request)
            }
        };
    }
}

/// The domain `idle`: counts what it spends while no other domain has work.
pub(crate) fn idle() -> ! {
    let stats = runtime::counters();
    let mut before = SystemClock::ticks();
    loop {
        let now = SystemClock::ticks();
        let spent = now.wrapping_sub(before);
        if spent < UNDISTURBED {
            stats.add(IDLE, spent);
        }
        before = now;
    }
}

/// One call with its reply: eight bytes each way, and a typed one.
pub(crate) fn measure(echo: &Caller, site: &Site) {
    let mut reply = [0; MAX_MESSAGE];
    let mut call = || {
        if echo.call(b"12345678", &mut reply) != Ok(8) {
            panic!("echo does not answer");
        }
    };
    call();
    let start = site.meter.start();
    (0..CALLS).for_each(|_| call());
    log!("figure call_8_bytes {}", site.meter.since(&start) / CALLS);
    let call = || {
        let answer = site.shim.call(&control::Request::CollectAny);
        if !matches!(answer, Ok(Ok(control::Answer::NothingCompleted))) {
            panic!("the shim does not answer");
        }
    };
    call();
    let start = site.meter.start();
    (0..CALLS).for_each(|_| call());
    log!("figure call_typed {}", site.meter.since(&start) / CALLS);
}
