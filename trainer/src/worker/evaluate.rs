//! Evaluation jobs: the recipe with images and scores as rows, and reports as artifacts.

use super::lease::Lease;
use super::{Outcome, Worker};
use anyhow::{Context, Result};
use catalogue::images::{Owner, png};
use domain::evaluate::{EvaluateSpec, ReportFile};
use domain::id::ModelId;
use domain::image::{GenerationParams, Image};
use image::RgbImage;
use std::ops::ControlFlow;
use std::path::PathBuf;
use store::{Claim, ImageScore};
use training::data::clip::with_clip;
use training::recipes::evaluate::judges::Scores;
use training::recipes::evaluate::{Contestant, EvaluationStore, evaluate};

impl Worker {
    pub(super) fn evaluate(&self, claim: &Claim, spec: &EvaluateSpec, lease: &Lease) -> Result<Outcome> {
        let mut contestants = Vec::new();
        let mut models = Vec::new();
        for name in spec.all_models() {
            let (model, folders) = self.runtime.block_on(self.catalogue.find(name)).context("model")?;
            let clip = spec.clip.as_deref();
            let folders = with_clip(folders, clip, self.catalogue.models.root(), &self.hub)?;
            contestants.push(Contestant { name: model.name, sha256: model.sha256, folders });
            models.push(model.id);
        }
        let mut store = RowStore { worker: self, claim, images: vec![Vec::new(); models.len()], models };
        let cache = self.cache.join("scores");
        let report = evaluate(
            spec,
            &contestants,
            &mut store,
            &cache,
            &self.device,
            &mut |done: usize, total: usize| {
                let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
                lease.progress(count(done), count(total));
                if self.must_stop(lease) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        )?;
        Ok(if report.is_some() { Outcome::Done } else { self.interrupted(lease) })
    }
}

/// Stores images and scores as rows, and reports as artifacts.
struct RowStore<'a> {
    worker: &'a Worker,
    claim: &'a Claim,
    models: Vec<ModelId>,
    /// For each model, the rows of its images by prompt; empty until `existing` looked them up.
    images: Vec<Vec<Option<Image>>>,
}

impl EvaluationStore for RowStore<'_> {
    fn existing(&mut self, model: usize, params: &[GenerationParams]) -> Result<Vec<bool>> {
        let store = &self.worker.catalogue.store;
        let found = self.worker.runtime.block_on(store.find_evaluation_images(self.models[model], params))?;
        let exists = found.iter().map(Option::is_some).collect();
        self.images[model] = found;
        Ok(exists)
    }

    fn put_images(&mut self, model: usize, images: &[(usize, &GenerationParams, &RgbImage)]) -> Result<()> {
        let catalogue = &self.worker.catalogue;
        let owner = Owner::Evaluation(self.models[model]);
        let rows = self.worker.runtime.block_on(async {
            let mut rows = Vec::new();
            for (_, params, image) in images {
                rows.push(catalogue.keep_image(owner, (*params).clone(), png(image)?).await?);
            }
            catalogue.store.insert_images(&rows, Some(self.claim)).await?;
            anyhow::Ok(rows)
        })?;
        for ((index, ..), row) in images.iter().zip(rows) {
            self.images[model][*index] = Some(row);
        }
        Ok(())
    }

    fn put_scores(&mut self, model: usize, scores: &Scores) -> Result<()> {
        let images = &self.images[model];
        let of_metric = |(&metric, values): (&_, &Vec<Option<f64>>)| -> Vec<ImageScore> {
            images
                .iter()
                .zip(values)
                .filter_map(|(image, value)| {
                    Some(ImageScore { image_id: image.as_ref()?.id, metric, value: (*value)? })
                })
                .collect()
        };
        let scores: Vec<ImageScore> = scores.iter().flat_map(of_metric).collect();
        let store = &self.worker.catalogue.store;
        Ok(self.worker.runtime.block_on(store.put_scores(&scores, Some(self.claim)))?)
    }

    fn image_file(&self, model: usize, index: usize) -> Result<PathBuf> {
        let image = self.images[model][index].as_ref().context("a generated image has no row")?;
        Ok(self.worker.catalogue.artifacts.path(&image.artifact)?)
    }

    fn put_report(&mut self, file: ReportFile, bytes: Vec<u8>) -> Result<()> {
        let artifacts = &self.worker.catalogue.artifacts;
        let key = file.artifact(self.claim.job.id);
        self.worker.runtime.block_on(artifacts.put(&key, bytes))?;
        tracing::info!("report: {}", artifacts.path(&key)?.display());
        Ok(())
    }
}
