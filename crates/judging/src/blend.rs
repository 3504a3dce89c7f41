//! A blend of scorers: the probability that people prefer an image, by logistic regression on differences of scores.

use domain::ranking::Cholesky;

/// Fewest votes, and fewest prompts, of a blend.
const FEWEST_VOTES: usize = 200;
const FEWEST_PROMPTS: usize = 10;
/// Parts of the prompts, each of which is predicted from the others.
const FOLDS: usize = 5;
/// Precision of the Gaussian prior of each weight, per standard deviation of the scorer's differences.
const PRECISION: f64 = 1.0;
const STEPS: usize = 50;
/// Bounds of the groups of predictions whose observed share is compared.
const GROUPS: [f64; 6] = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// A vote with a winner.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Score of the first image minus that of the second, by each scorer.
    pub differences: Vec<f64>,
    /// Whether the first image won.
    pub first_won: bool,
    /// Number of the prompt.
    pub prompt: usize,
}

/// A blend, and how it does on prompts that it was not fitted to.
#[derive(Clone, Debug, PartialEq)]
pub struct Blend {
    /// Log-odds that an image wins per standard deviation of the difference of its scores, by scorer.
    pub weights: Vec<f64>,
    /// Votes, and prompts.
    pub votes: usize,
    /// Prompts of these votes.
    pub prompts: usize,
    /// Share of the votes whose winner the blend names, each predicted from other prompts.
    pub accuracy: f64,
    /// Mean of -ln of the probability that the blend gave the winner, likewise; ln 2 for a coin.
    pub log_loss: f64,
    /// Predictions, likewise, in groups of the probability of the likelier image.
    pub calibration: Vec<Calibrated>,
}

/// Predictions of about the same probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibrated {
    /// Number of votes.
    pub votes: usize,
    /// Mean probability of the likelier image.
    pub predicted: f64,
    /// Share of the votes that it won.
    pub observed: f64,
}

/// Fits a blend of all scorers. None below 200 votes or 10 prompts, without a scorer, or if the rows have different lengths or differences that
/// are not finite.
#[must_use]
pub fn blend(votes: &[Compared]) -> Option<Blend> {
    let scorers = votes.first()?.differences.len();
    let is_usable = |vote: &Compared| {
        vote.differences.len() == scorers && vote.differences.iter().all(|difference| difference.is_finite())
    };
    let mut prompts: Vec<usize> = votes.iter().map(|vote| vote.prompt).collect();
    prompts.sort_unstable();
    prompts.dedup();
    let are_enough = votes.len() >= FEWEST_VOTES && prompts.len() >= FEWEST_PROMPTS;
    if scorers == 0 || !are_enough || !votes.iter().all(is_usable) {
        return None;
    }
    let deviations = deviations(votes, scorers);
    let fold_of = |vote: &Compared| prompts.binary_search(&vote.prompt).unwrap_or_default() % FOLDS;
    let mut predictions = Vec::with_capacity(votes.len());
    for fold in 0..FOLDS {
        let weights = weights(votes.iter().filter(|vote| fold_of(vote) != fold), &deviations);
        for vote in votes.iter().filter(|vote| fold_of(vote) == fold) {
            predictions.push((probability(&scaled(vote, &deviations), &weights), vote.first_won));
        }
    }
    let of_winner = |&(first, first_won): &(f64, bool)| if first_won { first } else { 1.0 - first };
    let count = votes.len() as f64;
    let credit = |prediction: &(f64, bool)| {
        let p = of_winner(prediction);
        if p > 0.5 {
            1.0
        } else if p < 0.5 {
            0.0
        } else {
            0.5
        }
    };
    Some(Blend {
        weights: weights(votes.iter(), &deviations),
        votes: votes.len(),
        prompts: prompts.len(),
        accuracy: predictions.iter().map(credit).sum::<f64>() / count,
        log_loss: predictions.iter().map(|prediction| -of_winner(prediction).max(1e-12).ln()).sum::<f64>()
            / count,
        calibration: calibration(&predictions),
    })
}

/// The root mean square of each scorer's differences; 1 for a scorer whose differences are all 0.
fn deviations(votes: &[Compared], scorers: usize) -> Vec<f64> {
    let of = |scorer: usize| {
        let squares: f64 = votes.iter().map(|vote| vote.differences[scorer].powi(2)).sum();
        let deviation = (squares / votes.len() as f64).sqrt();
        if deviation > 0.0 { deviation } else { 1.0 }
    };
    (0..scorers).map(of).collect()
}

fn scaled(vote: &Compared, deviations: &[f64]) -> Vec<f64> {
    vote.differences.iter().zip(deviations).map(|(difference, deviation)| difference / deviation).collect()
}

/// The probability that the first image wins. Without a constant: exchanging the images turns p into 1 - p.
fn probability(differences: &[f64], weights: &[f64]) -> f64 {
    let log_odds: f64 = differences.iter().zip(weights).map(|(x, w)| x * w).sum();
    1.0 / (1.0 + (-log_odds).exp())
}

