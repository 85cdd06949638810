//! Interrupts, calls and frames, for ever.

use ipc::clock::Clock;
use ipc::stats::netstack::HEAP;
use ipc::transport::MAX_MESSAGE;
use netstack_server::NetStack;
use netstack_server::nic::Hpet;
use sel4::cap::IrqHandler;
use sel4::runtime::{self, Bell, Service, SystemClock, Wake};

use crate::start::Nic;
use crate::system::FACTS;

const FROM_NIC: u64 = FACTS.signal_from("nic");
const FROM_TIMER: u64 = FACTS.signal_from("timer");

/// What runs.
pub(crate) struct Program {
    pub(crate) stack: NetStack<'static, Nic, Bell>,
    pub(crate) timer: Hpet,
    pub(crate) nic_irq: IrqHandler,
    pub(crate) timer_irq: IrqHandler,
    pub(crate) service: Service,
}

impl Program {
    pub(crate) fn run(self) -> ! {
        let Self {
            mut stack,
            mut timer,
            nic_irq,
            timer_irq,
            service,
        } = self;
        let (mut request, mut reply) = ([0; MAX_MESSAGE], [0; MAX_MESSAGE]);
        // Interrupts that came before this start wait to be acknowledged.
        let mut wake = Wake::Signal(FROM_NIC | FROM_TIMER);
        loop {
            let mut answer = None;
            match wake {
                Wake::Signal(bits) => {
                    if bits & FROM_NIC != 0 {
                        stack.nic().acknowledge();
                        let _ = nic_irq.ack();
                    }
                    if bits & FROM_TIMER != 0 {
                        timer.fired();
                        let _ = timer_irq.ack();
                    }
                }
                Wake::Call { badge, length } => {
                    let asked = request.get(..length).unwrap_or_default();
                    let length = stack.serve(badge, asked, &mut reply, SystemClock.now());
                    answer = Some(reply.get(..length).unwrap_or_default());
                }
            }
            let mut next = stack.poll(SystemClock.now());
            while stack.nic().has_more() {
                // Frames may come without an end.
                runtime::note_progress();
                next = stack.poll(SystemClock.now());
            }
            runtime::counters().set(HEAP, runtime::heap_used() as u64);
            let has_news = stack.nic().settle();
            let is_due = next.is_some_and(|at| !timer.arm(at, SystemClock.now())) || has_news;
            if is_due {
                answer.into_iter().for_each(|answer| service.reply(answer));
                wake = service.poll(&mut request).unwrap_or(Wake::Signal(0));
                continue;
            }
            runtime::note_untaken(|| stack.untaken());
            wake = service.next(answer, &mut request);
        }
    }
}
