//! Simulated raters. 70% answer by the images: by the models' ratings, their own taste, what the prompt favours, a liking
//! for the left side and a habit of ties. Taste and liking wander slowly while they work. 30% are careless: they look at
//! no more than a fifth of the images and press buttons at random, or mostly one button.

use crate::chance::Chance;
use judging::{Answer, Answers, Said, Weighting, fit};

pub(crate) const MODELS: usize = 8;

const CARELESS_SHARE: f64 = 0.3;
/// Standard deviations, on the scale of r, of a rater's taste per model, of what a prompt adds per model, of the liking
/// for the left side, and of the log-weight of ties.
const TASTE: f64 = 0.25;
const PROMPT: f64 = 0.3;
const LIKING: f64 = 0.2;
const TIE_HABIT: f64 = 0.4;
/// Means of the last two.
const LEFT: f64 = 0.2;
const TIE: f64 = -0.7;
/// Share of answers at random among attentive raters.
const LAPSES: f64 = 0.02;
/// How far taste and liking turn during a rater's work, in radians: at 1, the last answer's taste has a correlation of
/// 0.54 with the first's.
const DRIFT: f64 = 1.0;
/// How careless raters press left, right and tie, with the share of each habit.
const HABITS: [(f64, [f64; 3]); 4] = [
    (0.5, [0.4, 0.4, 0.2]),
    (0.2, [0.85, 0.075, 0.075]),
    (0.1, [0.075, 0.85, 0.075]),
    (0.2, [0.15, 0.15, 0.7]),
];

pub(crate) struct Rater {
    /// The share of answers that follow the images.
    attention: f64,
    habit: [f64; 3],
    /// Taste per model, at the start and at a quarter turn.
    tastes: [[f64; MODELS]; 2],
    likings: [f64; 2],
    tie: f64,
}

impl Rater {
    pub(crate) fn new(chance: &mut Chance) -> Self {
        let is_careless = chance.uniform() < CARELESS_SHARE;
        let attention = if is_careless { 0.2 * chance.uniform() } else { 1.0 - LAPSES };
        let habit =
            if is_careless { HABITS[chance.pick(&HABITS.map(|(share, _)| share))].1 } else { HABITS[0].1 };
        let tastes = [(); 2].map(|()| [(); MODELS].map(|()| TASTE * chance.normal()));
        let likings = [(); 2].map(|()| LIKING * chance.normal());
        Self { attention, habit, tastes, likings, tie: TIE + TIE_HABIT * chance.normal() }
    }

    /// Whether the rater finds the better image of a gold pair, which attentive raters miss one time in twenty.
    pub(crate) fn passes_gold(&self, chance: &mut Chance) -> bool {
        let better = chance.below(2);
        if chance.uniform() < self.attention {
            chance.uniform() < 0.95
        } else {
            chance.pick(&self.habit) == better
        }
    }

    pub(crate) fn is_careless(&self) -> bool {
        self.attention < 0.5
    }

    /// What the rater says about these models; `done`: the share of the rater's work that is done.
    pub(crate) fn says(
        &self,
        shown: &[usize],
        truth: &[f64; MODELS],
        prompt: &[f64; MODELS],
        done: f64,
        chance: &mut Chance,
    ) -> Said {
        if chance.uniform() >= self.attention {
            return said(
                if shown.len() == 2 {
                    chance.pick(&self.habit)
                } else if chance.uniform() < self.habit[0] {
                    0
                } else {
                    chance.below(shown.len())
                },
                shown.len(),
            );
        }
        let (sine, cosine) = (DRIFT * done).sin_cos();
        let utility = |model: usize| {
            truth[model] + prompt[model] + cosine * self.tastes[0][model] + sine * self.tastes[1][model]
        };
        if let [i, j] = *shown {
            let left = LEFT + cosine * self.likings[0] + sine * self.likings[1];
            return said(chance.pick(&pair_weights(utility(i) - utility(j) + left, self.tie)), 2);
        }
        let weights: Vec<f64> = shown.iter().map(|&model| utility(model).exp()).collect();
        said(chance.pick(&weights), shown.len())
    }
}

