//! The program of the domain `netstack-server`.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod program;
mod start;

sel4::system!();
sel4::entry!(main);

fn main() -> ! {
    start::start(system::Capabilities::take()).run()
}
