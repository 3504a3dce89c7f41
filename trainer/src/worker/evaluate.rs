//! An evaluation job: pictures of prompts, scored. What an earlier attempt made is kept.

use super::lease::Lease;
use super::pictures::{Belongs, keep, params};
use super::{Outcome, Worker};
use anyhow::{Context, Error, Result};
use diffusion::pipeline::{Folders, Prompt, Settings, TextToImage};
use domain::evaluate::{EvaluateSpec, Metric, PromptSpec};
use domain::model::Model;
use evaluation::clip::Clip;
use image::RgbImage;
use shapes::Picture;
use shapes::judge::judge;
use shapes::world::{HeldOutPrompt, held_out_prompts};
use std::ops::ControlFlow;
use store::{Claim, ImageScore};

/// Pictures generated together.
const BATCH: usize = 8;
/// Seed of the choice among held-out prompts: the same for every model, so that they can be compared.
const PROMPT_SEED: u64 = 777;

/// A prompt, and what the bundled world's rule needs to judge a picture of it.
struct Task {
    prompt: String,
    held_out: Option<HeldOutPrompt>,
}

impl Worker {
    pub(super) fn evaluate(&self, claim: &Claim, spec: &EvaluateSpec, lease: &Lease) -> Result<Outcome> {
        let (model, folders) = self.runtime.block_on(self.catalogue.find(&spec.model)).context("model")?;
        let pipeline = TextToImage::open(&folders, &self.device)?;
        let clip = clip_of(&folders, &self.device)?;
        let settings = settings(spec, &pipeline)?;
        let tasks = tasks(&spec.prompts);
        let total = i64::try_from(tasks.len())?;
        lease.progress(0, total);
        for (i, tasks) in tasks.chunks(BATCH).enumerate() {
            let first = spec.seed + (i * BATCH) as u64;
            let finished =
                self.batch(claim, lease, &model, &pipeline, clip.as_ref(), &settings, tasks, first)?;
            if !finished {
                return Ok(self.interrupted(lease));
            }
            lease.progress(i64::try_from(i * BATCH + tasks.len())?, total);
        }
        Ok(Outcome::Done)
    }

    /// Generates, keeps and scores some pictures; false if the job was interrupted.
    #[expect(clippy::too_many_arguments, reason = "what one batch needs of its job")]
    fn batch(
        &self,
        claim: &Claim,
        lease: &Lease,
        model: &Model,
        pipeline: &TextToImage,
        clip: Option<&Clip>,
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
        let pictures = pipeline.generate(&prompts, settings, &mut |_, _| {
            if self.must_stop(lease) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let Some(pictures) = pictures else { return Ok(false) };
        let texts: Vec<&str> = missing.iter().map(|(task, _)| task.prompt.as_str()).collect();
        let similarities = match clip {
            Some(clip) if !pictures.is_empty() => {
                clip.scores(&pictures, &texts)?.into_iter().map(Some).collect()
            }
            _ => vec![None; pictures.len()],
        };
        self.runtime.block_on(async {
            let (mut rows, mut scores) = (Vec::new(), Vec::new());
            for (((task, params), picture), similarity) in
                missing.into_iter().zip(&pictures).zip(similarities)
            {
                let row = keep(&self.catalogue, Belongs::Model(model.id), params, picture).await?;
                if let Some(value) = similarity {
                    scores.push(ImageScore {
                        image_id: row.id,
                        metric: Metric::ClipScore,
                        value: f64::from(value),
                    });
                }
                if let Some(right) = task.held_out.as_ref().and_then(|asked| shows(asked, picture)) {
                    let value = f64::from(u8::from(right));
                    scores.push(ImageScore { image_id: row.id, metric: Metric::ShapeAndColour, value });
                }
                rows.push(row);
            }
            store.insert_images(&rows, Some(claim)).await?;
            store.put_scores(&scores, Some(claim)).await?;
            Ok(true)
        })
    }
}

/// The model's own CLIP, if it has one.
fn clip_of(folders: &Folders, device: &candle_core::Device) -> Result<Option<Clip>> {
    match folders.part("clip") {
        Ok(folder) => Ok(Some(Clip::load(&folder, device)?)),
        Err(_) => Ok(None),
    }
}

fn settings(spec: &EvaluateSpec, pipeline: &TextToImage) -> Result<Settings> {
    let defaults = pipeline.defaults();
    Ok(Settings {
        width: defaults.width,
        height: defaults.height,
        steps: spec.steps.unwrap_or(defaults.steps),
        guidance_scale: spec.guidance_scale.unwrap_or(defaults.guidance_scale),
        sampler: match spec.sampler {
            Some(sampler) => sampler.as_str().parse().map_err(Error::msg)?,
            None => defaults.sampler,
        },
    })
}

fn tasks(prompts: &PromptSpec) -> Vec<Task> {
    match prompts {
        PromptSpec::ShapesHeldOut { count } => held_out_prompts(*count as usize, PROMPT_SEED)
            .into_iter()
            .map(|asked| Task { prompt: asked.caption.clone(), held_out: Some(asked) })
            .collect(),
        PromptSpec::List { prompts } => {
            prompts.iter().map(|prompt| Task { prompt: prompt.clone(), held_out: None }).collect()
        }
    }
}

/// Whether a picture shows the asked shape and colour; `None` if it is not of the bundled world's size.
fn shows(asked: &HeldOutPrompt, picture: &RgbImage) -> Option<bool> {
    let picture = Picture::from_pixels(picture.as_raw().clone())?;
    Some(judge(&picture).satisfies(asked))
}
