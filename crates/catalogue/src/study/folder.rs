//! The results of a study as files: `study.json` (spec, failures, list of sample images), `scores.csv`, `curves.csv` and
//! `samples/`. The report is made from these alone.

use anyhow::{Context, Result};
use domain::id::StudyId;
use domain::study::{CurveRow, Failure, ScoreRow, StudySpec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Path, PathBuf};
use store::StudyJob;

/// The file with spec, failures and the list of samples.
const STUDY: &str = "study.json";
/// The file with every score.
pub const SCORES: &str = "scores.csv";
/// The file with the curves of the runs.
const CURVES: &str = "curves.csv";
/// The file with the time that the jobs took.
const TIMES: &str = "times.json";
/// The report's page.
pub const PAGE: &str = "report.html";
/// The report's figures.
pub const FIGURES: &str = "report.json";

/// The stored results of a study.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyResults {
    /// What was compared.
    pub spec: StudySpec,
    /// Cells that failed or could not run.
    pub failures: Vec<Failure>,
    /// Images for the sample grids.
    pub samples: Vec<Sample>,
    /// Scores of images, and distances of models.
    pub scores: Vec<ScoreRow>,
    /// Points of the runs' curves.
    pub curves: Vec<CurveRow>,
}

/// A sample image: the same prompts and noise for every model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Name of the set.
    pub data: String,
    /// Name of the evaluation.
    pub evaluation: String,
    /// `base` or a method.
    pub model: String,
    /// Index of the image.
    pub image: usize,
    /// The text that the image was drawn from.
    pub prompt: String,
    /// Path of the image in the folder.
    pub file: String,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    spec: StudySpec,
    failures: Vec<Failure>,
    samples: Vec<Sample>,
}

/// The artifact key of the folder of a study's results and report.
#[must_use]
pub fn key(study: StudyId) -> String {
    format!("studies/{study}")
}

/// Writes the results; `images` are the sample images in their order.
///
/// # Errors
/// Fails if a file cannot be written.
pub fn write(folder: &Path, results: &StudyResults, images: &[PathBuf]) -> Result<()> {
    for (sample, image) in results.samples.iter().zip(images) {
        files::copy_atomically(image, &folder.join(&sample.file))?;
    }
    let StudyResults { spec, failures, samples, .. } = results.clone();
    let manifest = serde_json::to_vec_pretty(&Manifest { spec, failures, samples })?;
    files::write_atomically(&folder.join(SCORES), &table(&results.scores)?)?;
    files::write_atomically(&folder.join(CURVES), &table(&results.curves)?)?;
    Ok(files::write_atomically(&folder.join(STUDY), &manifest)?)
}

/// Writes when the study ran and how long its jobs took. Not part of the results: two runs of a study end in the same results
/// at different times.
///
/// # Errors
/// Fails if the file cannot be written.
pub fn write_times(folder: &Path, jobs: &[StudyJob]) -> Result<()> {
    let took = |job: &StudyJob| Some((job.finished_at? - job.started_at?).num_seconds());
    let times = json!({
        "jobs": jobs.len(),
        "job_seconds": jobs.iter().filter_map(took).sum::<i64>(),
        "began": jobs.iter().filter_map(|job| job.started_at).min(),
        "ended": jobs.iter().filter_map(|job| job.finished_at).max(),
    });
    Ok(files::write_atomically(&folder.join(TIMES), format!("{times:#}\n").as_bytes())?)
}

/// Reads the results.
///
/// # Errors
/// Fails if a file is missing or cannot be read.
pub fn read(folder: &Path) -> Result<StudyResults> {
    let file = folder.join(STUDY);
    let bytes = std::fs::read(&file)
        .with_context(|| format!("cannot read {}: is it the folder of a study?", file.display()))?;
    let Manifest { spec, failures, samples } = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is not the manifest of a study", file.display()))?;
    let (scores, curves) = (rows(&folder.join(SCORES))?, rows(&folder.join(CURVES))?);
    Ok(StudyResults { spec, failures, samples, scores, curves })
}

fn table<T: Serialize>(rows: &[T]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row)?;
    }
    writer.into_inner().context("cannot write the table")
}

fn rows<T: DeserializeOwned>(file: &Path) -> Result<Vec<T>> {
    let mut reader =
        csv::Reader::from_path(file).with_context(|| format!("cannot read {}", file.display()))?;
    let rows = reader.deserialize().collect::<Result<Vec<T>, _>>();
    rows.with_context(|| format!("{} is not a table of a study", file.display()))
}

#[cfg(test)]
mod tests {
    use super::{StudyResults, read, write};
    use domain::study::{CurveRow, Failure, ScoreRow};

    #[test]
    fn results_are_read_back_with_the_same_bits() {
        let spec = serde_json::json!({
            "name": "s", "base": "shapes", "budget": { "pairs": 4 }, "train": {},
            "data": [], "methods": [], "evaluate": [],
        });
        let score = |seed, image, score| ScoreRow {
            data: "a, \"b\"".to_owned(),
            evaluation: "e".to_owned(),
            model: "final/sft".to_owned(),
            seed,
            image,
            measure: "distance".parse().expect("a measure"),
            score,
        };
        let curve = CurveRow {
            data: "d".to_owned(),
            model: "final/sft".to_owned(),
            seed: 1,
            curve: "loss".to_owned(),
            step: 20,
            value: 0.1 + 0.2,
        };
        let results = StudyResults {
            spec: serde_json::from_value(spec).expect("a spec"),
            failures: vec![Failure { cell: "final/x".to_owned(), reason: "no".to_owned() }],
            samples: Vec::new(),
            scores: vec![score(None, Some(3), 1.0 / 3.0), score(Some(2), None, f64::MIN_POSITIVE)],
            curves: vec![curve],
        };
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), &results, &[]).expect("written");
        assert_eq!(read(folder.path()).expect("read"), results);
        assert!(read(&folder.path().join("none")).is_err());
    }

    #[test]
    fn a_study_without_scores_is_read_back() {
        let spec = serde_json::json!({
            "name": "s", "base": "shapes", "budget": { "pairs": 4 }, "train": {},
            "data": [], "methods": [], "evaluate": [],
        });
        let spec = serde_json::from_value(spec).expect("a spec");
        let (scores, curves) = (Vec::new(), Vec::new());
        let results = StudyResults { spec, failures: Vec::new(), samples: Vec::new(), scores, curves };
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), &results, &[]).expect("written");
        assert_eq!(read(folder.path()).expect("read"), results);
    }
}
