//! Win rates with Wilson's interval.

use super::tally::Tally;
use crate::id::ContestantId;
use serde::{Deserialize, Serialize};

/// The 97.5% quantile of the standard normal distribution.
pub const Z: f64 = 1.959_963_984_540_054;

/// A win rate with its interval and number of votes.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WinRate {
    /// Wins plus half the ties, over all votes; 0 to 1.
    pub value: f64,
    /// Lower end of the 95% Wilson interval.
    pub low: f64,
    /// Upper end of the 95% Wilson interval.
    pub high: f64,
    /// Number of votes.
    pub votes: i64,
}

/// Wins plus half the ties over all votes, with Wilson's 95% interval; none without votes. (E. Wilson, Probable
/// Inference, the Law of Succession, and Statistical Inference, 1927.)
#[must_use]
pub fn win_rate(wins: i64, losses: i64, ties: i64) -> Option<WinRate> {
    let (wins, losses, ties) = (wins.max(0), losses.max(0), ties.max(0));
    let votes = wins + losses + ties;
    if votes == 0 {
        return None;
    }
    let n = votes as f64;
    let value = (wins as f64 + 0.5 * ties as f64) / n;
    let shrink = 1.0 + Z * Z / n;
    let centre = (value + Z * Z / (2.0 * n)) / shrink;
    let half_width = Z * (value * (1.0 - value) / n + Z * Z / (4.0 * n * n)).sqrt() / shrink;
    // At 0 and 1 the interval ends at the value; rounding must not move the end beyond it.
    let (low, high) = ((centre - half_width).clamp(0.0, value), (centre + half_width).clamp(value, 1.0));
    Some(WinRate { value, low, high, votes })
}

/// A model's win rate over all its votes; none without votes.
#[must_use]
pub fn win_rate_of(model: ContestantId, tallies: &[Tally]) -> Option<WinRate> {
    let (mut wins, mut losses, mut ties) = (0, 0, 0);
    for tally in tallies.iter().filter(|tally| tally.a != tally.b) {
        if tally.a == model {
            (wins, losses, ties) = (wins + tally.wins_a, losses + tally.wins_b, ties + tally.ties);
        } else if tally.b == model {
            (wins, losses, ties) = (wins + tally.wins_b, losses + tally.wins_a, ties + tally.ties);
        }
    }
    win_rate(wins, losses, ties)
}

#[cfg(test)]
mod tests {
    use super::{Tally, win_rate, win_rate_of};
    use crate::id::ContestantId;
    use uuid::Uuid;

    fn close(actual: f64, expected: f64, within: f64) {
        assert!((actual - expected).abs() < within, "{actual} is not {expected} (within {within})");
    }

    #[test]
    fn intervals_are_wilsons() {
        // 8 of 10: the textbook interval is 0.4902 to 0.9433.
        let eight = win_rate(8, 2, 0).unwrap();
        close(eight.value, 0.8, 1e-12);
        close(eight.low, 0.4902, 5e-5);
        close(eight.high, 0.9433, 5e-5);
        assert_eq!(eight.votes, 10);
        assert_eq!(win_rate(7, 1, 2), Some(eight));
        let none = win_rate(0, 5, 0).unwrap();
        assert_eq!((none.value, none.low), (0.0, 0.0));
        // 0 of n: the upper end is z^2 / (n + z^2).
        close(none.high, 3.841_458_8 / 8.841_458_8, 1e-6);
        let all = win_rate(5, 0, 0).unwrap();
        assert_eq!((all.value, all.high), (1.0, 1.0));
        assert_eq!(win_rate(0, 0, 0), None);
    }

    #[test]
    fn a_models_win_rate_counts_tallies_of_either_order() {
        let model = |n| ContestantId(Uuid::from_u128(n));
        let tally = |a, b, wins_a, wins_b, ties| Tally { a: model(a), b: model(b), wins_a, wins_b, ties };
        let tallies = [tally(1, 2, 3, 1, 2), tally(3, 1, 2, 4, 0), tally(2, 3, 9, 9, 9)];
        assert_eq!(win_rate_of(model(1), &tallies), win_rate(7, 3, 2));
        assert_eq!(win_rate_of(model(4), &tallies), None);
    }
}
