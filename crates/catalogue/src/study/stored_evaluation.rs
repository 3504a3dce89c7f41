//! The report that an evaluation job stored, read back.

use anyhow::{Context, Result};
use domain::evaluate::{Metric, ReportFile};
use domain::id::JobId;
use domain::study::Measure;
use serde::Deserialize;
use store::Artifacts;

/// The figures of a report: the fields that a study reads.
#[derive(Debug, Deserialize)]
pub(super) struct StoredEvaluation {
    models: Vec<StoredModel>,
}

#[derive(Debug, Deserialize)]
struct StoredModel {
    model: String,
    metrics: Vec<StoredMetric>,
    fid: Option<StoredDistance>,
}

#[derive(Debug, Deserialize)]
struct StoredMetric {
    metric: Metric,
    mean: f64,
}

#[derive(Debug, Deserialize)]
struct StoredDistance {
    frechet: f64,
}

/// A score of an image: a line of the report's table.
#[derive(Debug, Deserialize)]
pub(super) struct StoredScore {
    pub(super) model: String,
    pub(super) index: usize,
    pub(super) prompt: String,
    pub(super) seed: u64,
    pub(super) metric: Metric,
    pub(super) score: f64,
}

impl StoredEvaluation {
    /// Reads the figures of an evaluation job.
    ///
    /// # Errors
    /// Fails if there is no report, or if it cannot be read.
    pub(super) fn figures(artifacts: &Artifacts, job: JobId) -> Result<Self> {
        let file = artifacts.path(&ReportFile::Figures.artifact(job))?;
        let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("{} is no report", file.display()))
    }

    /// The scores of an evaluation job, in the order of its table.
    ///
    /// # Errors
    /// Fails if there is no table, or if it cannot be read.
    pub(super) fn scores(artifacts: &Artifacts, job: JobId) -> Result<Vec<StoredScore>> {
        let file = artifacts.path(&ReportFile::Scores.artifact(job))?;
        let mut reader =
            csv::Reader::from_path(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let rows = reader.deserialize().collect::<Result<Vec<_>, _>>();
        rows.with_context(|| format!("{} is no table of scores", file.display()))
    }

    /// A measure of a model: the mean of a metric, or its distance.
    pub(super) fn value(&self, model: &str, measure: Measure) -> Option<f64> {
        let of = self.models.iter().find(|of| of.model == model)?;
        match measure {
            Measure::Distance => of.fid.as_ref().map(|distance| distance.frechet),
            Measure::Metric(metric) => of.metrics.iter().find(|of| of.metric == metric).map(|of| of.mean),
        }
    }

    /// The distance of every model that has one, by name.
    pub(super) fn distances(&self) -> impl Iterator<Item = (&str, f64)> {
        self.models.iter().filter_map(|of| Some((of.model.as_str(), of.fid.as_ref()?.frechet)))
    }
}
