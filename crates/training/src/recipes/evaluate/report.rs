//! What an evaluation found: averages, win rates against the baseline, and how far the metrics agree. A pure function of the
//! scores, so that an evaluation that was interrupted reports the same.

use super::judges::Scores;
use super::prompts::Task;
use crate::recipes::fid::FidReport;
use diffusion::noise::Noise;
use domain::api::WinRate;
use domain::evaluate::Metric;
use domain::ranking::{cohen_kappa, paired_bootstrap, spearman, win_rate};
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// One model's scores.
#[derive(Clone, Debug)]
pub struct Scored {
    /// Its name.
    pub model: String,
    /// SHA-256 of its UNet's weights.
    pub sha256: String,
    /// Of each metric, one per prompt.
    pub scores: Scores,
    /// Its images' distance from the reference, where there is one.
    pub fid: Option<FidReport>,
}

/// All that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvaluationReport {
    /// How many prompts.
    pub prompts: usize,
    /// Of the first image's noise; image i uses seed + i, of every model.
    pub seed: u64,
    /// What the others are compared with.
    pub baseline: String,
    /// Each model by itself.
    pub models: Vec<ModelSummary>,
    /// Each other model with the baseline, by each metric.
    pub comparisons: Vec<Comparison>,
    /// Each two metrics.
    pub agreements: Vec<Agreement>,
    /// What the numbers of each metric are: network, scale, weights.
    pub statements: BTreeMap<Metric, String>,
}

/// One model by itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelSummary {
    /// Its name.
    pub model: String,
    /// SHA-256 of its UNet's weights.
    pub sha256: String,
    /// By each metric.
    pub metrics: Vec<MetricSummary>,
    /// Its images' distance from the reference.
    pub fid: Option<FidReport>,
}

/// One metric of one model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricSummary {
    /// Which.
    pub metric: Metric,
    /// Images that it scored.
    pub count: usize,
    /// Of their scores.
    pub mean: f64,
    /// Of their scores.
    pub median: f64,
    /// Mean and count of each category.
    pub categories: BTreeMap<String, (f64, usize)>,
}

/// A model beside the baseline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Which model.
    pub model: String,
    /// By what.
    pub metric: Metric,
    /// Over all prompts.
    pub overall: Wins,
    /// Over each category's.
    pub categories: BTreeMap<String, Wins>,
    /// Mean of the score minus the baseline's, with its 95% interval from drawing the prompts again.
    pub difference: [f64; 3],
    /// Where its score exceeds the baseline's most, the largest first.
    pub won_most: Vec<Extreme>,
    /// Where it falls behind most, the largest first.
    pub lost_most: Vec<Extreme>,
}

/// How often a model's image scored higher than the baseline's of the same prompt and noise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Wins {
    /// Higher.
    pub wins: i64,
    /// Lower.
    pub losses: i64,
    /// Equal: half a win each.
    pub ties: i64,
    /// Wins plus half the ties over all, with Wilson's 95% interval.
    pub win_rate: WinRate,
}

/// A prompt where two models lie far apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Extreme {
    /// Of the prompt, from 0.
    pub index: usize,
    /// It.
    pub prompt: String,
    /// The model's.
    pub score: f64,
    /// The baseline's.
    pub baseline: f64,
}

/// How far two metrics agree on which image is better, over all comparisons.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// One metric.
    pub first: Metric,
    /// The other.
    pub second: Metric,
    /// Pairs of images that both call unequal.
    pub decided: usize,
    /// On how many of these they prefer the same.
    pub same: usize,
    /// Cohen's kappa of better, worse and equal; none where there is nothing to measure.
    pub kappa: Option<f64>,
    /// Spearman's correlation of the differences.
    pub spearman: Option<f64>,
}

/// Resamples of the bootstrap.
const RESAMPLES: usize = 2000;
/// Prompts shown at either end.
const EXTREMES: usize = 4;

impl EvaluationReport {
    /// Of scores. `baseline` is among the models.
    #[must_use]
    pub fn new(tasks: &[Task], seed: u64, baseline: &str, models: &[Scored]) -> Self {
        let reference = models.iter().find(|scored| scored.model == baseline);
        let mut comparisons = Vec::new();
        for scored in models.iter().filter(|scored| scored.model != baseline) {
            for &metric in scored.scores.keys() {
                let stream = comparisons.len() as u64;
                let pairs = reference.map(|reference| pairs(scored, reference, metric)).unwrap_or_default();
                comparisons.extend(compare(
                    tasks,
                    &scored.model,
                    metric,
                    &pairs,
                    Noise::stream(seed, stream),
                ));
            }
        }
        Self {
            prompts: tasks.len(),
            seed,
            baseline: baseline.to_owned(),
            models: models.iter().map(|scored| summary(tasks, scored)).collect(),
            comparisons,
            agreements: reference.map(|reference| agreements(models, reference)).unwrap_or_default(),
            statements: BTreeMap::new(),
        }
    }

