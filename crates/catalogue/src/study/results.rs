//! Collects the results of a study from rows and artifacts.

use super::folder::{Sample, StudyResults};
use super::stored_evaluation::{StoredEvaluation, StoredScore};
use crate::models::Catalogue;
use anyhow::{Context, Result};
use domain::id::JobId;
use domain::image::Purpose;
use domain::job::JobState;
use domain::run::{MetricPoint, metric};
use domain::study::{
    Cell, CurveRow, Failure, Measure, ScoreRow, Study, StudyEvaluation, StudySpec, StudySummary, cells,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use store::{ImageFilter, StudyJob};

/// Prompts of which sample images are kept, per evaluation.
const SAMPLED_PROMPTS: usize = 4;
/// Points of a curve that is recorded at every step.
const POINTS: i64 = 20;
/// Curves that are recorded at every checkpoint.
const VALIDATION: [&str; 2] = [metric::VALIDATION_LOSS, metric::VALIDATION_ACCURACY];
/// Curves that are recorded at every step.
const TRAINING: [&str; 7] = [
    metric::LOSS,
    metric::REWARDS_ACCURACIES,
    metric::MSE_REFERENCE_WINNER,
    metric::MSE_REFERENCE_LOSER,
    metric::MEAN_A,
    metric::MEAN_B,
    metric::WEIGHT_DIAGONAL,
];

impl Catalogue {
    /// The results of a study so far, and the files of its sample images.
    ///
    /// # Errors
    /// Fails if a row or a stored report cannot be read.
    pub async fn study_results(&self, study: Study) -> Result<(StudyResults, Vec<PathBuf>)> {
        let jobs = self.store.list_study_jobs(study.id).await?;
        let summary = self.study_summary(study).await?;
        let spec = &summary.study.spec;
        let done: BTreeMap<&str, &StudyJob> = jobs
            .iter()
            .filter(|job| job.state == JobState::Succeeded)
            .map(|job| (job.cell.as_str(), job))
            .collect();
        let mut collected = Collected::new(spec, runs(spec, &done));
        let mut curves = Vec::new();
        for cell in cells(spec) {
            let Some(job) = done.get(cell.key(spec).as_str()) else { continue };
            if cell.trains() {
                curves.extend(self.curves(spec, cell, job.job).await?);
            } else {
                collected.add(self, cell, job.job).with_context(|| cell.key(spec))?;
            }
        }
        let (samples, images) = self.samples(&collected).await?;
        let scores = collected.scores;
        let results =
            StudyResults { spec: spec.clone(), failures: failures(&summary), samples, scores, curves };
        Ok((results, images))
    }

    /// Curves of a final run or of an ablation's: what validation measured, and means over parts of the run.
    async fn curves(&self, spec: &StudySpec, cell: Cell, job: JobId) -> Result<Vec<CurveRow>> {
        let (Cell::Final { data, seed, .. } | Cell::Ablation { data, seed, .. }) = cell else {
            return Ok(Vec::new());
        };
        let run = self.store.get_job(job).await?.and_then(|job| job.run_id).context("the job has no run")?;
        let points = self.store.metrics(run, -1).await?;
        let of = |name: &str| points.iter().filter(|point| point.name == name).cloned().collect::<Vec<_>>();
        let validation = VALIDATION.iter().flat_map(|name| of(name));
        let training = TRAINING.iter().flat_map(|name| means(&of(name)));
        let row = |point: MetricPoint| CurveRow {
            data: spec.data[data].name.clone(),
            model: label(spec, cell),
            seed,
            curve: point.name,
            step: point.step,
            value: point.value,
        };
        Ok(validation.chain(training).map(row).collect())
    }

    /// Sample images of the first seed: the first prompts of each evaluation by the base and every method.
    async fn samples(&self, collected: &Collected<'_>) -> Result<(Vec<Sample>, Vec<PathBuf>)> {
        let (mut samples, mut files) = (Vec::new(), Vec::new());
        for wanted in &collected.wanted {
            let Some(model) = self.store.find_model(&wanted.row).await? else { continue };
            let filter = ImageFilter {
                model_id: Some(model.id),
                purpose: Some(Purpose::Evaluation),
                prompt_contains: Some(wanted.sample.prompt.clone()),
                ..ImageFilter::default()
            };
            let images = self.store.list_images(&filter, u32::MAX).await?;
            // The oldest of equal images is the one that was scored.
            let image = images.into_iter().rev().find(|image| {
                image.params.seed == wanted.seed && image.params.prompt == wanted.sample.prompt
            });
            if let Some(image) = image {
                samples.push(wanted.sample.clone());
                files.push(self.artifacts.path(&image.artifact)?);
            }
        }
        Ok((samples, files))
    }
}

/// What the stored evaluations hold.
struct Collected<'a> {
    spec: &'a StudySpec,
    /// Label and seed of the models of the study, by name.
    runs: BTreeMap<String, (String, u64)>,
    scores: Vec<ScoreRow>,
    /// Sets and evaluations whose base has been read: its images are the same in all of them.
    bases: BTreeSet<(usize, String)>,
    wanted: Vec<Wanted>,
}

