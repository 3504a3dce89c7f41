//! Ratings whose intervals allow for votes that belong together: one rater's, or all on one prompt.

use super::{ModelVote, Standing, Tally, Votes, sorted_standings};
use std::collections::BTreeMap;

/// Standings from single votes, each with the number of its cluster. The estimate is that of [`super::standings`]; the
/// variance is the largest of the model's, the sandwich's and the clusters' sandwich, H^-1 B H^-1 with B the sum over
/// clusters of u u', u the cluster's summed scores (K.-Y. Liang and S. Zeger, Longitudinal Data Analysis Using
/// Generalized Linear Models, 1986). A single cluster has no spread: the plain intervals remain.
#[must_use]
pub fn clustered_standings(votes: &[(ModelVote, u64)]) -> Vec<Standing> {
    let tallies = tallies(votes.iter().map(|(vote, _)| *vote));
    let counted = Votes::new(&tallies);
    let mut estimates = counted.estimate(super::PRIOR_PRECISION);
    let r: Vec<f64> = estimates.iter().map(|estimate| estimate.r).collect();
    let variances = counted.clustered_variances(&r, super::PRIOR_PRECISION, votes);
    for (estimate, variance) in estimates.iter_mut().zip(variances) {
        estimate.standard_error = estimate.standard_error.max(variance.sqrt());
    }
    sorted_standings(&counted, &estimates, &tallies)
}

impl Votes {
    /// The clusters' sandwich alone.
    pub(super) fn clustered_variances(
        &self,
        r: &[f64],
        precision: f64,
        votes: &[(ModelVote, u64)],
    ) -> Vec<f64> {
        let inverse = self.inverse_information(r, precision);
        let mut variances = vec![0.0; r.len()];
        for cluster in by_cluster(votes) {
            let mut scores = vec![0.0; r.len()];
            for vote in cluster {
                let place = |model| self.models.binary_search(&model).ok();
                let (Some(i), Some(j)) = (place(vote.a), place(vote.b)) else { continue };
                let residual = vote.outcome.points() - super::logistic(r[i] - r[j]);
                scores[i] += residual;
                scores[j] -= residual;
            }
            for (variance, row) in variances.iter_mut().zip(&inverse) {
                *variance += row.iter().zip(&scores).map(|(h, score)| h * score).sum::<f64>().powi(2);
            }
        }
        variances
    }
}

/// The votes of each cluster. A vote on a model against itself is none.
pub(super) fn by_cluster(votes: &[(ModelVote, u64)]) -> Vec<Vec<ModelVote>> {
    let mut clusters: BTreeMap<u64, Vec<ModelVote>> = BTreeMap::new();
    for (vote, cluster) in votes.iter().filter(|(vote, _)| vote.a != vote.b) {
        clusters.entry(*cluster).or_default().push(*vote);
    }
    clusters.into_values().collect()
}

/// Single votes counted.
#[must_use]
pub fn tallies(votes: impl IntoIterator<Item = ModelVote>) -> Vec<Tally> {
    let mut tallies = BTreeMap::new();
    for ModelVote { a, b, outcome } in votes {
        let tally = tallies.entry((a, b)).or_insert(Tally { a, b, wins_a: 0, wins_b: 0, ties: 0 });
        match outcome {
            super::Outcome::First => tally.wins_a += 1,
            super::Outcome::Second => tally.wins_b += 1,
            super::Outcome::Neither => tally.ties += 1,
        }
    }
    tallies.into_values().collect()
}
