//! Elo ratings, as a secondary view beside Bradley-Terry: they follow votes one by one, so they depend on the order
//! of the votes and have no interval. (A. Elo, The Rating of Chessplayers, 1978; the constants are FastChat's.)

use super::tally::ModelVote;
use crate::id::ContestantId;
use std::collections::BTreeMap;

/// Most points that a vote moves. Larger follows new votes faster and is noisier.
pub const ELO_K: f64 = 4.0;
/// Rating before the first vote.
pub const ELO_START: f64 = 1000.0;

/// Each model's rating after the votes in this order; empty without votes. Votes on a model against itself are
/// ignored.
#[must_use]
pub fn elo(votes: &[ModelVote], k: f64, start: f64) -> BTreeMap<ContestantId, f64> {
    let mut ratings = BTreeMap::new();
    for vote in votes.iter().filter(|vote| vote.a != vote.b) {
        let [a, b] = [vote.a, vote.b].map(|model| *ratings.entry(model).or_insert(start));
        let expected = 1.0 / (1.0 + 10_f64.powf((b - a) / 400.0));
        let gain = k * (vote.outcome.points() - expected);
        ratings.insert(vote.a, a + gain);
        ratings.insert(vote.b, b - gain);
    }
    ratings
}
