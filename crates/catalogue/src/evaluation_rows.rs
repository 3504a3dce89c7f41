//! The images and scores of an evaluation as rows, and its report as artifacts.

use crate::images::Owner;
use crate::models::Catalogue;
use anyhow::{Context, Result};
use domain::evaluate::{Metric, ReportFile};
use domain::id::{JobId, ModelId};
use domain::image::{GenerationParams, Image};
use std::collections::BTreeMap;
use std::path::PathBuf;
use store::{Claim, ImageScore};

/// Where an evaluation keeps its images, scores and report. Models and prompts are identified by their index.
#[derive(Debug)]
pub struct EvaluationRows {
    catalogue: Catalogue,
    job: JobId,
    /// The worker's, checked at every write; none for an evaluation that was made outside the queue.
    claim: Option<Claim>,
    models: Vec<ModelId>,
    /// For each model, the rows of its images by prompt; empty until `existing` looked them up.
    images: Vec<Vec<Option<Image>>>,
}

impl EvaluationRows {
    /// The rows of the evaluation of a job.
    #[must_use]
    pub fn new(catalogue: Catalogue, job: JobId, claim: Option<Claim>, models: Vec<ModelId>) -> Self {
        let images = vec![Vec::new(); models.len()];
        Self { catalogue, job, claim, models, images }
    }

    /// Which of a model's images exist, one per prompt.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn existing(&mut self, model: usize, params: &[GenerationParams]) -> Result<Vec<bool>> {
        let found = self.catalogue.store.find_evaluation_images(self.models[model], params).await?;
        let exists = found.iter().map(Option::is_some).collect();
        self.images[model] = found;
        Ok(exists)
    }

    /// Keeps new images: the prompt's index, how the image was drawn, and its PNG file.
    ///
    /// # Errors
    /// Fails if a file or row cannot be written, or if the lease is lost.
    pub async fn put_images(
        &mut self,
        model: usize,
        images: Vec<(usize, GenerationParams, Vec<u8>)>,
    ) -> Result<()> {
        let owner = Owner::Evaluation(self.models[model]);
        let (mut rows, mut indices) = (Vec::new(), Vec::new());
        for (index, params, png) in images {
            rows.push(self.catalogue.keep_image(owner, params, png).await?);
            indices.push(index);
        }
        self.catalogue.store.insert_images(&rows, self.claim.as_ref()).await?;
        for (index, row) in indices.into_iter().zip(rows) {
            self.images[model][index] = Some(row);
        }
        Ok(())
    }

    /// Keeps a model's scores, by metric one per prompt. Scores that exist stay.
    ///
    /// # Errors
    /// Fails if they cannot be written, or if the lease is lost.
    pub async fn put_scores(&self, model: usize, scores: &BTreeMap<Metric, Vec<Option<f64>>>) -> Result<()> {
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
        Ok(self.catalogue.store.put_scores(&scores, self.claim.as_ref()).await?)
    }

    /// The file of an image.
    ///
    /// # Errors
    /// Fails if there is no such image.
    pub fn image_file(&self, model: usize, index: usize) -> Result<PathBuf> {
        let image = self.images[model][index].as_ref().context("a generated image has no row")?;
        Ok(self.catalogue.artifacts.path(&image.artifact)?)
    }

    /// Keeps a form of the report; returns its file.
    ///
    /// # Errors
    /// Fails if it cannot be written.
    pub async fn put_report(&self, file: ReportFile, bytes: Vec<u8>) -> Result<PathBuf> {
        let key = file.artifact(self.job);
        self.catalogue.artifacts.put(&key, bytes).await?;
        Ok(self.catalogue.artifacts.path(&key)?)
    }
}
