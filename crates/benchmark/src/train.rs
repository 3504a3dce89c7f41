//! A training step.

use crate::arguments::Arguments;
use crate::encode::PairFiles;
use crate::networks::{policy_and_reference, random_inputs};
use crate::step::Step;
use anyhow::Result;
use candle_core::{Device, Shape};
use diffusion::noise::Noise;
use diffusion::part_folders::PartFolders;
use diffusion::tape::BackwardMode;
use domain::train::{ErrorSpace, OptimizerSpec};
use training::data::batch::Batch;
use training::forward::{Forward, PassOptions};
use training::objectives::ClipFeatures;
use training::optim::{Gradients, Optimiser};
use training::recipes::objective::objective;

/// Width of the features of CLIP ViT-L/14.
const CLIP_WIDTH: usize = 768;

/// One update as the training recipe does it: timesteps per image, the objective, backward pass, clipping to norm 1,
/// AdamW.
pub(crate) fn step<'a>(
    arguments: &Arguments,
    folders: &'a PartFolders,
    device: &'a Device,
) -> Result<Step<'a>> {
    let spec = arguments.objective.clone();
    let (policy, reference) = policy_and_reference(arguments, folders, spec.is_preference(), device)?;
    let schedule = folders.schedule()?;
    let mut noise = Noise::new(0);
    let (latents, conditioning) = random_inputs(arguments, folders, policy.unet(), &mut noise, device)?;
    let mut like = |shape: &Shape, device: &Device| noise.normal_tensor(shape.clone(), device);
    let cpu = &Device::Cpu;
    let features = Shape::from((arguments.batch, CLIP_WIDTH));
    let mut batch = Batch {
        lists: Vec::new(),
        noise: like(latents.shape(), device)?,
        loser: reference.is_some().then(|| like(latents.shape(), device)).transpose()?,
        clip: Some(ClipFeatures {
            winner: like(&features, cpu)?,
            loser: like(&features, cpu)?,
            text: like(&features, cpu)?,
        }),
        winner: latents,
        timesteps: (0..arguments.batch).map(|_| noise.below(schedule.timesteps())).collect(),
        conditioning: vec![conditioning; 1 + usize::from(reference.is_some())],
        examples: (0..arguments.batch as u32).collect(),
    };
    let options = PassOptions {
        two_pass: arguments.two_pass,
        keep: if arguments.checkpoint_activations {
            BackwardMode::Recompute
        } else {
            BackwardMode::StoreGraph
        },
        error_space: ErrorSpace::default(),
    };
    let mut optimiser = Optimiser::new(&OptimizerSpec::default(), policy.masters())?;
    let mut files =
        arguments.from_images.then(|| PairFiles::new(folders, arguments.batch, device)).transpose()?;
    Ok(Box::new(move || {
        if let Some(files) = &mut files {
            files.encode_into(&mut batch)?;
        }
        let forward = Forward::run(policy.unet(), reference.as_ref(), &schedule, &batch, options)?;
        let loss = objective(&spec, &schedule, &forward, &batch)?.loss;
        let mut gradients = Gradients::default();
        forward.backward(&loss, policy.variables(), &mut gradients)?;
        optimiser.update(policy.masters(), &gradients, 1, 1e-6)?;
        policy.refresh()?;
        loss.to_scalar::<f32>()?;
        Ok(None)
    }))
}
