//! Health tests of a noise source (NIST SP 800-90B §4.4).

/// The least entropy that a sample, a byte, is assumed to hold: four bits. A sound
/// generator gives eight, so a sound one is never refused in practice.
#[cfg(test)]
const BITS_PER_SAMPLE: u32 = 4;
/// Equal samples in a row that fail the repetition count test: 1 + 40 / 4, for
/// a false alarm in 2⁴⁰ samples (§4.4.1).
const REPETITIONS: u32 = 11;
/// Samples of a window of the adaptive proportion test (§4.4.2).
const WINDOW: u32 = 512;
/// Samples of a window equal to its first that fail it: 1 + the critical value
/// of the binomial distribution of 512 and 2⁻⁴ at 1 − 2⁻⁴⁰ (§4.4.2).
const PROPORTION: u32 = 78;

/// The source failed a health test; it is not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsound;

/// Both tests, over all samples since the start.
///
/// It keeps two samples, a byte each: the last, and the first of the window.
pub(crate) struct Health {
    last: u8,
    repeated: u32,
    first: u8,
    /// Samples of the window so far.
    seen: u32,
    /// Samples of the window equal to its first, with itself.
    equal: u32,
    failed: bool,
}

impl Health {
    /// Before the first sample.
    pub(crate) const fn new() -> Self {
        Self {
            last: 0,
            repeated: 0,
            first: 0,
            seen: 0,
            equal: 0,
            failed: false,
        }
    }

    /// Judges the next samples.
    ///
    /// # Errors
    /// [`Unsound`] when a test fails, and ever after.
    pub(crate) fn judge(&mut self, samples: &[u8]) -> Result<(), Unsound> {
        for sample in samples {
            self.failed |= self.repeats(*sample) | self.dominates(*sample);
        }
        if self.failed { Err(Unsound) } else { Ok(()) }
    }

    /// The repetition count test.
    fn repeats(&mut self, sample: u8) -> bool {
        if self.repeated > 0 && sample == self.last {
            self.repeated = self.repeated.saturating_add(1);
        } else {
            self.last = sample;
            self.repeated = 1;
        }
        self.repeated >= REPETITIONS
    }

    /// The adaptive proportion test.
    fn dominates(&mut self, sample: u8) -> bool {
        if self.seen == 0 {
            self.first = sample;
            self.equal = 0;
        }
        self.equal += u32::from(sample == self.first);
        self.seen = (self.seen + 1) % WINDOW;
        self.equal >= PROPORTION
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each byte value in turn, from `start`.
    fn counting(start: u8, count: usize) -> Vec<u8> {
        (0..=u8::MAX)
            .cycle()
            .skip(start.into())
            .take(count)
            .collect()
    }

    /// `count` samples whose every `step`th is zero, and the others differ from
    /// their neighbours.
    fn with_zero_each(step: usize, count: usize) -> Vec<u8> {
        let other = (1..=u8::MAX).cycle();
        let samples = other.enumerate().take(count);
        samples
            .map(|(at, other)| if at % step == 0 { 0 } else { other })
            .collect()
    }

    #[test]
    fn the_limit_of_repetitions_is_that_of_the_entropy_claimed() {
        assert_eq!(REPETITIONS, 1 + 40_u32.div_ceil(BITS_PER_SAMPLE));
    }

    #[test]
    fn the_limit_of_the_proportion_is_that_of_the_entropy_claimed() {
        // P(X ≤ k) of the binomial distribution, term by term.
        let p = 0.5_f64.powi(4);
        let mut term = (1.0 - p).powi(512);
        let mut above = 1.0 - term;
        let mut terms = vec![term];
        for k in 0..512_u32 {
            term *= f64::from(512 - k) / f64::from(k + 1) * p / (1.0 - p);
            terms.push(term);
            above -= term;
        }
        assert!(above.abs() < 1e-9);
        // The tail, summed from its small end.
        let tail = |from: usize| terms.iter().skip(from).rev().sum::<f64>();
        let limit = usize::try_from(PROPORTION).unwrap();
        let alarm = 0.5_f64.powi(40);
        assert!(tail(limit) <= alarm);
        assert!(tail(limit - 1) > alarm);
    }

    #[test]
    fn ten_equal_samples_are_sound_and_eleven_are_not() {
        for (count, expected) in [(10, Ok(())), (11, Err(Unsound))] {
            let mut health = Health::new();
            health.judge(&counting(9, 1000)).unwrap();
            assert_eq!(health.judge(&vec![3; count]), expected, "{count}");
        }
    }

    #[test]
    fn repetitions_count_over_several_draws() {
        let mut health = Health::new();
        health.judge(&[0; 8]).unwrap();
        assert_eq!(health.judge(&[0; 8]), Err(Unsound));
    }

    #[test]
    fn a_sample_in_seven_is_sound_and_a_sample_in_six_is_not() {
        // 512 / 7 is 73, 512 / 6 is 85; the limit is 78.
        assert_eq!(Health::new().judge(&with_zero_each(7, 512)), Ok(()));
        assert_eq!(Health::new().judge(&with_zero_each(6, 512)), Err(Unsound));
    }

    #[test]
    fn each_window_counts_from_zero() {
        assert_eq!(Health::new().judge(&with_zero_each(8, 100 * 512)), Ok(()));
    }

    #[test]
    fn a_source_that_failed_stays_refused() {
        let mut health = Health::new();
        assert_eq!(health.judge(&[5; 20]), Err(Unsound));
        assert_eq!(health.judge(&counting(0, 5000)), Err(Unsound));
    }
}
