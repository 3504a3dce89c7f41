//! Statistics of votes and scores: ratings, win rates, agreement of raters, agreement of metrics with raters. Pure
//! arithmetic; random draws are arguments.

mod accuracy;
mod agreement;
mod bootstrap;
mod bradley_terry;
mod cholesky;
mod correlation;
mod crossed;
mod elo;
mod tally;
mod win_rate;
mod win_rate_matrix;

pub use accuracy::{Predicted, tie_aware_accuracy};
pub use agreement::{cohen_kappa, krippendorff_alpha};
pub use bootstrap::{MeanInterval, paired_bootstrap};
pub use bradley_terry::{Rating, Standing, standings};
pub use cholesky::Cholesky;
pub use correlation::spearman;
pub use crossed::{CrossedMean, crossed_mean, crossed_share, student};
pub use elo::{ELO_K, ELO_START, elo};
pub use tally::{ModelVote, Outcome, Tally};
pub use win_rate::{WinRate, Z, win_rate, win_rate_of};
pub use win_rate_matrix::{WinRateMatrix, win_rate_matrix};
