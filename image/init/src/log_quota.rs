//! How much a domain may log: the monitor prints before all domains run, so one that logs
//! without end would stop the system.

use crate::calendar::STAMP;

/// Bytes that a domain may log at once.
pub const BURST: u64 = 512 * 1024;
/// Bytes that it may log in each second after that, to a device that takes blocks.
pub const RATE: u64 = 256 * 1024;
/// The same to a serial port, where each byte is a system call.
pub const SERIAL_RATE: u64 = 32 * 1024;

/// What a domain has left.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    left: u64,
    /// Bytes in a second.
    rate: u64,
    /// Ticks of the processor's counter.
    refilled: u64,
}

impl Quota {
    /// A whole burst, and so many bytes in each second.
    #[must_use]
    pub const fn new(now: u64, rate: u64) -> Self {
        Self {
            left: BURST,
            rate,
            refilled: now,
        }
    }

    /// Takes what is printed for `bytes` of a log with so many `lines`, each after its moment
    /// and the name of its domain, which is `name` bytes long; false, and nothing is taken, when it is
    /// too much.
    pub fn allows(&mut self, bytes: u64, lines: u64, name: usize, now: u64, tsc_hz: u64) -> bool {
        let earned = u128::from(now.wrapping_sub(self.refilled)) * u128::from(self.rate);
        let earned = u64::try_from(earned / u128::from(tsc_hz.max(1))).unwrap_or(u64::MAX);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(BURST);
            self.refilled = now;
        }
        let printed = bytes.saturating_add(lines.saturating_mul((STAMP + name) as u64 + 2));
        let left = self.left.checked_sub(printed);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    /// Whether less than half of a burst is left.
    #[must_use]
    pub const fn is_low(&self) -> bool {
        self.left < BURST / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HZ: u64 = 1_000_000;
    const NAME: &str = "offload-server";

    #[test]
    fn a_domain_that_writes_newlines_alone_is_charged_for_its_name_on_each() {
        let mut quota = Quota::new(0, RATE);
        let mut lines = 0;
        while quota.allows(1, 1, NAME.len(), 0, HZ) {
            lines += 1;
        }
        // Each is the moment, "offload-server: " and the newline.
        assert_eq!(lines, BURST / (28 + 17));
    }

    #[test]
    fn a_burst_is_allowed_at_once_and_then_the_rate() {
        let mut quota = Quota::new(0, RATE);
        assert!(quota.allows(BURST, 0, 0, 0, HZ) && quota.is_low());
        assert!(!quota.allows(1, 0, 0, 0, HZ));
        // A second later.
        assert!(!quota.allows(RATE + 1, 0, 0, HZ, HZ));
        assert!(quota.allows(RATE, 0, 0, HZ, HZ));
        // Nothing is saved up beyond a burst.
        assert!(!quota.allows(BURST + 1, 0, 0, 1000 * HZ, HZ));
        assert!(quota.allows(BURST, 0, 0, 1000 * HZ, HZ));
    }
}
