//! The likelihood of all answers at given parameters, and how much each answer counts.

use crate::answers::Answers;
use crate::choice::{Derivatives, derivatives};
use crate::reliability::{COMPONENTS, RELIABILITIES, careless_answer, of_checks};

/// Probabilities below this are left out of sums over a rater's components.
const NEGLIGIBLE: f64 = 1e-4;
/// Products of probabilities are turned into logarithms after this many factors, far from the smallest number.
const FACTORS: usize = 40;

/// Each rater's log-likelihood under each component, and the answers' derivatives.
pub(crate) struct Evaluated {
    pub(crate) answers: Vec<Derivatives>,
    /// Per rater; empty if all answers count alike.
    logs: Vec<[f64; COMPONENTS]>,
}

/// What the shares of the components add: the probabilities of each rater's, and the weight of each answer.
pub(crate) struct Weighed {
    pub(crate) log_likelihood: f64,
    pub(crate) raters: Vec<[f64; COMPONENTS]>,
    /// The probability that the answer follows the images.
    pub(crate) weights: Vec<f64>,
}

impl Evaluated {
    pub(crate) fn new(answers: &Answers, parameters: &[f64], by_reliability: bool) -> Self {
        let mut evaluated = Self { answers: Vec::with_capacity(answers.list.len()), logs: Vec::new() };
        evaluated.move_to(answers, parameters, by_reliability);
        evaluated
    }

    /// The same at other parameters, in the same memory.
    pub(crate) fn move_to(&mut self, answers: &Answers, parameters: &[f64], by_reliability: bool) {
        self.answers.clear();
        self.answers.extend(answers.list.iter().map(|answer| derivatives(answer, parameters)));
        if by_reliability {
            self.logs = logs(answers, &self.answers);
        }
    }

    /// The log-likelihood with these shares of the components.
    pub(crate) fn log_likelihood(&self, shares: &[f64]) -> f64 {
        if self.logs.is_empty() {
            return self.answers.iter().map(|answer| answer.probability.ln()).sum();
        }
        self.logs.iter().map(|logs| probabilities(logs, shares).1).sum()
    }

    pub(crate) fn weighed(&self, answers: &Answers, shares: &[f64]) -> Weighed {
        if self.logs.is_empty() {
            let weights = vec![1.0; answers.list.len()];
            return Weighed { log_likelihood: self.log_likelihood(shares), raters: Vec::new(), weights };
        }
        let mut weighed = Weighed {
            log_likelihood: 0.0,
            raters: Vec::with_capacity(self.logs.len()),
            weights: vec![0.0; answers.list.len()],
        };
        for (logs, of_rater) in self.logs.iter().zip(&answers.by_rater) {
            let (rater, log) = probabilities(logs, shares);
            weighed.log_likelihood += log;
            for (component, probability) in components(&rater) {
                for &index in of_rater {
                    weighed.weights[index] += probability * self.follows(answers, index, component);
                }
            }
            weighed.raters.push(rater);
        }
        weighed
    }

    /// The probability that an answer of a rater of this component follows the images.
    pub(crate) fn follows(&self, answers: &Answers, index: usize, component: usize) -> f64 {
        let followed = RELIABILITIES[component] * self.answers[index].probability;
        followed / (followed + careless_answer(&answers.list[index])[component])
    }
}

/// The components that a rater may have, with their probabilities.
pub(crate) fn components(rater: &[f64; COMPONENTS]) -> impl Iterator<Item = (usize, f64)> {
    rater.iter().copied().enumerate().filter(|(_, probability)| *probability > NEGLIGIBLE)
}

fn logs(answers: &Answers, evaluated: &[Derivatives]) -> Vec<[f64; COMPONENTS]> {
    let of_rater = |(indices, checks): (&Vec<usize>, &[u32; 4])| {
        let mut logs = of_checks(*checks);
        for some in indices.chunks(FACTORS) {
            let mut products = [1.0; COMPONENTS];
            for &index in some {
                let p = evaluated[index].probability;
                let careless = careless_answer(&answers.list[index]);
                for ((product, rho), careless) in products.iter_mut().zip(&RELIABILITIES).zip(careless) {
                    *product *= rho * p + careless;
                }
            }
            for (log, product) in logs.iter_mut().zip(products) {
                *log += product.max(f64::MIN_POSITIVE).ln();
            }
        }
        logs
    };
    answers.by_rater.iter().zip(&answers.checks).map(of_rater).collect()
}

/// The probability of each component given the rater's answers, and the log-likelihood of these answers.
fn probabilities(logs: &[f64; COMPONENTS], shares: &[f64]) -> ([f64; COMPONENTS], f64) {
    let most = logs.iter().fold(f64::NEG_INFINITY, |most, log| most.max(*log));
    let mut result = [0.0; COMPONENTS];
    for ((p, log), share) in result.iter_mut().zip(logs).zip(shares) {
        *p = share * (log - most).exp();
    }
    let sum: f64 = result.iter().sum();
    (result.map(|p| p / sum), most + sum.ln())
}
