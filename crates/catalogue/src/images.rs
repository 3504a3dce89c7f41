//! Images as artifacts and rows. The file is written before the row, so that every row has its file.

use crate::models::Catalogue;
use crate::samplers;
use anyhow::{Context, Result};
use diffusion::pipeline::{Defaults, Settings};
use domain::id::{ImageId, ModelId, RunId};
use domain::image::{GenerationParams, Image, Purpose, Sampler};
use image::{ImageFormat, RgbImage};
use process::ambient;
use std::io::Cursor;
use store::{ArtifactError, StoreError};

/// Seed of every sample image of a run.
pub const SAMPLE_SEED: u64 = 1;

/// What an image was generated for.
#[derive(Clone, Copy, Debug)]
pub enum Owner {
    /// A request to `/generate`, answered by this model.
    Generation(ModelId),
    /// An evaluation of this model.
    Evaluation(ModelId),
    /// A sample of a run after this many steps.
    Sample(RunId, i64),
}

impl Catalogue {
    /// Writes an image's file and returns its row, which the caller inserts.
    ///
    /// # Errors
    /// Fails if the file cannot be written to the artifact store.
    pub async fn keep_image(
        &self,
        owner: Owner,
        params: GenerationParams,
        png: Vec<u8>,
    ) -> Result<Image, ArtifactError> {
        let now = ambient::now();
        let id = ImageId::new(now, ambient::entropy());
        let artifact = format!("images/{id}.png");
        self.artifacts.put(&artifact, png).await?;
        let (model_id, run_id, step, purpose) = match owner {
            Owner::Generation(model) => (Some(model), None, None, Purpose::Generation),
            Owner::Evaluation(model) => (Some(model), None, None, Purpose::Evaluation),
            Owner::Sample(run, step) => (None, Some(run), Some(step), Purpose::Sample),
        };
        Ok(Image { id, model_id, run_id, step, purpose, params, artifact, created_at: now })
    }
}

impl Catalogue {
    /// Deletes an image that a user requested: its row, then its file. False if there is no such image.
    ///
    /// # Errors
    /// Fails if the image is in use, or belongs to a run or an evaluation.
    pub async fn delete_requested_image(&self, id: ImageId) -> Result<bool, StoreError> {
        let Some(artifact) = self.store.remove_requested_image(id).await? else { return Ok(false) };
        // The row is gone: a file that cannot be removed now is only space.
        let removed = self.artifacts.path(&artifact).map(std::fs::remove_file);
        if !matches!(removed, Ok(Ok(()))) {
            tracing::warn!(artifact, ?removed, "the file of a deleted image remains");
        }
        Ok(true)
    }
}

/// The parameters of an image that was generated without negative prompt and adapters.
#[must_use]
pub fn params(settings: &Settings, prompt: &str, seed: u64) -> GenerationParams {
    GenerationParams {
        prompt: prompt.to_owned(),
        negative_prompt: String::new(),
        seed,
        steps: settings.steps,
        guidance_scale: settings.guidance_scale,
        width: settings.width,
        height: settings.height,
        sampler: samplers::name(settings.sampler),
        lora: Vec::new(),
    }
}

/// The settings of a spec, with the model's defaults where it has none.
#[must_use]
pub fn settings(
    defaults: &Defaults,
    steps: Option<u32>,
    guidance_scale: Option<f64>,
    sampler: Option<Sampler>,
) -> Settings {
    Settings {
        width: defaults.width,
        height: defaults.height,
        steps: steps.unwrap_or(defaults.steps),
        guidance_scale: guidance_scale.unwrap_or(defaults.guidance_scale),
        sampler: sampler.map_or(defaults.sampler, samplers::kind),
    }
}

/// The settings of a run's sample images: the defaults of the model that it starts from.
#[must_use]
pub fn sample_settings(defaults: &Defaults) -> Settings {
    settings(defaults, None, None, None)
}

/// An image as a PNG file without metadata.
///
/// # Errors
/// Fails if the image has no pixels.
pub fn png(image: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).context("cannot encode an image as PNG")?;
    Ok(bytes.into_inner())
}
