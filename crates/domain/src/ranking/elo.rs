//! Elo's rating as a secondary view: it follows votes one by one, so it depends on their order, and it has no interval.
//! The leaderboard ranks by Bradley-Terry. A. Elo, The Rating of Chessplayers (1978); constants as FastChat's.

use super::{ModelVote, Outcome};
use crate::id::ModelId;
use std::collections::BTreeMap;

/// Points at stake in a vote. Larger follows fresh votes faster and is noisier.
pub const ELO_K: f64 = 4.0;
/// Where every model begins.
pub const ELO_START: f64 = 1000.0;

/// Each model's rating after votes in this order. Without votes there are no models; one vote moves two models by K / 2.
/// A vote on a model against itself says nothing.
#[must_use]
pub fn elo(votes: &[ModelVote], k: f64, start: f64) -> BTreeMap<ModelId, f64> {
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

impl Outcome {
    /// What the first model gets: a win is 1, a tie a half.
    pub(super) fn points(self) -> f64 {
        match self {
            Self::First => 1.0,
            Self::Second => 0.0,
            Self::Neither => 0.5,
        }
    }
}
