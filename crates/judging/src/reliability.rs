//! Each rater's reliability: the share of answers that follow the images rather than chance.
//!
//! An answer of a rater of reliability rho has probability rho p + (1 - rho) q, with p of the ratings' model and q of a
//! careless answer. That is Crowd-BT (Chen and others, 2013) with its quality (1 + rho) / 2 at least 1/2, for answers with
//! ties. The reliabilities of all raters have a distribution over [`COMPONENTS`] values, which is estimated too, and a
//! rater's is its mean given the rater's answers. So a rater with few answers has about the average reliability.

use crate::answers::Counted;

/// Below this reliability a rater answers mostly at random.
pub const CARELESS: f64 = 0.5;

/// A rater is called careless only if the probability of a reliability below [`CARELESS`] exceeds this.
pub const CERTAIN: f64 = 0.95;

/// How careless answers about two images fall on left, right and neither: evenly, evenly with few ties, or mostly on one
/// button.
const STYLES: [[f64; 3]; 5] =
    [[0.34, 0.33, 0.33], [0.45, 0.45, 0.1], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]];

/// The reliabilities of the distribution below 1.
const LEVELS: [f64; 4] = [0.0, 0.25, 0.5, 0.75];

/// Values of the distribution: 1, and every level below it with every style.
pub(crate) const COMPONENTS: usize = 1 + LEVELS.len() * STYLES.len();

/// The share of fully reliable raters before any answer, and the weight of this expectation in raters.
const EXPECTED: f64 = 0.8;
const WEIGHT: f64 = 4.0;

/// What is known of a rater's reliability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reliability {
    /// Its mean, from 0 to 1.
    pub mean: f64,
    /// Probability that it is below [`CARELESS`].
    pub careless: f64,
}

impl Reliability {
    /// Whether the rater is to be named as careless.
    #[must_use]
    pub fn is_careless(&self) -> bool {
        self.careless > CERTAIN
    }
}

/// The reliability of each component.
pub(crate) const RELIABILITIES: [f64; COMPONENTS] = {
    let mut values = [1.0; COMPONENTS];
    let mut component = 1;
    while component < COMPONENTS {
        values[component] = LEVELS[(component - 1) / STYLES.len()];
        component += 1;
    }
    values
};

/// (1 - rho) q of each component: for left, right and neither of two images, and for one of 3, 6, 4 and 24 orders.
static CARELESS_ANSWERS: [[f64; COMPONENTS]; 7] = {
    let orders = [3.0, 6.0, 4.0, 24.0];
    let mut values = [[0.0; COMPONENTS]; 7];
    let mut component = 1;
    while component < COMPONENTS {
        let style = STYLES[(component - 1) % STYLES.len()];
        let mut answer = 0;
        while answer < 7 {
            let q = if answer < 3 { style[answer] } else { 1.0 / orders[answer - 3] };
            values[answer][component] = (1.0 - RELIABILITIES[component]) * q;
            answer += 1;
        }
        component += 1;
    }
    values
};

/// Shares of the components before any answer.
pub(crate) fn expected_shares() -> Vec<f64> {
    let rest = (1.0 - EXPECTED) / (COMPONENTS - 1) as f64;
    (0..COMPONENTS).map(|component| if component == 0 { EXPECTED } else { rest }).collect()
}

/// Shares of the components among raters with these probabilities of each.
pub(crate) fn shares<'a>(raters: impl Iterator<Item = &'a [f64; COMPONENTS]>) -> Vec<f64> {
    let mut sums: Vec<f64> = expected_shares().iter().map(|share| WEIGHT * share).collect();
    let mut count = WEIGHT;
    for rater in raters {
        count += 1.0;
        for (sum, probability) in sums.iter_mut().zip(rater) {
            *sum += probability;
        }
    }
    sums.iter().map(|sum| sum / count).collect()
}

/// (1 - rho) q of an answer, per component.
pub(crate) fn careless_answer(answer: &Counted) -> &'static [f64; COMPONENTS] {
    &CARELESS_ANSWERS[match (answer.count, answer.chosen) {
        (2, 0) => 2,
        (2, _) => answer.order[0],
        (3, 1) => 3,
        (3, _) => 4,
        (_, 1) => 5,
        _ => 6,
    }]
}

/// The probability that the answer about a gold pair is right: if it follows the images, and if it is careless.
const GOLD: [f64; 2] = [0.95, 0.4];

/// The probability that a repeated pair is answered as the first time: if both answers follow the images, most of which are close, and
/// if either is careless.
const REPEAT: [f64; 2] = [0.7, 0.4];

/// The log-likelihood of a rater's answers about gold pairs, right and wrong, and about repeated ones, alike and otherwise, per
/// component.
pub(crate) fn of_checks([right, wrong, same, other]: [u32; 4]) -> [f64; COMPONENTS] {
    let of = |yes: u32, no: u32, p: f64| f64::from(yes) * p.ln() + f64::from(no) * (1.0 - p).ln();
    RELIABILITIES.map(|rho| {
        let gold = rho * GOLD[0] + (1.0 - rho) * GOLD[1];
        let both = rho * rho;
        let repeat = both * REPEAT[0] + (1.0 - both) * REPEAT[1];
        of(right, wrong, gold) + of(same, other, repeat)
    })
}

/// What the probabilities of the components say about a rater.
pub(crate) fn summary(probabilities: &[f64; COMPONENTS]) -> Reliability {
    let each = || RELIABILITIES.into_iter().zip(probabilities);
    let mean = each().map(|(rho, p)| rho * p).sum();
    Reliability { mean, careless: each().filter(|(rho, _)| *rho < CARELESS).map(|(_, p)| p).sum() }
}
