//! Makes the NIC send, to see its interrupt arrive.

use device::Memory;
use ipc::boot::{DeviceSnapshot, interrupt};
use sel4::cap::IrqHandler;
use sel4::log;
use sel4::runtime::wait_signals;
use virtio_drivers::device::net::VirtIONetRaw;

const QUEUE: usize = 8;
/// Shortest Ethernet frame, after the driver's header.
const FRAME: usize = 60;
/// Bytes of its buffer.
const BUFFER: usize = 256;

/// Sends one frame by the NIC that `snapshot` describes, and waits for the interrupt
/// that says so.
///
/// # Safety
/// Called once, with what the root task has mapped.
pub(crate) unsafe fn run(snapshot: &'static DeviceSnapshot, handler: &IrqHandler) {
    // SAFETY: passed on from the caller.
    let transport = match unsafe { device::open(snapshot) } {
        Ok(transport) => transport,
        Err(error) => return log!("FAILED no transport: {error}"),
    };
    let mut nic = match VirtIONetRaw::<Memory, _, QUEUE>::new(transport) {
        Ok(nic) => nic,
        Err(error) => return log!("FAILED no NIC: {error:?}"),
    };
    let Some(buffer) = device::take(BUFFER) else {
        return log!("FAILED no memory for a frame");
    };
    // SAFETY: the memory was taken just now, for this alone.
    let buffer = unsafe { core::slice::from_raw_parts_mut(buffer.as_ptr(), BUFFER) };
    let header = nic.fill_buffer_header(buffer).unwrap_or(0);
    let frame = buffer.get_mut(..header + FRAME).unwrap_or_default();
    // Broadcast, so that nobody has to know an address.
    frame
        .iter_mut()
        .skip(header)
        .take(6)
        .for_each(|byte| *byte = 0xff);
    nic.enable_interrupts();
    // SAFETY: the buffer lives on and is not touched until it is complete.
    let sent = unsafe { nic.transmit_begin(frame) };
    let bits = wait_signals();
    nic.ack_interrupt();
    let good = sent.is_ok() && bits & 1 << interrupt::NIC != 0 && nic.poll_transmit().is_some();
    let again = handler.ack().is_ok();
    log!(
        "{} the NIC interrupts",
        if good && again { "ok" } else { "FAILED" }
    );
}