/// The weights with the largest posterior probability, by Newton's method; the log-posterior is concave.
fn weights<'a>(votes: impl Iterator<Item = &'a Compared>, deviations: &[f64]) -> Vec<f64> {
    let rows: Vec<(Vec<f64>, f64)> =
        votes.map(|vote| (scaled(vote, deviations), f64::from(u8::from(vote.first_won)))).collect();
    let mut weights = vec![0.0; deviations.len()];
    for _ in 0..STEPS {
        let mut gradient: Vec<f64> = weights.iter().map(|w| -PRECISION * w).collect();
        let mut information = vec![vec![0.0; weights.len()]; weights.len()];
        for (place, row) in information.iter_mut().enumerate() {
            row[place] = PRECISION;
        }
        for (x, won) in &rows {
            let p = probability(x, &weights);
            for (a, &xa) in x.iter().enumerate() {
                gradient[a] += (won - p) * xa;
                for (b, &xb) in x.iter().enumerate() {
                    information[a][b] += p * (1.0 - p) * xa * xb;
                }
            }
        }
        let step = Cholesky::new(information).solve(gradient);
        let longest = step.iter().fold(0.0_f64, |longest, s| longest.max(s.abs()));
        // The first steps may overshoot where the votes are nearly separable.
        let scale = (2.0 / longest).min(1.0);
        weights.iter_mut().zip(&step).for_each(|(w, s)| *w += scale * s);
        if longest < 1e-8 {
            break;
        }
    }
    weights
}

fn calibration(predictions: &[(f64, bool)]) -> Vec<Calibrated> {
    let likelier = predictions.iter().map(|&(p, won)| if p >= 0.5 { (p, won) } else { (1.0 - p, !won) });
    let likelier: Vec<(f64, bool)> = likelier.collect();
    let group = |bounds: &[f64]| {
        let is_last = bounds[1] >= 1.0;
        let within = |p: f64| p >= bounds[0] && (p < bounds[1] || is_last);
        let found: Vec<&(f64, bool)> = likelier.iter().filter(|(p, _)| within(*p)).collect();
        let count = found.len() as f64;
        (!found.is_empty()).then(|| Calibrated {
            votes: found.len(),
            predicted: found.iter().map(|(p, _)| p).sum::<f64>() / count,
            observed: found.iter().filter(|(_, won)| *won).count() as f64 / count,
        })
    };
    GROUPS.windows(2).filter_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::{Compared, blend};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Votes that follow 1.5 a - 0.5 b, with a third scorer of noise.
    fn votes(count: usize) -> Vec<Compared> {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut normal = move || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let mut chance = ChaCha8Rng::seed_from_u64(4);
        (0..count)
            .map(|n| {
                let [a, b, noise] = [normal(), normal(), normal()];
                let p = 1.0 / (1.0 + (-(1.5 * a - 0.5 * b)).exp());
                // The scorers have scales of their own.
                let differences = vec![a * 0.01, b * 30.0, noise];
                Compared { differences, first_won: chance.random_bool(p), prompt: n % 83 }
            })
            .collect()
    }

    #[test]
    fn the_weights_that_votes_follow_are_found_and_predictions_are_calibrated() {
        let found = blend(&votes(6000)).expect("a blend");
        for (weight, expected) in found.weights.iter().zip([1.5, -0.5, 0.0]) {
            assert!((weight - expected).abs() < 0.12, "{found:?}");
        }
        // The best possible accuracy of such votes is 0.742, their log loss 0.516.
        assert!((0.72..0.77).contains(&found.accuracy) && found.log_loss < 0.54, "{found:?}");
        assert_eq!((found.votes, found.prompts), (6000, 83));
        assert_eq!(found.calibration.iter().map(|group| group.votes).sum::<usize>(), 6000);
        for group in &found.calibration {
            assert!((group.predicted - group.observed).abs() < 0.05, "{group:?}");
        }
    }

    #[test]
    fn exchanging_the_images_changes_nothing() {
        let votes = votes(400);
        let exchanged: Vec<Compared> = votes
            .iter()
            .map(|vote| Compared {
                differences: vote.differences.iter().map(|d| -d).collect(),
                first_won: !vote.first_won,
                prompt: vote.prompt,
            })
            .collect();
        let (one, other) = (blend(&votes).expect("a blend"), blend(&exchanged).expect("a blend"));
        assert!((one.log_loss - other.log_loss).abs() < 1e-9 && (one.accuracy - other.accuracy).abs() < 1e-9);
    }

    #[test]
    fn what_cannot_be_fitted_gives_none_and_perfect_scorers_stay_finite() {
        let all = votes(250);
        assert!(blend(&[]).is_none() && blend(&all[..199]).is_none());
        let one_prompt: Vec<Compared> =
            all.iter().map(|vote| Compared { prompt: 1, ..vote.clone() }).collect();
        assert!(blend(&one_prompt).is_none());
        let mut broken = all.clone();
        broken[3].differences[0] = f64::NAN;
        assert!(blend(&broken).is_none());
        broken[3].differences = vec![1.0];
        assert!(blend(&broken).is_none());
        let perfect = |vote: &Compared| Compared {
            differences: vec![if vote.first_won { 1.0 } else { -1.0 }, 0.0],
            ..vote.clone()
        };
        let found = blend(&all.iter().map(perfect).collect::<Vec<_>>()).expect("a blend");
        assert!(
            found.weights.iter().all(|w| w.is_finite()) && (found.accuracy - 1.0).abs() < 1e-12,
            "{found:?}"
        );
    }
}