    /// The same with what the judges say of the metrics that are in it.
    #[must_use]
    pub fn with_statements(mut self, mut statements: BTreeMap<Metric, String>) -> Self {
        let found = |metric: &Metric| {
            self.models.iter().any(|model| model.metrics.iter().any(|found| found.metric == *metric))
        };
        statements.retain(|metric, _| found(metric));
        self.statements = statements;
        self
    }
}

/// Prompts that both scored: index, the model's score, the baseline's.
type Pairs = Vec<(usize, f64, f64)>;

fn pairs(scored: &Scored, reference: &Scored, metric: Metric) -> Pairs {
    let (Some(ours), Some(theirs)) = (scored.scores.get(&metric), reference.scores.get(&metric)) else {
        return Vec::new();
    };
    let both = ours.iter().zip(theirs).enumerate();
    both.filter_map(|(i, (&ours, &theirs))| Some((i, ours?, theirs?))).collect()
}

fn summary(tasks: &[Task], scored: &Scored) -> ModelSummary {
    let metrics = scored.scores.iter().filter_map(|(&metric, scores)| {
        let known: Vec<f64> = scores.iter().copied().flatten().collect();
        let mut categories: BTreeMap<String, (f64, usize)> = BTreeMap::new();
        for (task, score) in tasks.iter().zip(scores) {
            if let (false, Some(score)) = (task.category.is_empty(), score) {
                let (sum, count) = categories.entry(task.category.clone()).or_default();
                *sum += score;
                *count += 1;
            }
        }
        categories.values_mut().for_each(|(sum, count)| *sum /= *count as f64);
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        Some(MetricSummary { metric, count: known.len(), mean, median: median(known)?, categories })
    });
    ModelSummary {
        model: scored.model.clone(),
        sha256: scored.sha256.clone(),
        metrics: metrics.collect(),
        fid: scored.fid.clone(),
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

fn compare(
    tasks: &[Task],
    model: &str,
    metric: Metric,
    pairs: &Pairs,
    mut noise: Noise,
) -> Option<Comparison> {
    let scores: Vec<(f64, f64)> = pairs.iter().map(|&(_, a, b)| (a, b)).collect();
    let interval = paired_bootstrap(&scores, RESAMPLES, |n| noise.below(n))?;
    let mut categories: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for &(i, a, b) in pairs {
        if !tasks[i].category.is_empty() {
            categories.entry(tasks[i].category.clone()).or_default().push((a, b));
        }
    }
    let mut order: Vec<&(usize, f64, f64)> = pairs.iter().collect();
    order.sort_by(|x, y| (y.1 - y.2).total_cmp(&(x.1 - x.2)).then(x.0.cmp(&y.0)));
    let extreme = |&&(index, score, baseline): &&(usize, f64, f64)| Extreme {
        index,
        prompt: tasks[index].prompt.clone(),
        score,
        baseline,
    };
    let won = order.iter().filter(|(_, a, b)| a > b).take(EXTREMES).map(extreme);
    let lost = order.iter().rev().filter(|(_, a, b)| a < b).take(EXTREMES).map(extreme);
    Some(Comparison {
        model: model.to_owned(),
        metric,
        overall: wins(&scores)?,
        categories: categories.into_iter().filter_map(|(name, pairs)| Some((name, wins(&pairs)?))).collect(),
        difference: [interval.mean, interval.low, interval.high],
        won_most: won.collect(),
        lost_most: lost.collect(),
    })
}

fn wins(pairs: &[(f64, f64)]) -> Option<Wins> {
    let count = |wanted: Ordering| pairs.iter().filter(|(a, b)| a.total_cmp(b) == wanted).count() as i64;
    let (wins, losses, ties) = (count(Ordering::Greater), count(Ordering::Less), count(Ordering::Equal));
    Some(Wins { wins, losses, ties, win_rate: win_rate(wins, losses, ties)? })
}

fn agreements(models: &[Scored], reference: &Scored) -> Vec<Agreement> {
    let metrics: BTreeSet<Metric> = models.iter().flat_map(|scored| scored.scores.keys().copied()).collect();
    let metrics: Vec<Metric> = metrics.into_iter().collect();
    let mut found = Vec::new();
    for (i, &first) in metrics.iter().enumerate() {
        for &second in &metrics[i + 1..] {
            let mut differences = Vec::new();
            for scored in models.iter().filter(|scored| scored.model != reference.model) {
                let others: BTreeMap<usize, f64> =
                    pairs(scored, reference, second).into_iter().map(|(i, a, b)| (i, a - b)).collect();
                let ours = pairs(scored, reference, first).into_iter();
                differences.extend(ours.filter_map(|(i, a, b)| Some((a - b, *others.get(&i)?))));
            }
            let signs: Vec<(i8, i8)> = differences.iter().map(|&(x, y)| (sign(x), sign(y))).collect();
            let decided = signs.iter().filter(|(x, y)| *x != 0 && *y != 0);
            let (x, y): (Vec<f64>, Vec<f64>) = differences.iter().copied().unzip();
            found.push(Agreement {
                first,
                second,
                decided: decided.clone().count(),
                same: decided.filter(|(x, y)| x == y).count(),
                kappa: cohen_kappa(&signs),
                spearman: spearman(&x, &y),
            });
        }
    }
    found
}

fn sign(x: f64) -> i8 {
    i8::from(x > 0.0) - i8::from(x < 0.0)
}

#[cfg(test)]
mod tests {
    use super::{EvaluationReport, Scored};
    use crate::recipes::evaluate::prompts::Task;
    use domain::evaluate::Metric;

    fn task(prompt: &str, category: &str) -> Task {
        Task { prompt: prompt.to_owned(), category: category.to_owned(), held_out: None }
    }

    fn scored(model: &str, clip: &[f64], rule: &[Option<f64>]) -> Scored {
        let clip = clip.iter().copied().map(Some).collect();
        let scores = [(Metric::ClipScore, clip), (Metric::ShapeAndColour, rule.to_vec())];
        Scored { model: model.to_owned(), sha256: String::new(), scores: scores.into(), fid: None }
    }

    #[test]
    fn figures_are_those_worked_by_hand() {
        let tasks = [task("p", "x"), task("q", "x"), task("r", "y"), task("s", "")];
        let base = scored("base", &[0.1, 0.2, 0.3, 0.4], &[Some(0.0), Some(0.0), Some(1.0), None]);
        let tuned = scored("tuned", &[0.5, 0.1, 0.3, 0.8], &[Some(1.0), Some(0.0), Some(1.0), None]);
        let report = EvaluationReport::new(&tasks, 7, "base", &[base, tuned]);

        let clip = &report.models[1].metrics[0];
        assert_eq!((clip.count, clip.median), (4, 0.4));
        assert!((clip.mean - 0.425).abs() < 1e-12);
        assert_eq!(clip.categories.keys().collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(report.models[1].metrics[1].count, 3);

        assert_eq!(report.comparisons.len(), 2);
        let of_clip = &report.comparisons[0];
        assert_eq!((of_clip.overall.wins, of_clip.overall.losses, of_clip.overall.ties), (2, 1, 1));
        assert!((of_clip.overall.win_rate.value - 0.625).abs() < 1e-12);
        assert!((of_clip.difference[0] - 0.175).abs() < 1e-12);
        assert!(of_clip.difference[1] <= 0.175 && of_clip.difference[2] >= 0.175);
        assert_eq!((of_clip.categories["x"].wins, of_clip.categories["x"].losses), (1, 1));
        let extremes = |of: &[super::Extreme]| of.iter().map(|e| e.index).collect::<Vec<_>>();
        assert_eq!((extremes(&of_clip.won_most), extremes(&of_clip.lost_most)), (vec![0, 3], vec![1]));

        // On prompts 0 to 2 both judged: better/better, worse/equal, equal/equal.
        let agreement = &report.agreements[0];
        assert_eq!((agreement.decided, agreement.same), (1, 1));
        assert!(agreement.kappa.is_some_and(|k| k > 0.0 && k < 1.0), "{agreement:?}");
    }

    #[test]
    fn one_model_alone_is_compared_with_nothing() {
        let report = EvaluationReport::new(&[task("p", "")], 0, "a", &[scored("a", &[0.5], &[None])]);
        assert!(report.comparisons.is_empty() && report.models.len() == 1);
        assert_eq!(report.models[0].metrics.len(), 1, "a metric that scored nothing has no figures");
    }
}
