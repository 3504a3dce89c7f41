//! Variances of the estimates: of the model, and clustered by rater and by prompt.
//!
//! Answers of one rater, or about one prompt, are not independent. The clustered variance is the two-way sandwich of
//! Cameron, Gelbach and Miller (2011): by rater plus by prompt minus by both. The information is that of the observed
//! answers: what is lost because nobody knows which answers were careless is subtracted (Louis, 1982).

use crate::answers::Answers;
use crate::likelihood::{Evaluated, Weighed, components};
use domain::ranking::{Cholesky, Z, student};

/// Inverse information, and the sandwich variances of three groupings.
#[derive(Clone, Debug)]
pub(crate) struct Clusters {
    pub(crate) inverse: Vec<Vec<f64>>,
    /// By rater, by prompt, by both.
    sandwiches: [Vec<Vec<f64>>; 3],
    /// Effective numbers of raters and of prompts (Carter, Schnepel and Steigerwald, 2017).
    effective: [f64; 2],
    /// Student's quantile for the fewer of them.
    pub(crate) quantile: f64,
}

impl Clusters {
    pub(crate) fn new(
        answers: &Answers,
        evaluated: &Evaluated,
        weighed: &Weighed,
        parameters: usize,
        precision: f64,
    ) -> Self {
        let information = information(answers, evaluated, weighed, parameters, precision);
        let inverse = Cholesky::new(information).inverse();
        let mut sums = [answers.by_rater.len(), answers.prompts, answers.cells.len()]
            .map(|groups| vec![0.0; groups * parameters]);
        let mut sizes = [vec![0.0; answers.by_rater.len()], vec![0.0; answers.prompts]];
        for (index, answer) in answers.list.iter().enumerate() {
            let weight = weighed.weights[index];
            sizes[0][answer.rater] += weight;
            sizes[1][answer.prompt] += weight;
            let derivatives = &evaluated.answers[index];
            for (sums, group) in sums.iter_mut().zip([answer.rater, answer.prompt, answer.cell]) {
                for a in 0..derivatives.count {
                    sums[group * parameters + derivatives.indices[a]] += weight * derivatives.score[a];
                }
            }
        }
        let sandwiches = sums.map(|sums| sandwich(&inverse, &sums, parameters));
        let effective = sizes.map(|sizes| effective(&sizes));
        Self { inverse, sandwiches, effective, quantile: quantile(effective) }
    }

    /// The model's variance of a contrast of the parameters, and the clustered one. With a single rater or prompt there
    /// is nothing between raters or prompts to see.
    pub(crate) fn variances(&self, contrast: &[(usize, f64)]) -> (f64, f64) {
        let [model, rater, prompt, both] = self.parts(contrast);
        let correct = |groups: f64| if groups > 1.5 { groups / (groups - 1.0) } else { 1.0 };
        let (rater, prompt) = (correct(self.effective[0]) * rater, correct(self.effective[1]) * prompt);
        (model.max(0.0), (rater + prompt - both).max(rater).max(prompt).max(0.0))
    }

    /// The model's variance of a contrast, and the sandwich's by rater, by prompt, and by both.
    pub(crate) fn parts(&self, contrast: &[(usize, f64)]) -> [f64; 4] {
        let of = |matrix: &[Vec<f64>]| {
            let pairs = contrast.iter().flat_map(|&(a, x)| contrast.iter().map(move |&(b, y)| (a, b, x * y)));
            pairs.map(|(a, b, xy)| xy * matrix[a][b]).sum::<f64>()
        };
        let [rater, prompt, both] = &self.sandwiches;
        [of(&self.inverse), of(rater), of(prompt), of(both)]
    }
}

