//! An evaluation job: images of prompts by one model or several, scored, and compared in a report among the artifacts
//! (`domain::evaluate::ReportFile`). What an earlier attempt made is kept.

use super::images::{Belongs, keep, params};
use super::lease::Lease;
use super::{Outcome, Worker};
use crate::recipes::evaluate::judges::Judges;
use crate::recipes::evaluate::page::{page, table};
use crate::recipes::evaluate::prompts::{Task, tasks};
use crate::recipes::evaluate::report::{EvaluationReport, Scored};
use crate::recipes::evaluate::{BATCH, distance, score, settings};
use anyhow::{Context, Result};
use diffusion::model_folders::ModelFolders as Folders;
use diffusion::pipeline::{Prompt, Settings, TextToImage};
use domain::evaluate::{EvaluateSpec, ReportFile};
use domain::model::Model;
use image::ImageFormat;
use std::ops::ControlFlow;
use std::path::PathBuf;
use store::{Claim, ImageScore};

/// One of the job's models, with how it draws.
struct Drawn {
    model: Model,
    settings: Settings,
}

impl Worker {
    pub(super) fn evaluate(&self, claim: &Claim, spec: &EvaluateSpec, lease: &Lease) -> Result<Outcome> {
        let tasks = tasks(&spec.prompts).context("prompts")?;
        let names = spec.all_models();
        let total = i64::try_from(names.len() * tasks.len())?;
        lease.progress(0, total);
        let (_, judging) = self.runtime.block_on(self.catalogue.find(spec.baseline())).context("baseline")?;
        let cache = self.cache.join("scores");
        let mut judges = Judges::of(&judging, &spec.rewards, &cache, &self.device)?;
        let mut drawn = Vec::new();
        for name in names {
            let (model, folders) = self.runtime.block_on(self.catalogue.find(name)).context("model")?;
            let pipeline = TextToImage::open(&folders, &self.device)?;
            let settings = settings(spec, pipeline.defaults())?;
            let before = drawn.len() * tasks.len();
            for (i, batch) in tasks.chunks(BATCH).enumerate() {
                let first = spec.seed + (i * BATCH) as u64;
                let finished =
                    self.batch(claim, lease, &model, &pipeline, &mut judges, &settings, batch, first)?;
                if !finished {
                    return Ok(self.interrupted(lease));
                }
                lease.progress(i64::try_from(before + i * BATCH + batch.len())?, total);
            }
            drawn.push(Drawn { model, settings });
        }
        self.report(claim, spec, &tasks, &mut judges, &judging, &drawn)?;
        Ok(Outcome::Done)
    }

    /// Generates, keeps and scores some images; false if the job was interrupted.
    #[expect(clippy::too_many_arguments, reason = "what one batch needs of its job")]
    fn batch(
        &self,
        claim: &Claim,
        lease: &Lease,
        model: &Model,
        pipeline: &TextToImage,
        judges: &mut Judges,
        settings: &Settings,
        tasks: &[Task],
        first_seed: u64,
    ) -> Result<bool> {
        let store = &self.catalogue.store;
        let mut missing = Vec::new();
        for (task, seed) in tasks.iter().zip(first_seed..) {
            let params = params(settings, &task.prompt, seed)?;
            let there = self.runtime.block_on(store.find_evaluation_image(model.id, &params))?;
            if there.is_none() {
                missing.push((task, params));
            }
        }
        let prompts: Vec<Prompt> = missing
            .iter()
            .map(|(task, params)| Prompt {
                prompt: task.prompt.clone(),
                negative_prompt: None,
                seed: params.seed,
            })
            .collect();
        let images = pipeline.generate(&prompts, settings, &mut |_, _| {
            if self.must_stop(lease) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let Some(images) = images else { return Ok(false) };
        let asked: Vec<&Task> = missing.iter().map(|(task, _)| *task).collect();
        let found = judges.scores(&asked, &images)?;
        self.runtime.block_on(async {
            let mut rows = Vec::new();
            for ((_, params), image) in missing.into_iter().zip(&images) {
                rows.push(keep(&self.catalogue, Belongs::Model(model.id), params, image).await?);
            }
            let of_metric = |(&metric, values): (&_, &Vec<Option<f64>>)| -> Vec<ImageScore> {
                let known = rows.iter().zip(values);
                known
                    .filter_map(|(row, &value)| Some(ImageScore { image_id: row.id, metric, value: value? }))
                    .collect()
            };
            let scores: Vec<ImageScore> = found.iter().flat_map(of_metric).collect();
            store.insert_images(&rows, Some(claim)).await?;
            store.put_scores(&scores, Some(claim)).await?;
            Ok(true)
        })
    }

    /// Compares the models by the images that are kept, all judged by the same.
    fn report(
        &self,
        claim: &Claim,
        spec: &EvaluateSpec,
        tasks: &[Task],
        judges: &mut Judges,
        judging: &Folders,
        drawn: &[Drawn],
    ) -> Result<()> {
        let bytes = |drawn: &Drawn, k: usize| -> Result<(PathBuf, Vec<u8>)> {
            let params = params(&drawn.settings, &tasks[k].prompt, spec.seed + k as u64)?;
            self.runtime.block_on(async {
                let found = self.catalogue.store.find_evaluation_image(drawn.model.id, &params).await?;
                let artifact = found.context("an image that was just made is gone")?.artifact;
                let bytes = self.catalogue.artifacts.get(&artifact).await?;
                let path = self.catalogue.artifacts.path(&artifact)?;
                Ok((path, bytes.with_context(|| format!("the artifact {artifact} is gone"))?))
            })
        };
        let mut scored = Vec::new();
        for of in drawn {
            let scores = score(judges, tasks, |k| {
                let (_, bytes) = bytes(of, k)?;
                Ok(image::load_from_memory_with_format(&bytes, ImageFormat::Png)?.to_rgb8())
            })?;
            let fid = match &spec.fid {
                None => None,
                Some(reference) => {
                    let files = (0..tasks.len()).map(|k| Ok(bytes(of, k)?.0)).collect::<Result<Vec<_>>>()?;
                    Some(distance(reference, files, judging, spec.seed, &self.device).context("fid")?)
                }
            };
            let (model, sha256) = (of.model.name.clone(), of.model.sha256.clone());
            scored.push(Scored { model, sha256, scores, fid });
        }
        let baseline = self.runtime.block_on(self.catalogue.find(spec.baseline()))?.0.name;
        let report = EvaluationReport::new(tasks, spec.seed, &baseline, &scored);
        let report = report.with_statements(judges.statements());
        let gallery = |model: &str, k: usize| -> Result<Vec<u8>> {
            let of = drawn.iter().find(|of| of.model.name == model);
            Ok(bytes(of.with_context(|| format!("{model:?} is not among the models"))?, k)?.1)
        };
        let files = [
            (ReportFile::Figures, serde_json::to_vec_pretty(&report)?),
            (ReportFile::Scores, table(tasks, spec.seed, &scored).into_bytes()),
            (ReportFile::Page, page(&report, &gallery)?.into_bytes()),
        ];
        for (file, bytes) in files {
            let key = file.artifact(claim.job.id);
            self.runtime.block_on(self.catalogue.artifacts.put(&key, bytes))?;
            tracing::info!(job = %claim.job.id, "report: {}", self.catalogue.artifacts.path(&key)?.display());
        }
        Ok(())
    }
}
