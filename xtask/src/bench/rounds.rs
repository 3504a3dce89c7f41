//! Timed rounds: one step of each program.

use super::stepper::{Measured, Stepper};
use anyhow::Result;

/// Untimed rounds at the beginning.
const WARM_UP: usize = 2;

/// The measured rounds, at least one.
pub(super) struct Rounds(Vec<(Measured, Measured)>);

impl Rounds {
    pub(super) fn run(ours: &mut Stepper, theirs: &mut Stepper, count: usize) -> Result<Self> {
        for _ in 0..WARM_UP {
            ours.step()?;
            theirs.step()?;
        }
        let round = |round| {
            // The order alternates, so that neither program profits from warm caches or a higher clock.
            let pair = if round % 2 == 0 {
                let first = ours.step()?;
                (first, theirs.step()?)
            } else {
                let first = theirs.step()?;
                (ours.step()?, first)
            };
            println!(
                "    round {:>2}: {} {:.3} s, {} {:.3} s",
                round + 1,
                ours.name,
                pair.0.seconds,
                theirs.name,
                pair.1.seconds
            );
            Ok(pair)
        };
        Ok(Self((0..count).map(round).collect::<Result<_>>()?))
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Median seconds per step of both programs.
    pub(super) fn seconds(&self) -> (f64, f64) {
        (self.median(|ours, _| ours.seconds), self.median(|_, theirs| theirs.seconds))
    }

    /// The largest memory use of both programs, in MB.
    pub(super) fn peak_megabytes(&self) -> (f64, f64) {
        let peak =
            |bytes: fn(&(Measured, Measured)) -> f64| self.0.iter().map(bytes).fold(0.0, f64::max) / 1e6;
        (peak(|round| round.0.peak_bytes), peak(|round| round.1.peak_bytes))
    }

    /// Median of the rounds' ratios, our seconds over theirs.
    pub(super) fn ratio(&self) -> f64 {
        self.median(|ours, theirs| ours.seconds / theirs.seconds)
    }

    /// Median of the rounds' ratios, their seconds over ours.
    pub(super) fn speedup(&self) -> f64 {
        self.median(|ours, theirs| theirs.seconds / ours.seconds)
    }

    fn median(&self, value: fn(&Measured, &Measured) -> f64) -> f64 {
        median(self.0.iter().map(|(ours, theirs)| value(ours, theirs)).collect())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(vec![4.0, 1.0, 2.0, 8.0]).to_bits(), 3.0_f64.to_bits());
    }
}