/// A sample image to look up.
struct Wanted {
    sample: Sample,
    /// Name of the model's row.
    row: String,
    /// Seed of the image.
    seed: u64,
}

impl<'a> Collected<'a> {
    fn new(spec: &'a StudySpec, runs: BTreeMap<String, (String, u64)>) -> Self {
        Self { spec, runs, scores: Vec::new(), bases: BTreeSet::new(), wanted: Vec::new() }
    }

    /// Adds the scores of an evaluation.
    fn add(&mut self, catalogue: &Catalogue, cell: Cell, job: JobId) -> Result<()> {
        let spec = self.spec;
        let tuning = |data: usize| {
            let tuning = spec.tuning.as_ref()?;
            tuning.evaluate.iter().find(|of| of.applies_to(&spec.data[data]))
        };
        let (evaluation, data): (Option<&StudyEvaluation>, usize) = match cell {
            Cell::TrialEvaluation { data, .. } => (tuning(data), data),
            Cell::Evaluation { evaluation, data, .. } | Cell::AblationEvaluation { evaluation, data, .. } => {
                (spec.evaluate.get(evaluation), data)
            }
            Cell::Trial { .. } | Cell::Final { .. } | Cell::Ablation { .. } => return Ok(()),
        };
        let evaluation = &evaluation.context("the study has no such evaluation")?.name;
        let with_base = self.bases.insert((data, evaluation.clone()));
        let scores = StoredEvaluation::scores(&catalogue.artifacts, job)?;
        let figures = StoredEvaluation::figures(&catalogue.artifacts, job)?;
        let images =
            scores.iter().map(|of| (of.model.as_str(), Some(of.index), Measure::Metric(of.metric), of.score));
        let distances = figures.distances().map(|(model, value)| (model, None, Measure::Distance, value));
        for (model, image, measure, score) in images.chain(distances) {
            let (model, seed) = match self.runs.get(model) {
                Some((label, seed)) => (label.clone(), Some(*seed)),
                None if with_base => ("base".to_owned(), None),
                None => continue,
            };
            let data = spec.data[data].name.clone();
            let evaluation = evaluation.clone();
            self.scores.push(ScoreRow { data, evaluation, model, seed, image, measure, score });
        }
        if let Cell::Evaluation { seed, .. } = cell
            && spec.seeds.first() == Some(&seed)
        {
            self.want(&spec.data[data].name, evaluation, &scores);
        }
        Ok(())
    }

