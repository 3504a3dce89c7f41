//! Ratings, win rates and their intervals from tallies of votes: pure arithmetic.

use crate::id::ModelId;

/// The votes on two models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// One model.
    pub a: ModelId,
    /// The other.
    pub b: ModelId,
    /// Votes for `a`.
    pub wins_a: i64,
    /// Votes for `b`.
    pub wins_b: i64,
    /// Votes for neither: ties, and "both bad".
    pub ties: i64,
}
