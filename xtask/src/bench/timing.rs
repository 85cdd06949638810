//! Whether decryptions of wrong paddings can be told from those of right ones:
//! Welch's test on their instructions (R21).

use anyhow::{Context, Result, ensure};

use super::Figures;
use crate::screen::print_line;

/// All decryptions, and those of the quieter three quarters: an interrupt in
/// between hides a difference, and a difference that is great enough hides in what
/// is left out.
const SETS: [&str; 2] = ["all", "quiet"];
/// What the others are compared with.
const GOOD: &str = "good";
/// Beyond that, two samples are taken to differ; the usual bound of leakage
/// assessment (ISO/IEC 17825).
const BOUND: f64 = 4.5;

struct Sample {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Sample {
    fn of(figures: &Figures, set: &str, kind: &str) -> Result<Self> {
        let figure = |what: &str| {
            let name = format!("static_rsa_{set}_{what}_{kind}");
            figures
                .get(&name)
                .copied()
                .with_context(|| format!("no {name}"))
        };
        Ok(Self {
            count: figure("count")?,
            mean: figure("mean")?,
            variance: figure("variance")?,
        })
    }

    /// Welch's t. Samples that never vary differ infinitely or not at all.
    fn t(&self, other: &Self) -> f64 {
        let away = self.mean - other.mean;
        if away == 0.0 {
            return 0.0;
        }
        away / (self.variance / self.count + other.variance / other.count).sqrt()
    }
}

/// Prints a line for each kind of padding.
///
/// # Errors
/// One of them can be told from a right one.
pub(super) fn judge(figures: &Figures) -> Result<()> {
    let mut worst = 0.0f64;
    print_line("       padding        decryptions   instructions   deviation       t");
    for set in SETS {
        let good = Sample::of(figures, set, GOOD)?;
        let prefix = format!("static_rsa_{set}_mean_");
        for kind in figures.keys().filter_map(|name| name.strip_prefix(&prefix)) {
            let sample = Sample::of(figures, set, kind)?;
            let t = sample.t(&good);
            let (count, mean, deviation) = (sample.count, sample.mean, sample.variance.sqrt());
            print_line(format_args!(
                "{set:6} {kind:14} {count:11.0} {mean:14.0} {deviation:11.1} {t:7.2}"
            ));
            // Not a number: too few to compare.
            worst = worst.max(if t.is_nan() { f64::INFINITY } else { t.abs() });
        }
    }
    ensure!(
        worst < BOUND,
        "a wrong padding can be told from a right one by its instructions: |t| = {worst:.1}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(mean: f64, variance: f64) -> Figures {
        let mut figures = Figures::new();
        for (kind, mean) in [("good", 1000.0), ("wrong", mean)] {
            for (what, value) in [("count", 100.0), ("mean", mean), ("variance", variance)] {
                for set in SETS {
                    figures.insert(format!("static_rsa_{set}_{what}_{kind}"), value);
                }
            }
        }
        figures
    }

    #[test]
    fn r21_samples_that_differ_by_more_than_their_spread_are_told_apart() {
        assert!(judge(&figures(1000.0, 0.0)).is_ok());
        assert!(judge(&figures(1001.0, 0.0)).is_err());
        assert!(judge(&figures(1001.0, 100.0)).is_ok());
        assert!(judge(&figures(1010.0, 100.0)).is_err());
        assert!(judge(&figures(990.0, 100.0)).is_err());
        assert!(judge(&Figures::new()).is_err());
    }
}