/// The information in the observed answers, which is positive definite with the prior.
fn information(
    answers: &Answers,
    evaluated: &Evaluated,
    weighed: &Weighed,
    parameters: usize,
    precision: f64,
) -> Vec<Vec<f64>> {
    let mut full = vec![vec![0.0; parameters]; parameters];
    for (index, row) in full.iter_mut().enumerate() {
        row[index] = precision;
    }
    for (answer, weight) in evaluated.answers.iter().zip(&weighed.weights) {
        for a in 0..answer.count {
            for b in 0..answer.count {
                full[answer.indices[a]][answer.indices[b]] += weight * answer.information[a][b];
            }
        }
    }
    let mut observed = full.clone();
    let mut sum = vec![0.0; parameters];
    for (rater, of_rater) in weighed.raters.iter().zip(&answers.by_rater) {
        let active: Vec<(usize, f64)> = components(rater).filter(|(_, p)| *p > 0.005).collect();
        if of_rater.is_empty() || matches!(active[..], [(0, _)]) {
            continue;
        }
        sum.fill(0.0);
        for &index in of_rater {
            let spread: f64 = active
                .iter()
                .map(|&(component, p)| {
                    let follows = evaluated.follows(answers, index, component);
                    p * follows * (1.0 - follows)
                })
                .sum();
            add_square(&mut observed, evaluated, index, -spread);
            add_score(&mut sum, evaluated, index, weighed.weights[index]);
        }
        add_outer(&mut observed, &sum, 1.0);
        for (component, p) in active {
            sum.fill(0.0);
            for &index in of_rater {
                add_score(&mut sum, evaluated, index, evaluated.follows(answers, index, component));
            }
            add_outer(&mut observed, &sum, -p);
        }
    }
    // With few answers the loss can exceed what the prior leaves; then the full information is the better guess.
    if is_positive(&observed, &full) { observed } else { full }
}

/// Whether no direction of the parameters has lost more than 95% of its information: what is left then is positive
/// definite, as elimination shows.
fn is_positive(observed: &[Vec<f64>], full: &[Vec<f64>]) -> bool {
    let rest =
        |(o, f): (&Vec<f64>, &Vec<f64>)| o.iter().zip(f).map(|(o, f)| o - 0.05 * f).collect::<Vec<f64>>();
    let mut rest: Vec<Vec<f64>> = observed.iter().zip(full).map(rest).collect();
    for k in 0..rest.len() {
        let (done, below) = rest.split_at_mut(k + 1);
        let pivot = &done[k];
        if pivot[k] <= 0.0 {
            return false;
        }
        for row in below {
            let factor = row[k] / pivot[k];
            row.iter_mut().zip(pivot).for_each(|(entry, p)| *entry -= factor * p);
        }
    }
    true
}

fn add_square(matrix: &mut [Vec<f64>], evaluated: &Evaluated, index: usize, weight: f64) {
    let answer = &evaluated.answers[index];
    for a in 0..answer.count {
        for b in 0..answer.count {
            matrix[answer.indices[a]][answer.indices[b]] += weight * answer.score[a] * answer.score[b];
        }
    }
}

fn add_score(sum: &mut [f64], evaluated: &Evaluated, index: usize, weight: f64) {
    let answer = &evaluated.answers[index];
    for a in 0..answer.count {
        sum[answer.indices[a]] += weight * answer.score[a];
    }
}

fn add_outer(matrix: &mut [Vec<f64>], vector: &[f64], weight: f64) {
    for (row, a) in matrix.iter_mut().zip(vector) {
        for (entry, b) in row.iter_mut().zip(vector) {
            *entry += weight * a * b;
        }
    }
}

/// H^-1 (sum over groups of g g') H^-1, with g a group's score.
fn sandwich(inverse: &[Vec<f64>], sums: &[f64], parameters: usize) -> Vec<Vec<f64>> {
    let mut meat = vec![vec![0.0; parameters]; parameters];
    for sum in sums.chunks(parameters) {
        for (a, row) in meat.iter_mut().enumerate().filter(|(a, _)| sum[*a] != 0.0) {
            for (entry, b) in row.iter_mut().zip(sum) {
                *entry += sum[a] * b;
            }
        }
    }
    product(&product(inverse, &meat), inverse)
}

fn product(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let column = |row: &Vec<f64>, j: usize| row.iter().zip(b).map(|(x, other)| x * other[j]).sum();
    a.iter().map(|row| (0..b.len()).map(|j| column(row, j)).collect()).collect()
}

/// The number of equal groups that vary as much as these.
fn effective(sizes: &[f64]) -> f64 {
    let (sum, squares) =
        sizes.iter().fold((0.0, 0.0), |(sum, squares), size| (sum + size, squares + size * size));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

/// Student's quantile with one less degree of freedom than there are raters or prompts, the fewer of those that are
/// several.
fn quantile(effective: [f64; 2]) -> f64 {
    let several = effective.into_iter().filter(|groups| *groups > 1.5);
    let fewest = several.fold(f64::INFINITY, f64::min);
    if fewest.is_finite() { student(fewest.round() - 1.0) } else { Z }
}
