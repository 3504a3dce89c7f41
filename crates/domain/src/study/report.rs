//! The report of a study: a pure function of its spec and stored scores.

use super::cell::slug;
use super::measure::Measure;
use super::scores::{CurveRow, ScoreRow};
use super::settings::text;
use super::spec::{Ablation, StudyData, StudyEvaluation, StudySpec};
use crate::ranking::{CrossedMean, crossed_mean, crossed_share};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The report of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudyReport {
    /// Name of the study.
    pub name: String,
    /// The model that every method starts from.
    pub base: String,
    /// Seeds of the final runs.
    pub seeds: Vec<u64>,
    /// Pairs that every run sees.
    pub pairs: u32,
    /// Trials of every method that searches, on every set.
    pub trials: usize,
    /// The final models, per set and evaluation.
    pub tables: Vec<EvaluationTable>,
    /// The search, per set and method.
    pub searches: Vec<Search>,
    /// The ablations, per set, evaluation and measure.
    pub ablations: Vec<AblationLine>,
    /// Curves of the final runs, as means over seeds.
    pub curves: Vec<Curve>,
    /// Cells that failed or could not run.
    pub failures: Vec<Failure>,
}

/// The final models of a set by one evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationTable {
    /// Name of the set.
    pub data: String,
    /// Name of the evaluation.
    pub evaluation: String,
    /// One row per model and measure, the base first.
    pub rows: Vec<MethodRow>,
    /// Every method against the base and every other method, by each metric of images.
    pub wins: Vec<WinRow>,
}

/// A method by one measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodRow {
    /// Name of the method; `base` for the base.
    pub method: String,
    /// The measure.
    pub measure: Measure,
    /// Its mean over seeds and prompts.
    pub mean: CrossedMean,
    /// The mean difference from the base on the same prompts and noise; none for the base.
    pub difference: Option<CrossedMean>,
}

/// A method against another on the same prompts, noise and seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WinRow {
    /// Name of the method.
    pub method: String,
    /// Name of the other method; `base` for the base.
    pub against: String,
    /// The metric.
    pub measure: Measure,
    /// Images with a higher score, over all seeds.
    pub wins: usize,
    /// Images with an equal score.
    pub ties: usize,
    /// Images with a lower score.
    pub losses: usize,
    /// Wins plus half the ties over all.
    pub rate: CrossedMean,
    /// The mean difference of the scores.
    pub difference: CrossedMean,
}

/// The search of a method on a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Name of the set.
    pub data: String,
    /// Name of the method.
    pub method: String,
    /// The measure that chooses.
    pub measure: Measure,
    /// The base's value on the tuning prompts.
    pub base: Option<f64>,
    /// The trials.
    pub trials: Vec<SearchTrial>,
}

/// A trial of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchTrial {
    /// The values that it tried, by key.
    pub settings: BTreeMap<String, String>,
    /// Its value on the tuning prompts; none if it failed.
    pub value: Option<f64>,
    /// Whether the final runs have its settings.
    pub chosen: bool,
}

/// A measure against the values of a setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AblationLine {
    /// Name of the ablation.
    pub ablation: String,
    /// Name of the method.
    pub method: String,
    /// The setting.
    pub key: String,
    /// Name of the set.
    pub data: String,
    /// Name of the evaluation.
    pub evaluation: String,
    /// The measure.
    pub measure: Measure,
    /// The base's mean.
    pub base: Option<f64>,
    /// The values, in the order of the spec.
    pub points: Vec<AblationPoint>,
}

/// A value of an ablation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AblationPoint {
    /// The value of the setting.
    pub value: String,
    /// The mean of the measure.
    pub mean: CrossedMean,
}

/// A curve of a method's final runs on a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Name of the set.
    pub data: String,
    /// Name of the method.
    pub method: String,
    /// Name of the curve.
    pub curve: String,
    /// Its points in order of step.
    pub points: Vec<CurvePoint>,
}

/// A point of a curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// The step.
    pub step: i64,
    /// The mean over seeds.
    pub mean: CrossedMean,
}

