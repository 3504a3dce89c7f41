//! Evaluation jobs: the recipe with images and scores as rows, and reports as artifacts.

use super::lease::Lease;
use super::{Outcome, Worker};
use anyhow::{Context, Result};
use catalogue::evaluation_rows::EvaluationRows;
use catalogue::images::png;
use diffusion::fingerprint::Fingerprint;
use domain::evaluate::{EvaluateSpec, ReportFile};
use domain::image::GenerationParams;
use image::RgbImage;
use std::ops::ControlFlow;
use std::path::PathBuf;
use store::Claim;
use training::data::clip::with_clip;
use training::judges::Scores;
use training::recipes::evaluate::{Contestant, EvaluationStore, evaluate};

impl Worker {
    pub(super) fn evaluate(&self, claim: &Claim, spec: &EvaluateSpec, lease: &Lease) -> Result<Outcome> {
        let mut contestants = Vec::new();
        let mut models = Vec::new();
        for name in spec.all_models() {
            let (model, folders) = self.runtime.block_on(self.catalogue.find(name)).context("model")?;
            let clip = spec.clip.as_deref();
            let folders = with_clip(folders, clip, self.catalogue.models.root(), &self.hub)?;
            let fingerprint = Fingerprint::of(&folders).with_context(|| format!("model {name}"))?;
            self.runtime.block_on(self.catalogue.check_identity(&model, &fingerprint)).context("models")?;
            contestants.push(Contestant { name: model.name, sha256: model.sha256, fingerprint, folders });
            models.push(model.id);
        }
        let rows = EvaluationRows::new(self.catalogue.clone(), claim.job.id, Some(claim.clone()), models);
        let mut store = RowStore { worker: self, rows };
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
    rows: EvaluationRows,
}

impl EvaluationStore for RowStore<'_> {
    fn put_categories(&mut self, categories: &[(&str, &str)]) -> Result<()> {
        let store = &self.worker.catalogue.store;
        Ok(self.worker.runtime.block_on(store.put_prompt_categories(categories))?)
    }

    fn existing(&mut self, model: usize, params: &[GenerationParams]) -> Result<Vec<bool>> {
        self.worker.runtime.block_on(self.rows.existing(model, params))
    }

    fn put_images(&mut self, model: usize, images: &[(usize, &GenerationParams, &RgbImage)]) -> Result<()> {
        let files = images.iter().map(|&(index, params, image)| Ok((index, params.clone(), png(image)?)));
        let files = files.collect::<Result<Vec<_>>>()?;
        self.worker.runtime.block_on(self.rows.put_images(model, files))
    }

    fn put_scores(&mut self, model: usize, scores: &Scores) -> Result<()> {
        self.worker.runtime.block_on(self.rows.put_scores(model, scores))
    }

    fn image_file(&self, model: usize, index: usize) -> Result<PathBuf> {
        self.rows.image_file(model, index)
    }

    fn put_report(&mut self, file: ReportFile, bytes: Vec<u8>) -> Result<()> {
        let path = self.worker.runtime.block_on(self.rows.put_report(file, bytes))?;
        tracing::info!("report: {}", path.display());
        Ok(())
    }
}
