//! Whether a scorer agrees less with the newest votes than with those before.

use std::collections::BTreeMap;

/// Fewest votes of each of the two windows.
const FEWEST: usize = 50;
/// The newest part of the votes.
const NEWEST: f64 = 0.25;
/// The 97.5% quantile of the standard normal distribution.
const Z: f64 = domain::ranking::Z;

/// The agreement of a scorer with one vote, from 0 to 1, and the number of the vote's prompt.
pub type Credit = (f64, usize);

/// The accuracy of a scorer on the newest quarter of the votes against that on the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// Number and mean credit of the votes before.
    pub earlier: (usize, f64),
    /// Number and mean credit of the newest votes.
    pub newest: (usize, f64),
    /// 95% interval of the newest mean minus the earlier one.
    pub difference: [f64; 2],
}

impl Drift {
    /// Whether the scorer agrees less with the newest votes, at 95% confidence.
    #[must_use]
    pub fn has_drifted(&self) -> bool {
        self.difference[1] < 0.0
    }
}

/// Compares the newest quarter of the credits, which are in the order of the votes, with the others. None below 50 votes or two prompts in
/// either part. Votes on one prompt are not counted as independent: the variance is clustered by prompt, which counts the same prompt
/// in both parts twice and so is rather too large.
#[must_use]
pub fn drift(credits: &[Credit]) -> Option<Drift> {
    let newest = ((credits.len() as f64 * NEWEST) as usize).max(FEWEST);
    let split = credits.len().checked_sub(newest).filter(|earlier| *earlier >= FEWEST)?;
    let (earlier, newest) = credits.split_at(split);
    let (earlier_mean, newest_mean) = (mean(earlier), mean(newest));
    let reach = Z * (variance(earlier, earlier_mean)? + variance(newest, newest_mean)?).sqrt();
    let difference = newest_mean - earlier_mean;
    Some(Drift {
        earlier: (earlier.len(), earlier_mean),
        newest: (newest.len(), newest_mean),
        difference: [difference - reach, difference + reach],
    })
}

fn mean(credits: &[Credit]) -> f64 {
    credits.iter().map(|(credit, _)| credit).sum::<f64>() / credits.len() as f64
}

/// The variance of the mean, clustered by prompt; none for one prompt.
fn variance(credits: &[Credit], mean: f64) -> Option<f64> {
    let mut sums: BTreeMap<usize, f64> = BTreeMap::new();
    for (credit, prompt) in credits {
        *sums.entry(*prompt).or_default() += credit - mean;
    }
    let clusters = sums.len() as f64;
    if clusters < 2.0 {
        return None;
    }
    let squares: f64 = sums.values().map(|sum| sum * sum).sum();
    Some(squares * clusters / (clusters - 1.0) / (credits.len() as f64).powi(2))
}

#[cfg(test)]
mod tests {
    use super::drift;

    /// 300 votes on 30 prompts, of which the scorer agrees with `before` in ten, and with `after` in ten of the last 75.
    fn votes(before: usize, after: usize) -> Vec<(f64, usize)> {
        let share = |n: usize| if n < 225 { before } else { after };
        (0..300).map(|n| (f64::from(u8::from(n * 7 % 10 < share(n))), n % 29)).collect()
    }

    #[test]
    fn a_fall_is_found_and_a_steady_accuracy_is_not_called_one() {
        let fell = drift(&votes(8, 5)).expect("enough votes");
        assert_eq!((fell.earlier.0, fell.newest.0), (225, 75));
        assert!((fell.earlier.1 - 0.8).abs() < 0.01 && (fell.newest.1 - 0.5).abs() < 0.03, "{fell:?}");
        assert!(fell.has_drifted(), "{fell:?}");
        assert!(!drift(&votes(8, 8)).expect("enough votes").has_drifted());
        assert!(!drift(&votes(5, 8)).expect("enough votes").has_drifted(), "a rise is no drift");
        assert!(drift(&votes(8, 5)[..99]).is_none());
        let one_prompt: Vec<(f64, usize)> = votes(9, 1).into_iter().map(|(credit, _)| (credit, 0)).collect();
        assert!(drift(&one_prompt).is_none(), "one prompt tells nothing of others");
    }

    /// Worked by hand: two prompts of 25 votes each in the earlier part with means 1 and 0.5.
    #[test]
    fn the_variance_is_clustered_by_prompt() {
        let mut votes: Vec<(f64, usize)> =
            (0..50).map(|n| (if n % 2 == 0 { 1.0 } else { 0.5 }, n % 2)).collect();
        votes.extend((0..50).map(|n| (0.75, n % 2)));
        let found = drift(&votes).expect("enough votes");
        // Cluster sums +-6.25: 2 * 6.25^2 * 2 / 50^2 = 0.0625, standard error 0.25; the newest part has none.
        let [low, high] = found.difference;
        assert!((high + 0.0 - 1.959_964 * 0.25).abs() < 1e-4 && (low + high).abs() < 1e-12, "{found:?}");
    }
}