/// A cell that failed or could not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its key.
    pub cell: String,
    /// Why.
    pub reason: String,
}

/// Name of the base in tables.
const BASE: &str = "base";

/// The scores of one model by one measure: by seed, by image. The base has one entry, of seed none.
type Images = BTreeMap<Option<u64>, BTreeMap<usize, f64>>;

/// Makes the report.
#[must_use]
pub fn report(
    spec: &StudySpec,
    scores: &[ScoreRow],
    curves: &[CurveRow],
    failures: Vec<Failure>,
) -> StudyReport {
    let scores = Scores::new(scores);
    let mut tables = Vec::new();
    let mut searches = Vec::new();
    for data in &spec.data {
        for evaluation in spec.evaluate.iter().filter(|of| of.applies_to(data)) {
            tables.push(table(spec, &scores, data, evaluation));
        }
        searches.extend((0..spec.methods.len()).filter_map(|method| search(spec, &scores, data, method)));
    }
    let mut ablations = Vec::new();
    for ablation in &spec.ablations {
        for data in spec.data.iter().filter(|data| ablation.applies_to(data)) {
            for evaluation in spec.evaluate.iter().filter(|of| of.applies_to(data)) {
                ablations.extend(lines(&scores, ablation, data, evaluation));
            }
        }
    }
    StudyReport {
        name: spec.name.clone(),
        base: spec.base.clone(),
        seeds: spec.seeds.clone(),
        pairs: spec.budget.pairs,
        trials: (0..spec.methods.len()).map(|method| spec.trials(method).len()).max().unwrap_or(0),
        tables,
        searches,
        ablations,
        curves: method_curves(spec, curves),
        failures,
    }
}

/// The scores by data, evaluation, model and measure.
struct Scores {
    by_model: BTreeMap<(String, String, String, Measure), Images>,
}

impl Scores {
    fn new(rows: &[ScoreRow]) -> Self {
        let mut by_model: BTreeMap<_, Images> = BTreeMap::new();
        for row in rows {
            let key = (row.data.clone(), row.evaluation.clone(), row.model.clone(), row.measure);
            let images = by_model.entry(key).or_default().entry(row.seed).or_default();
            // A distance is one value of all images together.
            images.insert(row.image.unwrap_or(0), row.score);
        }
        Self { by_model }
    }

    fn of(&self, data: &str, evaluation: &str, model: &str, measure: Measure) -> Option<&Images> {
        self.by_model.get(&(data.to_owned(), evaluation.to_owned(), model.to_owned(), measure))
    }

    /// The measures of an evaluation, in the order of their names.
    fn measures(&self, data: &str, evaluation: &str) -> BTreeSet<Measure> {
        let keys = self.by_model.keys().filter(|key| (key.0.as_str(), key.1.as_str()) == (data, evaluation));
        keys.map(|key| key.3).collect()
    }
}

/// One row per seed and one column per prompt: the mean of `value` over the images of the prompt. Images that any seed
/// lacks are left out.
fn rows(
    seeds: &Images,
    images_per_prompt: u32,
    value: &dyn Fn(Option<u64>, usize, f64) -> Option<f64>,
) -> Vec<Vec<f64>> {
    let per_prompt = (images_per_prompt as usize).max(1);
    let known = |seed: Option<u64>, images: &BTreeMap<usize, f64>| -> BTreeMap<usize, f64> {
        images.iter().filter_map(|(&image, &score)| Some((image, value(seed, image, score)?))).collect()
    };
    let values: Vec<BTreeMap<usize, f64>> = seeds.iter().map(|(&seed, images)| known(seed, images)).collect();
    let Some(first) = values.first() else { return Vec::new() };
    let mut prompts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for image in first.keys().filter(|image| values.iter().all(|of| of.contains_key(image))) {
        prompts.entry(image / per_prompt).or_default().push(*image);
    }
    let mean = |of: &BTreeMap<usize, f64>, images: &[usize]| {
        images.iter().filter_map(|image| of.get(image)).sum::<f64>() / images.len() as f64
    };
    values.iter().map(|of| prompts.values().map(|images| mean(of, images)).collect()).collect()
}

