//! The serial line on which updates come.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use gateway_config::update;
use ipc::clock::Instant;
use ipc::port::Ports;
use keystore_server::rotation::{Line, Ran};

use crate::{current, image, is_of, key, key_file, rings, store};

const NOW: Instant = Instant::from_millis(1000);

/// A 16550, as far as it is used.
#[derive(Default)]
struct Uart {
    inbox: RefCell<VecDeque<u8>>,
    outbox: RefCell<Vec<u8>>,
    scratch: Cell<u8>,
    format: Cell<u8>,
    interrupts: Cell<u8>,
    /// It can send nothing.
    is_full: Cell<bool>,
    /// How often its state was read.
    looks: Cell<u32>,
}

impl Ports for &Uart {
    fn read(&self, port: u16) -> u8 {
        self.looks
            .set(self.looks.get() + u32::from(port == 0x2f8 + 5));
        let can_send = if self.is_full.get() { 0 } else { 0x20 };
        match port - 0x2f8 {
            0 => self.inbox.borrow_mut().pop_front().unwrap_or(0),
            5 => can_send | u8::from(!self.inbox.borrow().is_empty()),
            7 => self.scratch.get(),
            _ => 0,
        }
    }

    fn write(&self, port: u16, value: u8) {
        match port - 0x2f8 {
            // The rate.
            0 | 1 if self.format.get() & 0x80 != 0 => {}
            0 => self.outbox.borrow_mut().push(value),
            1 => self.interrupts.set(value),
            3 => self.format.set(value),
            7 => self.scratch.set(value),
            _ => {}
        }
    }

    fn write_word(&self, _: u16, _: u16) {
        panic!("no such register");
    }
}

/// Where nothing is plugged in.
struct Nothing;

impl Ports for Nothing {
    fn read(&self, _: u16) -> u8 {
        0xff
    }
    fn write(&self, _: u16, _: u8) {}
    fn write_word(&self, _: u16, _: u16) {}
}

#[test]
fn c06_updates_on_the_line_are_answered_with_a_line_each() {
    let (signer, first, second) = (key(), key(), key());
    let blob = image(&rings("web", &first), None, Some(&signer));
    let mut store = store(&blob, None).unwrap();
    let uart = Uart::default();
    let mut line = Line::new(&uart, 0x2f8).unwrap();
    assert_eq!(uart.interrupts.get(), 1);
    let pem = signer.serialize_pem();
    let bytes = update(&rings("web", &second), 1, pem.as_bytes(), None).unwrap();
    let mut told = Vec::new();
    for (is_new, said) in [
        (true, "accepted: version 1\n"),
        (
            false,
            "refused: not newer than version 1, the last that was taken\n",
        ),
    ] {
        uart.inbox.borrow_mut().extend(&bytes);
        let outcome = line.run(
            &mut store,
            || key_file(None),
            NOW,
            |text| told.push(text.to_string()),
        );
        let more_at = None;
        assert_eq!(outcome, Ran { is_new, more_at });
        let outbox = uart.outbox.take();
        assert_eq!(String::from_utf8(outbox).unwrap(), said);
    }
    assert_eq!(told.len(), 2);
    let now = current(&mut store);
    assert!(is_of(&mut store, now, &second));
    assert!(Line::new(Nothing, 0x2f8).is_none());
}

#[test]
fn an_update_that_was_broken_off_does_no_harm_to_the_next() {
    let (signer, first, second) = (key(), key(), key());
    let blob = image(&rings("web", &first), None, Some(&signer));
    let mut store = store(&blob, None).unwrap();
    let uart = Uart::default();
    let mut line = Line::new(&uart, 0x2f8).unwrap();
    let pem = signer.serialize_pem();
    let bytes = update(&rings("web", &second), 1, pem.as_bytes(), None).unwrap();
    let mut run = |bytes: &[u8], millis| {
        uart.inbox.borrow_mut().extend(bytes);
        let now = Instant::from_millis(millis);
        line.run(&mut store, || key_file(None), now, |_| {}).is_new
    };
    // It may come in parts.
    let (start, rest) = bytes.split_at(bytes.len() / 2);
    assert!(!run(start, 10_000));
    assert!(!run(&rest[..9], 12_000));
    // Its sender is gone.
    assert!(run(&bytes, 14_001));
}

#[test]
fn a_long_update_comes_in_turns() {
    let (signer, first) = (key(), key());
    let blob = image(&rings("web", &first), None, Some(&signer));
    let mut store = store(&blob, None).unwrap();
    let uart = Uart::default();
    let mut line = Line::new(&uart, 0x2f8).unwrap();
    let mut long = rings("web", &first);
    long.0[0].trust = vec![vec![0; 900]; 9];
    let pem = signer.serialize_pem();
    let bytes = update(&long, 1, pem.as_bytes(), None).unwrap();
    uart.inbox.borrow_mut().extend(&bytes);
    // As fast as a line of 115,200 baud.
    let eighth = Duration::from_millis(125);
    let turns = bytes.len().div_ceil(1440);
    assert!(turns > 5);
    for turn in 1..=turns as u32 {
        let now = NOW + eighth * turn;
        let ran = line.run(&mut store, || key_file(None), now, |_| {});
        let is_new = turn == turns as u32;
        let more_at = (!is_new).then_some(now + eighth);
        assert_eq!(ran, Ran { is_new, more_at });
        // An interrupt before that changes nothing.
        if !is_new {
            let early = now + eighth / 2;
            let ran = line.run(&mut store, || key_file(None), early, |_| {});
            assert_eq!(ran, Ran { is_new, more_at });
        }
    }
}

#[test]
fn a_writer_that_never_ends_and_never_reads_costs_a_bounded_time() {
    let (signer, first) = (key(), key());
    let blob = image(&rings("web", &first), None, Some(&signer));
    let mut store = store(&blob, None).unwrap();
    let uart = Uart::default();
    let mut line = Line::new(&uart, 0x2f8).unwrap();
    uart.is_full.set(true);
    // Each of these is refused, with an answer that nobody takes.
    let refused = [&b"HKR1"[..], &[255; 4], &[0; 64]].concat();
    for _ in 0..1000 {
        uart.inbox.borrow_mut().extend(&refused);
    }
    let mut answered = 0;
    let mut run = |millis| {
        let before = uart.looks.get();
        let now = NOW + Duration::from_millis(millis);
        line.run(&mut store, || key_file(None), now, |_| answered += 1);
        uart.looks.get() - before
    };
    assert!((10_000..20_000).contains(&run(0)));
    // It is not waited for again.
    assert!((1440..2000).contains(&run(125)));
    assert!(run(200) < 10);
    uart.is_full.set(false);
    assert!(run(250) < 4000);
    assert!(answered > 50, "{answered}");
    let said = String::from_utf8(uart.outbox.take()).unwrap();
    assert!(said.starts_with("refused: "), "{said}");
}
