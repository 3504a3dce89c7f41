//! Votes on pairs of contestants, one by one and counted. Beside a model, a model with adapters is a contestant.

use crate::id::ContestantId;
use crate::preference::Choice;

/// Counted votes on two contestants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The first contestant.
    pub a: ContestantId,
    /// The second contestant.
    pub b: ContestantId,
    /// Votes for `a`.
    pub wins_a: i64,
    /// Votes for `b`.
    pub wins_b: i64,
    /// Votes for neither: ties and "both bad".
    pub ties: i64,
}

impl Tally {
    /// Number of votes.
    #[must_use]
    pub fn votes(&self) -> i64 {
        self.wins_a + self.wins_b + self.ties
    }
}

/// One vote on two contestants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelVote {
    /// The first contestant.
    pub a: ContestantId,
    /// The second contestant.
    pub b: ContestantId,
    /// Which of them the vote is for.
    pub outcome: Outcome,
}

/// The result of a comparison of a first and a second item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The first is better.
    First,
    /// The second is better.
    Second,
    /// A tie, or "both bad".
    Neither,
}

impl Outcome {
    /// The result with the two items exchanged.
    #[must_use]
    pub fn swapped(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
            Self::Neither => Self::Neither,
        }
    }

    /// Points of the first item: 1 for a win, 1/2 for a tie, 0 for a loss.
    pub(super) fn points(self) -> f64 {
        match self {
            Self::First => 1.0,
            Self::Second => 0.0,
            Self::Neither => 0.5,
        }
    }
}

impl From<Choice> for Outcome {
    /// The left image is the first.
    fn from(choice: Choice) -> Self {
        match choice {
            Choice::Left => Self::First,
            Choice::Right => Self::Second,
            Choice::Tie | Choice::BothBad => Self::Neither,
        }
    }
}
