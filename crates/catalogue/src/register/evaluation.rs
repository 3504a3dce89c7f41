//! An evaluation of `evaluate`: its images and scores as rows, its report as artifacts of a job that has ended.

use super::{Registrar, TERMINAL};
use crate::evaluation_rows::EvaluationRows;
use anyhow::{Context, Result};
use diffusion::fingerprint::Fingerprint;
use domain::Timestamp;
use domain::evaluate::{EvaluateSpec, Metric, ReportFile};
use domain::id::JobId;
use domain::image::GenerationParams;
use domain::job::{Job, JobSpec, JobState};
use domain::model::Model;
use files::write_atomically;
use process::ambient;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A finished evaluation in a folder.
#[derive(Clone, Debug)]
pub struct Evaluation<'a> {
    /// The folder, with the report.
    pub folder: &'a Path,
    /// The spec, whose models are those of `models` in the same order.
    pub spec: &'a EvaluateSpec,
    /// The evaluated models.
    pub models: Vec<EvaluatedModel>,
    /// Prompts with their categories.
    pub categories: &'a [(String, String)],
}

/// A model of a finished evaluation.
#[derive(Clone, Debug)]
pub struct EvaluatedModel {
    /// The name in the report.
    pub name: String,
    /// The model as the spec gives it: a name or path that [`crate::local_models::LocalModels`] finds.
    pub place: String,
    /// SHA-256 of its weights.
    pub sha256: String,
    /// What decided its images.
    pub fingerprint: Fingerprint,
    /// How its images were drawn, one per prompt.
    pub params: Vec<GenerationParams>,
    /// The files of its images, one per prompt.
    pub images: Vec<PathBuf>,
    /// By metric, one score per prompt.
    pub scores: BTreeMap<Metric, Vec<Option<f64>>>,
}

/// Images whose files are in memory at a time.
const BATCH: usize = 16;

/// `registered.json` in the folder: the job as which any database knows the evaluation.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    job: JobId,
    finished: Timestamp,
}

impl Manifest {
    /// The manifest of a folder, created when the evaluation is first registered.
    fn of(folder: &Path) -> Result<Self> {
        let file = folder.join("registered.json");
        if file.is_file() {
            let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            return serde_json::from_slice(&bytes).with_context(|| {
                format!("{} is damaged: remove it to register the evaluation as a new one", file.display())
            });
        }
        let now = ambient::now();
        let manifest = Self { job: JobId::new(now, ambient::entropy()), finished: now };
        write_atomically(&file, &serde_json::to_vec_pretty(&manifest)?)?;
        Ok(manifest)
    }
}

impl Registrar<'_> {
    /// Registers a finished evaluation, and first those of its models that have no row. Returns its job.
    ///
    /// # Errors
    /// As [`Registrar::register`]; also fails if a file of the evaluation cannot be read.
    pub async fn evaluation(&self, evaluation: &Evaluation<'_>) -> Result<JobId> {
        let mut rows = Vec::new();
        for model in &evaluation.models {
            rows.push(self.evaluated(model).await.with_context(|| format!("model {}", model.name))?);
        }
        let Manifest { job, finished } = Manifest::of(evaluation.folder)?;
        let ids = rows.iter().map(|row| row.id).collect();
        let mut kept = EvaluationRows::new(self.catalogue.clone(), job, None, ids);
        for (index, model) in evaluation.models.iter().enumerate() {
            put_model(&mut kept, index, model).await?;
        }
        for file in ReportFile::ALL {
            kept.put_report(file, read(&evaluation.folder.join(file.name()))?).await?;
        }
        let images = evaluation.models.iter().map(|model| model.images.len()).sum::<usize>();
        let images = i64::try_from(images).unwrap_or(i64::MAX);
        let job = Job {
            id: job,
            spec: JobSpec::Evaluate(spec_of_row(evaluation, &rows)),
            state: JobState::Succeeded,
            attempt: 1,
            cancel_requested: false,
            worker: Some(TERMINAL.to_owned()),
            progress: images,
            total: images,
            error: None,
            run_id: None,
            priority: 0,
            position: None,
            created_at: finished,
            queued_at: finished,
            started_at: Some(finished),
            finished_at: Some(finished),
        };
        let categories: Vec<(&str, &str)> =
            evaluation.categories.iter().map(|(prompt, category)| (&**prompt, &**category)).collect();
        self.catalogue.store.put_prompt_categories(&categories).await?;
        self.catalogue.store.insert_ended_job(&job).await?;
        Ok(job.id)
    }

    /// The row of an evaluated model. A name that the spec gives to its folder is the model's.
    async fn evaluated(&self, model: &EvaluatedModel) -> Result<Model> {
        let by_name = self.catalogue.store.get_model_by_name(&model.name).await?;
        let folder = self.local.named(&model.place)?;
        let name = (model.name != model.place).then_some(&*model.name);
        let row = self.row_of_folder(&folder, &model.sha256, by_name, name, 0).await?;
        // The row of equal weights may be that of a model with another scheduler, autoencoder or base. Without its files,
        // only what was recorded of them can be compared.
        if let Ok(files) = self.catalogue.files(&row).await
            && let Ok(files) = Fingerprint::of(&files.folders())
        {
            self.catalogue.check_identity(&row, &files).await?;
        }
        self.catalogue.check_identity(&row, &model.fingerprint).await?;
        Ok(row)
    }
}

/// Inserts the images of a model that have no row, and its scores.
async fn put_model(rows: &mut EvaluationRows, index: usize, model: &EvaluatedModel) -> Result<()> {
    let exists = rows.existing(index, &model.params).await?;
    let missing: Vec<usize> = (0..exists.len()).filter(|&prompt| !exists[prompt]).collect();
    for batch in missing.chunks(BATCH) {
        let image =
            |&prompt: &usize| Ok((prompt, model.params[prompt].clone(), read(&model.images[prompt])?));
        let images = batch.iter().map(image).collect::<Result<Vec<_>>>()?;
        rows.put_images(index, images).await?;
    }
    rows.put_scores(index, &model.scores).await
}

/// The spec with the models' names in the database.
fn spec_of_row(evaluation: &Evaluation<'_>, rows: &[Model]) -> EvaluateSpec {
    let baseline = evaluation.models.iter().position(|model| model.name == evaluation.spec.baseline());
    EvaluateSpec {
        model: String::new(),
        models: rows.iter().map(|row| row.name.clone()).collect(),
        baseline: baseline.map(|index| rows[index].name.clone()),
        ..evaluation.spec.clone()
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}