    /// Notes the samples of an evaluation.
    fn want(&mut self, data: &str, evaluation: &str, scores: &[StoredScore]) {
        let mut seen = BTreeSet::new();
        for of in scores.iter().filter(|of| of.index < SAMPLED_PROMPTS) {
            if !seen.insert((of.model.as_str(), of.index)) {
                continue;
            }
            let label = self.runs.get(&of.model).map_or("base", |(label, _)| label.as_str());
            let model = label.trim_start_matches("final/").to_owned();
            let file = format!("samples/{data}/{evaluation}/{:02}-{model}.png", of.index);
            let sample = Sample {
                data: data.to_owned(),
                evaluation: evaluation.to_owned(),
                model,
                image: of.index,
                prompt: of.prompt.clone(),
                file,
            };
            self.wanted.push(Wanted { sample, row: of.model.clone(), seed: of.seed });
        }
    }
}

/// Label and seed of the models of the study, by name.
fn runs(spec: &StudySpec, done: &BTreeMap<&str, &StudyJob>) -> BTreeMap<String, (String, u64)> {
    let run = |cell: Cell| {
        let seed = match cell {
            Cell::Final { seed, .. } | Cell::Ablation { seed, .. } => seed,
            Cell::Trial { .. } => spec.tuning.as_ref().map_or(0, |tuning| tuning.seed),
            _ => return None,
        };
        let model = done.get(cell.key(spec).as_str())?.model.clone()?;
        Some((model, (label(spec, cell), seed)))
    };
    cells(spec).into_iter().filter_map(run).collect()
}

/// The name of a run's model in tables: its key without set and seed.
fn label(spec: &StudySpec, cell: Cell) -> String {
    let key = cell.key(spec);
    let parts: Vec<&str> = key.split('/').collect();
    match (cell, parts.as_slice()) {
        (Cell::Trial { .. }, [kind, method, _, trial]) => format!("{kind}/{method}/{trial}"),
        (Cell::Final { .. }, [kind, method, ..]) => format!("{kind}/{method}"),
        (Cell::Ablation { .. }, [kind, name, value, ..]) => format!("{kind}/{name}/{value}"),
        _ => key,
    }
}

/// A curve with at most [`POINTS`] points, each the mean of the steps since the one before.
fn means(points: &[MetricPoint]) -> Vec<MetricPoint> {
    let Some(last) = points.last().map(|point| point.step.max(1)) else { return Vec::new() };
    let width = (last + POINTS - 1) / POINTS;
    let mut parts: BTreeMap<i64, (f64, f64, String)> = BTreeMap::new();
    for point in points {
        let end = ((point.step.max(1) + width - 1) / width) * width;
        let part = parts.entry(end.min(last)).or_insert_with(|| (0.0, 0.0, point.name.clone()));
        (part.0, part.1) = (part.0 + point.value, part.1 + 1.0);
    }
    let mean = |(step, (sum, count, name))| MetricPoint { name, step, value: sum / count };
    parts.into_iter().map(mean).collect()
}

fn failures(summary: &StudySummary) -> Vec<Failure> {
    let failed =
        summary.cells.iter().filter(|cell| matches!(cell.state.as_str(), "failed" | "cancelled" | "blocked"));
    failed
        .map(|cell| Failure {
            cell: cell.key.clone(),
            reason: cell.error.clone().unwrap_or_else(|| cell.state.clone()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::means;
    use domain::run::MetricPoint;

    #[test]
    fn a_curve_is_averaged_over_parts_that_end_with_its_last_step() {
        let point = |step: i64| MetricPoint { name: "loss".to_owned(), step, value: step as f64 };
        let points: Vec<MetricPoint> = (1..=50).map(point).collect();
        let means = means(&points);
        // 50 steps in parts of 3: 17 parts, the last of 2 steps.
        assert_eq!((means.len(), means[0].step, means[0].value), (17, 3, 2.0));
        assert_eq!((means[16].step, means[16].value), (50, 49.5));
        assert!(super::means(&[]).is_empty());
        assert_eq!(super::means(&points[..1]).len(), 1);
    }
}
