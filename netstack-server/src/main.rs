//! The program of the domain `netstack-server`.
#![no_std]
#![no_main]

use ipc::clock::Clock;
use ipc::stats::netstack::HEAP;
use ipc::transport::MAX_MESSAGE;
use sel4::cap::IrqHandler;
use sel4::runtime::{self, Service, SystemClock, Wake};

mod system {
    include!(concat!(env!("OUT_DIR"), "/system.rs"));
}
mod start;

sel4::entry!(main);

fn main() -> ! {
    // SAFETY: this domain serves; the only `Service`.
    let service = unsafe { Service::new() };
    // SAFETY: the capability of this constant, used nowhere else.
    let nic_irq = unsafe { IrqHandler::from_bits(system::IRQ_NIC) };
    // SAFETY: as above.
    let timer_irq = unsafe { IrqHandler::from_bits(system::IRQ_TIMER) };
    // SAFETY: called once.
    let (mut stack, mut timer, stats) = unsafe { start::start() };
    let (mut request, mut reply) = ([0; MAX_MESSAGE], [0; MAX_MESSAGE]);
    // Interrupts that came before this start wait to be acknowledged.
    let mut wake = Wake::Signal(system::FROM_NIC | system::FROM_TIMER);
    loop {
        let mut answer = None;
        match wake {
            Wake::Signal(bits) => {
                if bits & system::FROM_NIC != 0 {
                    stack.nic().acknowledge();
                    let _ = nic_irq.ack();
                }
                if bits & system::FROM_TIMER != 0 {
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
        stats.set(HEAP, runtime::heap_used() as u64);
        let is_due = next.is_some_and(|at| !timer.arm(at, SystemClock.now()));
        wake = match (answer, is_due) {
            (Some(answer), false) => service.reply_and_wait(answer, &mut request),
            (None, false) => service.wait(&mut request),
            (answer, true) => {
                answer.into_iter().for_each(|answer| service.reply(answer));
                service.poll(&mut request).unwrap_or(Wake::Signal(0))
            }
        };
    }
}
