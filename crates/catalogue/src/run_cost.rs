//! Memory, disk and images of a run, computed from its spec and the shapes of its base before it begins.

use anyhow::Result;
use diffusion::config::{UnetConfig, VaeConfig};
use diffusion::part_folders::PartFolders;
use diffusion::weights::{PartFiles, Stem, StoredWeights};
use domain::data_check::CostEstimate;
use domain::train::{HorizontalFlip, Moments, OptimizerSpec, Precision, TrainSpec};

/// Bytes of a value in f32.
const F32: u64 = 4;
/// Tokens of an encoded prompt.
const TOKENS: u64 = 77;

/// What a run on `examples` examples with `prompts` different prompts takes, without activations and time.
///
/// # Errors
/// Fails if the base cannot be read.
pub fn estimate(spec: &TrainSpec, base: &PartFolders, examples: u64, prompts: u64) -> Result<CostEstimate> {
    let folder = base.part("unet")?;
    let stored = StoredWeights::open(&PartFiles::locate(&folder, Stem::NETWORK)?)?;
    let shapes: Vec<(&str, &[usize])> = stored.shapes().collect();
    let values = |shape: &[usize]| shape.iter().product::<usize>() as u64;
    let all: u64 = shapes.iter().map(|(_, shape)| values(shape)).sum();
    let computing = if spec.precision == Precision::F32 { F32 } else { F32 / 2 };

    let trained: u64 = match &spec.lora {
        None => all,
        Some(lora) => shapes
            .iter()
            .filter(|(name, shape)| shape.len() > 1 && is_target(name, &lora.targets))
            .map(|(_, shape)| {
                u64::from(lora.rank) * (shape[0] as u64 + values(shape) / shape[0].max(1) as u64)
            })
            .sum(),
    };
    // Trained weights, their gradients and moments; the base below an adapter, or a copy to compute in.
    let mut memory = trained * (2 * F32 + moments(&spec.optimizer));
    if spec.ema_decay.is_some() {
        memory += trained * F32;
    }
    if spec.lora.is_some() || computing < F32 {
        memory += all * computing;
    }
    // The frozen reference. Over an adapter's base it shares the base's weights.
    if spec.objective.is_preference() && (spec.lora.is_none() || spec.reference.is_some()) {
        memory += all * computing;
    }
    Ok(CostEstimate {
        trained,
        memory_bytes: memory,
        encoded_bytes: encoded(spec, base, examples, prompts)?,
        steps: spec.steps,
        images: u64::from(spec.steps) * u64::from(spec.images_per_step()),
        ..CostEstimate::default()
    })
}

/// Bytes of an encoded set: means and log-variances of the latents of both sides, and text states.
fn encoded(spec: &TrainSpec, base: &PartFolders, examples: u64, prompts: u64) -> Result<u64> {
    let vae = VaeConfig::read(&base.part("vae")?.join("config.json"))?;
    let unet = UnetConfig::read(&base.part("unet")?.join("config.json"))?;
    let (defaults, downscale) = base.defaults()?;
    let pixels = u64::from(defaults.width / downscale) * u64::from(defaults.height / downscale);
    let sides = if spec.data.has_pairs() { 2 } else { 1 };
    let mirrored = if spec.horizontal_flip == HorizontalFlip::Off { 1 } else { 2 };
    let latents = examples * sides * mirrored * 2 * vae.latent_channels as u64 * pixels;
    let text = (prompts + 1) * TOKENS * unet.cross_attention_dim as u64;
    Ok((latents + text) * F32)
}

/// Bytes of the optimiser's state per trained value.
fn moments(optimizer: &OptimizerSpec) -> u64 {
    match optimizer {
        OptimizerSpec::AdamW { moments, .. } => match moments {
            Moments::F32 => 8,
            Moments::Bf16 => 4,
            Moments::Int8 => 2,
        },
        OptimizerSpec::Adafactor { beta1, .. } => {
            if beta1.is_some() {
                F32
            } else {
                0
            }
        }
    }
}

/// Whether a tensor is the weight of a layer that an adapter updates: the whole name, or its last parts.
fn is_target(tensor: &str, targets: &[String]) -> bool {
    let Some(layer) = tensor.strip_suffix(".weight") else { return false };
    targets.iter().any(|target| {
        layer == target || layer.strip_suffix(target.as_str()).is_some_and(|rest| rest.ends_with('.'))
    })
}
