//! Win rates of every model against every other.

use super::tally::Tally;
use super::win_rate::{WinRate, win_rate};
use crate::id::ContestantId;
use std::collections::BTreeMap;

/// The win rate of every model against every other.
#[derive(Clone, Debug, PartialEq)]
pub struct WinRateMatrix {
    /// The models with votes, in the order of rows and columns.
    pub models: Vec<ContestantId>,
    /// `rows[i][j]`: the win rate of model i against model j; none on the diagonal and for pairs without votes.
    pub rows: Vec<Vec<Option<WinRate>>>,
}

/// The matrix of the tallies; empty without votes.
#[must_use]
pub fn win_rate_matrix(tallies: &[Tally]) -> WinRateMatrix {
    let mut counts: BTreeMap<(ContestantId, ContestantId), [i64; 3]> = BTreeMap::new();
    for tally in tallies.iter().filter(|tally| tally.a != tally.b) {
        let [wins, losses, ties] = [tally.wins_a, tally.wins_b, tally.ties].map(|n| n.max(0));
        if wins + losses + ties == 0 {
            continue;
        }
        for (pair, more) in
            [((tally.a, tally.b), [wins, losses, ties]), ((tally.b, tally.a), [losses, wins, ties])]
        {
            let count = counts.entry(pair).or_default();
            count.iter_mut().zip(more).for_each(|(n, more)| *n += more);
        }
    }
    let mut models: Vec<ContestantId> = counts.keys().map(|(model, _)| *model).collect();
    models.dedup();
    let cell = |pair| counts.get(&pair).and_then(|&[wins, losses, ties]| win_rate(wins, losses, ties));
    let rows = models.iter().map(|&a| models.iter().map(|&b| cell((a, b))).collect()).collect();
    WinRateMatrix { models, rows }
}