/// Scores that are all 0 or 1, as a rule gives them, are a share.
fn mean_of(images: &Images, evaluation: &StudyEvaluation, measure: Measure) -> Option<CrossedMean> {
    let rows = rows(images, evaluation.images_per_prompt, &|_, _, score| Some(score));
    let mut all = images.values().flat_map(BTreeMap::values);
    let is_share = measure != Measure::Distance && all.all(|&score| score == 0.0 || score == 1.0);
    if is_share { crossed_share(&rows) } else { crossed_mean(&rows) }
}

/// Score of the other model for the same image: of the same seed, or the base's.
fn counterpart(other: &Images, seed: Option<u64>, image: usize) -> Option<f64> {
    other.get(&seed).or_else(|| other.get(&None))?.get(&image).copied()
}

fn table(
    spec: &StudySpec,
    scores: &Scores,
    data: &StudyData,
    evaluation: &StudyEvaluation,
) -> EvaluationTable {
    let names: Vec<(String, String)> = std::iter::once((BASE.to_owned(), BASE.to_owned()))
        .chain(spec.methods.iter().map(|method| (method.name.clone(), format!("final/{}", method.name))))
        .collect();
    let (mut table_rows, mut wins) = (Vec::new(), Vec::new());
    for measure in scores.measures(&data.name, &evaluation.name) {
        let images = |model: &str| scores.of(&data.name, &evaluation.name, model, measure);
        for (name, model) in &names {
            let Some(ours) = images(model) else { continue };
            let Some(mean) = mean_of(ours, evaluation, measure) else { continue };
            let difference = images(BASE)
                .filter(|_| model != BASE)
                .and_then(|theirs| difference(ours, theirs, evaluation.images_per_prompt));
            table_rows.push(MethodRow { method: name.clone(), measure, mean, difference });
            if measure == Measure::Distance || model == BASE {
                continue;
            }
            for (against, other) in names.iter().filter(|(against, _)| against != name) {
                let of = images(other).and_then(|theirs| win(ours, theirs, evaluation.images_per_prompt));
                wins.extend(of.map(|((wins, ties, losses), rate, difference)| WinRow {
                    method: name.clone(),
                    against: against.clone(),
                    measure,
                    wins,
                    ties,
                    losses,
                    rate,
                    difference,
                }));
            }
        }
    }
    EvaluationTable { data: data.name.clone(), evaluation: evaluation.name.clone(), rows: table_rows, wins }
}

fn difference(ours: &Images, theirs: &Images, images_per_prompt: u32) -> Option<CrossedMean> {
    let minus = |seed, image, score| Some(score - counterpart(theirs, seed, image)?);
    crossed_mean(&rows(ours, images_per_prompt, &minus))
}

/// Wins, ties and losses; the win rate; the difference.
fn win(
    ours: &Images,
    theirs: &Images,
    images_per_prompt: u32,
) -> Option<((usize, usize, usize), CrossedMean, CrossedMean)> {
    let won = |seed, image, score: f64| {
        let other = counterpart(theirs, seed, image)?;
        Some(if score > other { 1.0 } else { f64::from(u8::from(score >= other)) * 0.5 })
    };
    let each: Vec<f64> = ours
        .iter()
        .flat_map(|(&seed, images)| images.iter().filter_map(move |(&image, &score)| won(seed, image, score)))
        .collect();
    let count = |low: f64, high: f64| each.iter().filter(|&&value| value > low && value < high).count();
    let counts = (count(0.75, 2.0), count(0.25, 0.75), count(-1.0, 0.25));
    let rate = crossed_share(&rows(ours, images_per_prompt, &won))?;
    Some((counts, rate, difference(ours, theirs, images_per_prompt)?))
}

