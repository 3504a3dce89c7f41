//! Keeping images: bytes first, row second, so that a row without bytes cannot be.

use crate::ambient::{entropy, now};
use crate::catalogue::Catalogue;
use crate::recipes::evaluate::png;
use anyhow::{Error, Result};
use diffusion::pipeline::Settings;
use domain::id::{ImageId, ModelId, RunId};
use domain::image::{GenerationParams, Image, Purpose};
use image::RgbImage;

/// Where an image belongs.
#[derive(Clone, Copy)]
pub(super) enum Belongs {
    /// To a run, at a step.
    Run(RunId, i64),
    /// To a model, for its evaluation.
    Model(ModelId),
}

/// Writes an image's bytes and returns the row that is to follow.
pub(super) async fn keep(
    catalogue: &Catalogue,
    belongs: Belongs,
    params: GenerationParams,
    image: &RgbImage,
) -> Result<Image> {
    let id = ImageId::new(now(), entropy()?);
    let artifact = format!("images/{id}.png");
    catalogue.artifacts.put(&artifact, png(image)?).await?;
    let (model_id, run_id, step, purpose) = match belongs {
        Belongs::Run(run, step) => (None, Some(run), Some(step), Purpose::Sample),
        Belongs::Model(model) => (Some(model), None, None, Purpose::Evaluation),
    };
    Ok(Image { id, model_id, run_id, step, purpose, params, artifact, created_at: now() })
}

/// Settings and a prompt as an image's record keeps them.
pub(super) fn params(settings: &Settings, prompt: &str, seed: u64) -> Result<GenerationParams> {
    Ok(GenerationParams {
        prompt: prompt.to_owned(),
        negative_prompt: String::new(),
        seed,
        steps: settings.steps,
        guidance_scale: settings.guidance_scale,
        width: settings.width,
        height: settings.height,
        sampler: settings.sampler.as_str().parse().map_err(Error::msg)?,
        lora: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use diffusion::sampler::SamplerKind;
    use domain::image::Sampler;

    /// The two crates may not know each other: they meet in the samplers' names.
    #[test]
    fn every_sampler_of_the_contract_can_draw_and_every_one_that_can_is_in_the_contract() {
        assert_eq!(Sampler::ALL.map(Sampler::as_str), SamplerKind::ALL.map(SamplerKind::as_str));
    }
}