/// Relative probabilities of left, right and tie.
fn pair_weights(d: f64, tie: f64) -> [f64; 3] {
    [(d / 2.0).exp(), (-d / 2.0).exp(), tie.exp()]
}

fn said(place: usize, shown: usize) -> Said {
    if place < shown { Said::Best(place) } else { Said::Neither }
}

/// What a prompt adds to each model.
pub(crate) fn prompt(chance: &mut Chance) -> [f64; MODELS] {
    [(); MODELS].map(|()| PROMPT * chance.normal())
}

/// What infinitely many answers about pairs by attentive raters would give: the model's fit to the mean probabilities.
/// Tastes, prompts and habits flatten them, so the ratings are a little closer together than the raters' own.
pub(crate) fn limit(truth: &[f64; MODELS]) -> Vec<f64> {
    let spread = (2.0 * TASTE * TASTE + 2.0 * PROMPT * PROMPT + LIKING * LIKING).sqrt();
    let mut answers = Answers::new(MODELS);
    for i in 0..MODELS {
        for j in (0..MODELS).filter(|&j| j != i) {
            let p = mean_probabilities(truth[i] - truth[j] + LEFT, spread);
            for (place, p) in p.into_iter().enumerate() {
                for _ in 0..(p * 4000.0).round() as usize {
                    let answer = Answer { rater: 0, prompt: 0, shown: vec![i, j], said: said(place, 2) };
                    answers.push(&answer).expect("two models");
                }
            }
        }
    }
    fit(&answers, Weighting::Plain).ratings().to_vec()
}

/// The mean over normal d and normal habits of ties, by the midpoint rule.
fn mean_probabilities(d: f64, spread: f64) -> [f64; 3] {
    let points: Vec<f64> = (-30..=30).map(|n| f64::from(n) / 7.5).collect();
    let (mut sums, mut all) = ([0.0; 3], 0.0);
    for x in &points {
        for y in &points {
            let density = (-0.5 * (x * x + y * y)).exp();
            let weights = pair_weights(d + spread * x, TIE + TIE_HABIT * y);
            let sum: f64 = weights.iter().sum();
            all += density;
            for (total, weight) in sums.iter_mut().zip(weights) {
                *total += density * weight / sum;
            }
        }
    }
    sums.map(|sum| sum / all)
}

#[cfg(test)]
mod tests {
    use super::{MODELS, Rater, limit, mean_probabilities};
    use crate::chance::Chance;

    #[test]
    fn mean_probabilities_are_those_of_the_drawn_raters() {
        let p = mean_probabilities(0.0, 0.7);
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12 && (p[0] - p[1]).abs() < 1e-12, "{p:?}");
        // e^-0.7 / (2 + e^-0.7) = 0.199 of the answers would be ties without habits and tastes.
        assert!((0.17..0.2).contains(&p[2]), "{p:?}");
    }

    #[test]
    fn tastes_flatten_the_ratings_that_answers_lead_to() {
        let truth = [0.7, 0.5, 0.3, 0.1, -0.1, -0.3, -0.5, -0.7];
        let limit = limit(&truth);
        let ratio = (limit[0] - limit[7]) / (truth[0] - truth[7]);
        assert!((0.85..0.99).contains(&ratio), "{limit:?}");
        assert!(limit.is_sorted_by(|a, b| a > b) && limit.len() == MODELS);
    }

    #[test]
    fn three_of_ten_raters_are_careless_and_miss_gold_pairs() {
        let mut chance = Chance::new(1, 2);
        let raters: Vec<Rater> = (0..2000).map(|_| Rater::new(&mut chance)).collect();
        let careless = raters.iter().filter(|rater| rater.is_careless()).count();
        assert!((540..660).contains(&careless), "{careless}");
        let mut passed = |is_careless: bool| {
            let these: Vec<&Rater> =
                raters.iter().filter(|rater| rater.is_careless() == is_careless).collect();
            let passed = these.iter().filter(|rater| rater.passes_gold(&mut chance)).count();
            passed as f64 / these.len() as f64
        };
        assert!(passed(false) > 0.9 && passed(true) < 0.5);
    }
}