fn search(spec: &StudySpec, scores: &Scores, data: &StudyData, method: usize) -> Option<Search> {
    let tuning = spec.tuning.as_ref()?;
    let evaluation = tuning.evaluate.iter().find(|of| of.applies_to(data))?;
    let trials = spec.trials(method);
    let name = &spec.methods[method].name;
    // The mean over images, as the evaluation's own report has it.
    let value = |model: &str| {
        let images = scores.of(&data.name, &evaluation.name, model, tuning.metric)?;
        let all: Vec<f64> = images.values().next()?.values().copied().collect();
        Some(all.iter().sum::<f64>() / all.len() as f64)
    };
    let values: Vec<Option<f64>> =
        (1..=trials.len()).map(|trial| value(&format!("trial/{name}/{trial}"))).collect();
    let mut best: Option<(usize, f64)> = None;
    for (trial, value) in values.iter().enumerate() {
        if let Some(value) = *value
            && best.is_none_or(|(_, than)| tuning.metric.is_better(value, than))
        {
            best = Some((trial, value));
        }
    }
    let row = |(trial, (settings, value)): (usize, (super::settings::Settings, Option<f64>))| SearchTrial {
        settings: settings.iter().map(|(key, value)| (key.clone(), text(value))).collect(),
        value,
        chosen: best.is_some_and(|(of, _)| of == trial),
    };
    (!trials.is_empty()).then(|| Search {
        data: data.name.clone(),
        method: name.clone(),
        measure: tuning.metric,
        base: value(BASE),
        trials: trials.into_iter().zip(values).enumerate().map(row).collect(),
    })
}

fn lines(
    scores: &Scores,
    ablation: &Ablation,
    data: &StudyData,
    evaluation: &StudyEvaluation,
) -> Vec<AblationLine> {
    let measures = scores.measures(&data.name, &evaluation.name);
    let line = |measure: Measure| {
        let images = |model: &str| scores.of(&data.name, &evaluation.name, model, measure);
        let point = |value: &serde_json::Value| {
            let value = text(value);
            let images = images(&format!("ablation/{}/{}", ablation.name, slug(&value)))?;
            Some(AblationPoint { value, mean: mean_of(images, evaluation, measure)? })
        };
        let points: Vec<AblationPoint> = ablation.values.iter().filter_map(point).collect();
        (!points.is_empty()).then(|| AblationLine {
            ablation: ablation.name.clone(),
            method: ablation.method.clone(),
            key: ablation.key.clone(),
            data: data.name.clone(),
            evaluation: evaluation.name.clone(),
            measure,
            base: images(BASE).and_then(|of| mean_of(of, evaluation, measure)).map(|of| of.mean),
            points,
        })
    };
    measures.into_iter().filter_map(line).collect()
}

/// The values of a curve by step, of each step by seed.
type ValuesBySeed = BTreeMap<i64, BTreeMap<u64, f64>>;

/// Curves of the final runs: a point for each step that every seed has.
fn method_curves(spec: &StudySpec, rows: &[CurveRow]) -> Vec<Curve> {
    let mut curves: BTreeMap<(&str, &str, &str), ValuesBySeed> = BTreeMap::new();
    for row in rows {
        let points = curves.entry((&row.data, &row.model, &row.curve)).or_default();
        points.entry(row.step).or_default().insert(row.seed, row.value);
    }
    let mut found = Vec::new();
    for data in &spec.data {
        for method in &spec.methods {
            let model = format!("final/{}", method.name);
            let of = curves.iter().filter(|(key, _)| (key.0, key.1) == (data.name.as_str(), model.as_str()));
            for ((_, _, curve), points) in of {
                let seeds = points.values().map(BTreeMap::len).max().unwrap_or(0);
                let complete = points.iter().filter(|(_, of)| of.len() == seeds);
                let point = |(&step, of): (&i64, &BTreeMap<u64, f64>)| {
                    let values: Vec<Vec<f64>> = of.values().map(|&value| vec![value]).collect();
                    Some(CurvePoint { step, mean: crossed_mean(&values)? })
                };
                found.push(Curve {
                    data: data.name.clone(),
                    method: method.name.clone(),
                    curve: (*curve).to_owned(),
                    points: complete.filter_map(point).collect(),
                });
            }
        }
    }
    found
}
