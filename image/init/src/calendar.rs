//! Dates of the Gregorian calendar, as the real-time clock (Motorola MC146818A) and
//! people write them.

use core::fmt;
use core::ops::Range;

const DAY: u64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01.
const TO_1970: u64 = 719_468;
/// Days in 400 years.
const ERA: u64 = 146_097;
/// The century where the clock tells none that can be.
const CENTURY: u64 = 20;

/// The registers of a real-time clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// 0 to 59.
    pub second: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 23, or 1 to 12 with bit 7 in the afternoon.
    pub hour: u8,
    /// 1 to 31.
    pub day: u8,
    /// 1 to 12.
    pub month: u8,
    /// 0 to 99.
    pub year: u8,
    /// What register 0x32 has: the century in most machines, anything in others.
    pub century: u8,
}

impl Fields {
    /// Seconds since 1970-01-01 00:00 UTC; `None` when this is no date, or one before.
    /// `mode` is register B: bit 2 for binary numbers, bit 1 for 24 hours.
    pub fn unix_seconds(self, mode: u8) -> Option<u64> {
        let is_binary = mode & 0b100 != 0;
        let is_24_hours = mode & 0b10 != 0;
        let plain = |value: u8| -> Option<u64> {
            let (tens, ones) = (value >> 4, value & 0xf);
            if is_binary {
                Some(value.into())
            } else {
                (tens < 10 && ones < 10).then_some(u64::from(tens) * 10 + u64::from(ones))
            }
        };
        let within = |value: u64, range: core::ops::RangeInclusive<u64>| {
            range.contains(&value).then_some(value)
        };
        let hour = if is_24_hours {
            within(plain(self.hour)?, 0..=23)?
        } else {
            let afternoon = if self.hour & 0x80 == 0 { 0 } else { 12 };
            within(plain(self.hour & 0x7f)?, 1..=12)? % 12 + afternoon
        };
        // ACPI's FADT would tell the register's number; see ADR 0098.
        let century = plain(self.century).filter(|century| (19..=29).contains(century));
        let year = century.unwrap_or(CENTURY) * 100 + within(plain(self.year)?, 0..=99)?;
        let month = within(plain(self.month)?, 1..=12)?;
        let day = within(plain(self.day)?, 1..=31)?;
        let days = days_since_1970(year, month, day)?;
        let minute = within(plain(self.minute)?, 0..=59)?;
        let second = within(plain(self.second)?, 0..=59)?;
        Some(days * DAY + (hour * 60 + minute) * 60 + second)
    }
}

/// Days from 1970-01-01 to that date; `None` before.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    // March is month zero: the leap day comes last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year.checked_sub(1)?, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    (365 * year + leap_days + (153 * month + 2) / 5 + day - 1).checked_sub(TO_1970)
}

/// A moment, in seconds since 1970-01-01 00:00 UTC, to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Utc(pub u64);

impl Utc {
    /// Year, month, day.
    fn date(self) -> (u64, u64, u64) {
        let days = self.0 / DAY + TO_1970;
        let (era, day) = (days / ERA, days % ERA);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        if month < 10 {
            (era * 400 + year, month + 3, day)
        } else {
            (era * 400 + year + 1, month - 9, day)
        }
    }

    /// Hour, minute, second.
    const fn time(self) -> (u64, u64, u64) {
        let second = self.0 % DAY;
        (second / 3600, second / 60 % 60, second % 60)
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((year, month, day), (hour, minute, second)) = (self.date(), self.time());
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"
        )
    }
}

/// Bytes of a [`Stamp`], with the space after it.
pub const STAMP: usize = 28;

/// Moments as the log has them before each line: `2026-11-28T09:30:05.000250Z ` (RFC 3339
/// §5.6). Most lines are of the second of the one before.
#[derive(Debug)]
pub struct Stamp {
    second: u64,
    text: [u8; STAMP],
}

impl Default for Stamp {
    fn default() -> Self {
        let mut stamp = Self {
            second: 0,
            text: *b"0000-00-00T00:00:00.000000Z ",
        };
        stamp.set_second(0);
        stamp
    }
}

impl Stamp {
    /// The moment so many nanoseconds after 1970-01-01 00:00 UTC.
    pub fn at(&mut self, nanos: u64) -> &[u8; STAMP] {
        const SECOND: u64 = 1_000_000_000;
        let second = nanos / SECOND;
        if second != self.second {
            self.set_second(second);
        }
        self.put(20..26, nanos % SECOND / 1000);
        &self.text
    }

