//! Trains the image tower against the frozen text tower: CLIP's contrastive loss, and every feature predicts the
//! attributes that the caption states.

use super::optimiser::{BATCH, WARMUP_STEPS, optimiser, trained_variables};
use super::readouts::{Attributes, Readouts, attributes};
use super::retrieval::retrieval;
use crate::cross_entropy::of_distributions;
use crate::held_out;
use crate::learning_rate::learning_rate;
use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use diffusion::noise::Noise;
use diffusion::tokenizer::Tokenizer;
use diffusion::weights::{Parameters, Variables};
use evaluation::clip::{Towers, normalised};
use process::progress::Progress;
use rayon::prelude::*;
use shapes::Image;
use shapes::world::{Kind, Split, scene};
use std::collections::HashMap;
use training::data::images::to_tensor;
use training::optim::Gradients;

/// Learning rate after warm-up.
const LEARNING_RATE: f64 = 1e-3;

/// An image of the training set.
struct Example {
    image: Image,
    caption: String,
    attributes: Attributes,
}

pub(super) fn train_image_tower(
    towers: &Towers,
    variables: &Variables,
    tokenizer: &Tokenizer,
    image_count: u64,
    steps: u32,
    seed: u64,
) -> Result<()> {
    let device = Device::Cpu;
    let examples = training_set(image_count, seed);
    let parameters = Parameters::random(seed + 2, &device);
    let readouts = Readouts::new(&parameters)?;
    let mut trained = trained_variables(variables, |name| !name.starts_with("text_"), parameters.finish()?);
    // Images predict attributes, not tokens.
    trained.retain(|name, _| !name.contains(".words."));
    variables.get("logit_scale").context("logit_scale")?.set(&Tensor::new(15f32.ln(), &device)?)?;
    let mut optimiser = optimiser(&trained)?;
    let mut noise = Noise::stream(seed, 2);
    let mut progress = Progress::new("image tower", u64::from(steps));
    for step in 0..steps {
        let batch: Vec<&Example> = (0..BATCH).map(|_| &examples[noise.below(examples.len())]).collect();
        let x = to_tensor(batch.iter().map(|example| &example.image), &device)?;
        let ids = batch
            .iter()
            .map(|example| tokenizer.encode(&example.caption))
            .collect::<diffusion::Result<Vec<_>>>()?;
        let text = normalised(&towers.text_features(&ids)?.1.detach())?;
        let features = towers.image_features(&x)?;
        let similarity =
            normalised(&features)?.matmul(&text.t()?)?.broadcast_mul(&towers.logit_scale().exp()?)?;
        // Images with the same caption are not negatives of each other.
        let targets = same_caption(&batch, &device)?;
        let contrastive_loss = (of_distributions(&similarity, &targets)?
            + of_distributions(&similarity.t()?.contiguous()?, &targets)?)?;
        let stated: Vec<Attributes> = batch.iter().map(|example| example.attributes).collect();
        let attribute_loss = readouts.attribute_loss(&features, &stated)?;
        let loss = ((contrastive_loss * 0.5)? + &attribute_loss)?;
        let mut gradients = Gradients::default();
        gradients.add(&loss.backward()?, &trained)?;
        optimiser.update(&trained, &gradients, 1, learning_rate(LEARNING_RATE, WARMUP_STEPS, step, steps))?;
        let displayed = [
            ("loss", f64::from(loss.to_scalar::<f32>()?)),
            ("attributes", f64::from(attribute_loss.to_scalar::<f32>()?)),
        ];
        progress.step(&displayed, BATCH as f64);
        if (step + 1) % 250 == 0 {
            progress.note(&format!("step {}: {}", step + 1, retrieval(towers, tokenizer)?));
        }
    }
    progress.finish();
    Ok(())
}

fn training_set(count: u64, seed: u64) -> Vec<Example> {
    (0..count)
        .into_par_iter()
        .map(|i| {
            let kind = if i % 4 == 0 { Kind::Mixed } else { Kind::Single };
            let scene = scene(seed * 10_000_019 % held_out::CLIP + i, Split::Train, kind);
            let caption = scene.caption();
            let attributes = attributes(&scene, &caption);
            Example { image: scene.paint(), caption, attributes }
        })
        .collect()
}

/// The target distribution of each image over the captions of the batch, (batch, batch): uniform over equal captions.
fn same_caption(batch: &[&Example], device: &Device) -> Result<Tensor> {
    let mut counts: HashMap<&str, f32> = HashMap::new();
    for example in batch {
        *counts.entry(&example.caption).or_default() += 1.0;
    }
    let n = batch.len();
    let rows: Vec<f32> = batch
        .iter()
        .flat_map(|a| {
            let share = 1.0 / counts[a.caption.as_str()];
            batch.iter().map(move |b| if a.caption == b.caption { share } else { 0.0 })
        })
        .collect();
    Ok(Tensor::from_vec(rows, (n, n), device)?)
}
