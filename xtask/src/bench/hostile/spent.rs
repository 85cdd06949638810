//! Where QEMU's time goes: to the guest's processor, or to the network that QEMU
//! emulates. The latter polls every connection, and is no part of what is measured.

use std::fs;
use std::time::Duration;

use crate::screen::Screen;

/// Ticks of the times in `/proc` (proc(5): `sysconf(_SC_CLK_TCK)`, 100 on every Linux
/// that this runs on).
const TICKS: f64 = 100.0;

/// Processor seconds of QEMU's threads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spent {
    guest: f64,
    emulator: f64,
}

impl Spent {
    /// Of a running QEMU whose thread `processor` is the guest's; Linux alone tells it.
    pub(super) fn of(process: u32, processor: u64) -> Option<Self> {
        let mut spent = Self {
            guest: 0.0,
            emulator: 0.0,
        };
        for thread in fs::read_dir(format!("/proc/{process}/task")).ok()? {
            let stat = fs::read_to_string(thread.ok()?.path().join("stat")).ok()?;
            let (number, seconds) = read(&stat)?;
            if number == processor {
                spent.guest += seconds;
            } else {
                spent.emulator += seconds;
            }
        }
        Some(spent)
    }

    /// Tells what was spent since `before`.
    pub(super) fn show_since(self, screen: &Screen, before: Self, passed: Duration) {
        screen.note(&format!(
            "meanwhile, in {:.1} s: guest {:.1} s, QEMU's network {:.1} s of a processor",
            passed.as_secs_f64(),
            self.guest - before.guest,
            self.emulator - before.emulator,
        ));
    }
}

/// A thread's number, and its seconds.
fn read(stat: &str) -> Option<(u64, f64)> {
    let (begin, rest) = stat.rsplit_once(") ")?;
    let number = begin.split(' ').next()?.parse().ok()?;
    // utime and stime are fields 14 and 15; the state after the name is the third.
    let mut times = rest.split(' ').skip(11);
    let mut ticks = || times.next()?.parse::<f64>().ok();
    Some((number, (ticks()? + ticks()?) / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threads_name_may_be_anything() {
        let rest = "S 1 2 3 0 -1 4194304 1 2 3 4 150 50 7 8 20 0";
        assert_eq!(read(&format!("9 (CPU 0/TCG) {rest}")), Some((9, 2.0)));
        assert_eq!(read(&format!("9 (a) x) {rest}")), Some((9, 2.0)));
        assert_eq!(read("9 (qemu) S 1"), None);
    }
}