    fn set_second(&mut self, second: u64) {
        self.second = second;
        let ((year, month, day), (hour, minute, seconds)) =
            (Utc(second).date(), Utc(second).time());
        let fields = [
            (0..4, year),
            (5..7, month),
            (8..10, day),
            (11..13, hour),
            (14..16, minute),
            (17..19, seconds),
        ];
        for (place, value) in fields {
            self.put(place, value);
        }
    }

    /// The last digits of `value`.
    fn put(&mut self, place: Range<usize>, mut value: u64) {
        for digit in self.text.get_mut(place).into_iter().flatten().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::string::ToString;

    use super::*;

    const BINARY_24: u8 = 0b110;
    const BCD_24: u8 = 0b010;
    const BCD_12: u8 = 0b000;

    fn fields(century: u8, year: u8, month: u8, day: u8) -> Fields {
        Fields {
            second: 0,
            minute: 0,
            hour: 0,
            day,
            month,
            year,
            century,
        }
    }

    #[test]
    fn dates_are_read_in_each_form() {
        let mut date = fields(0x20, 0x26, 0x11, 0x28);
        (date.hour, date.minute, date.second) = (0x23, 0x59, 0x58);
        assert_eq!(date.unix_seconds(BCD_24), Some(1_795_910_398));
        date.hour = 0x91;
        assert_eq!(date.unix_seconds(BCD_12), Some(1_795_910_398));
        date.hour = 0x12;
        assert_eq!(date.unix_seconds(BCD_12), Some(1_795_827_598));
        let mut date = fields(20, 26, 11, 28);
        (date.hour, date.minute, date.second) = (23, 59, 58);
        assert_eq!(date.unix_seconds(BINARY_24), Some(1_795_910_398));
    }

    #[test]
    fn the_century_is_the_clock_s_own_where_it_can_be() {
        let at = |century| fields(century, 0x00, 0x03, 0x01).unix_seconds(BCD_24);
        assert_eq!(at(0x20), Some(951_868_800));
        assert_eq!(at(0x21), Some(4_107_542_400));
        assert_eq!(at(0x19), None);
        for strange in [0, 0x1a, 0x99, 0xff] {
            assert_eq!(at(strange), at(0x20), "{strange:#x}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        let good = fields(0x20, 0x26, 0x11, 0x28);
        assert!(good.unix_seconds(BCD_24).is_some());
        for bad in [
            Fields { month: 0, ..good },
            Fields {
                month: 0x13,
                ..good
            },
            Fields { day: 0, ..good },
            Fields { day: 0x32, ..good },
            Fields { hour: 0x24, ..good },
            Fields {
                minute: 0x60,
                ..good
            },
            Fields {
                second: 0x5a,
                ..good
            },
            Fields { year: 0xff, ..good },
        ] {
            assert_eq!(bad.unix_seconds(BCD_24), None, "{bad:?}");
        }
        let nothing = [0xff; 7];
        let [second, minute, hour, day, month, year, century] = nothing;
        let nothing = Fields {
            second,
            minute,
            hour,
            day,
            month,
            year,
            century,
        };
        assert_eq!(nothing.unix_seconds(BINARY_24), None);
    }

    #[test]
    fn each_day_is_shown_as_it_was_read() {
        // 2000 to 2199: leap years, and two that are none.
        for year in 2000..2200_u64 {
            for (month, day) in [(1, 1), (2, 28), (3, 1), (12, 31)] {
                let days = days_since_1970(year, month, day).unwrap();
                let shown = Utc(days * DAY + 3661).to_string();
                assert_eq!(
                    shown,
                    alloc::format!("{year}-{month:02}-{day:02} 01:01:01 UTC")
                );
            }
        }
        assert_eq!(Utc(951_782_400).to_string(), "2000-02-29 00:00:00 UTC");
    }

    #[test]
    fn a_stamp_says_what_utc_says_to_the_microsecond() {
        let mut stamp = Stamp::default();
        let said = |stamp: &mut Stamp, nanos| String::from_utf8_lossy(stamp.at(nanos)).into_owned();
        assert_eq!(said(&mut stamp, 999), "1970-01-01T00:00:00.000000Z ");
        for second in [
            1,
            1,
            68_169_600,
            951_827_696,
            1_764_322_205,
            4_107_542_399,
            1,
        ] {
            let utc = Utc(second).to_string();
            let expected = utc.replacen(' ', "T", 1).replace(" UTC", ".000250Z ");
            assert_eq!(said(&mut stamp, second * 1_000_000_000 + 250_999), expected);
        }
    }
}
