//! Sample images of a run, from the same prompts and noise at every step, so that they can be compared.

use super::callbacks::Callbacks;
use super::run_paths::RunPaths;
use crate::policy::Policy;
use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use catalogue::images::{SAMPLE_SEED, sample_settings};
use diffusion::pipeline::{Prompt, TextToImage};
use diffusion::unet::Unet;
use diffusion::weights::Parameters;
use domain::train::TrainSpec;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Draws the spec's sample prompts with the policy's weights.
pub(super) struct Sampler<'a> {
    /// `None` if the spec asks for no samples.
    pipeline: Option<TextToImage>,
    prompts: Vec<Prompt>,
    policy: &'a Policy,
}

impl<'a> Sampler<'a> {
    pub(super) fn new(
        spec: &TrainSpec,
        paths: &RunPaths,
        policy: &'a Policy,
        device: &Device,
    ) -> Result<Self> {
        let prompts = spec.sample_prompts.iter().map(|prompt| Prompt {
            prompt: prompt.clone(),
            negative_prompt: None,
            seed: SAMPLE_SEED,
        });
        let pipeline = if spec.sample_every > 0 {
            // A placeholder, which `draw` replaces before each use.
            let parameters = Parameters::random(0, device);
            let unet = Unet::new(&parameters.root(), policy.unet().config().clone())?;
            Some(TextToImage::with_unet(unet, &paths.start, device)?)
        } else {
            None
        };
        Ok(Self { pipeline, prompts: prompts.collect(), policy })
    }

    /// Draws the samples of these weights and passes them on.
    pub(super) fn draw(
        &mut self,
        step: u32,
        weights: &BTreeMap<String, Tensor>,
        callbacks: &mut dyn Callbacks,
    ) -> Result<()> {
        let Some(pipeline) = &mut self.pipeline else { return Ok(()) };
        pipeline.set_unet(self.policy.frozen(weights, DType::F32)?);
        let settings = sample_settings(pipeline.defaults());
        let images = pipeline.generate(&self.prompts, &settings, &mut |_, _| ControlFlow::Continue(()))?;
        callbacks.samples(step, &settings, &images.context("generation was not interrupted")?)
    }
}
