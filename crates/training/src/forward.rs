//! Both networks on one micro-batch, and the way back.
//!
//! The errors of a micro-batch are independent of each other until the objective mixes them, and the objective
//! needs nothing of the networks but the errors. So the micro-batch is cut in shards, each with a graph of its
//! own, forward and backward in parallel; in between, the objective is differentiated with respect to the
//! errors alone. By the chain rule the result is the gradient of the whole (method.md section 1). The number of
//! shards is fixed, and so the result does not depend on the number of threads.
//!
//! In two passes, a shard is one image and shards come one after another: first all errors without any graph, then,
//! when the objective has said how much each error counts, image by image with a graph.

use crate::data::batch::Batch;
use crate::objectives::PairErrors;
use crate::optim::Gradients;
use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor, Var};
use diffusion::conditioning::Conditioning;
use diffusion::config::Prediction;
use diffusion::gradients::GradientSums;
use diffusion::schedule::Schedule;
use diffusion::tape::{BackwardMode, Pass};
use diffusion::unet::Unet;
use diffusion::weights::Variables;
use domain::train::{ErrorSpace, TrainSpec};
use rayon::prelude::*;
use std::ops::Range;

/// Shards of a micro-batch in one pass on a CPU: as many as a small machine has cores. Of three or more, the order in which
/// their gradients are added would need a rule. A GPU takes one thing at a time, the larger the better: there it is one.
const SHARDS: usize = 2;

/// How the networks are run.
#[derive(Clone, Copy, Debug)]
pub struct PassOptions {
    /// Errors first, without a graph, then the graph of one image at a time.
    pub two_pass: bool,
    /// What is kept of a pass that is differentiated.
    pub keep: BackwardMode,
    /// What the errors of a network that predicts v are measured in.
    pub error_space: ErrorSpace,
}

impl PassOptions {
    /// As a spec says.
    #[must_use]
    pub fn of(spec: &TrainSpec) -> Self {
        Self {
            two_pass: spec.memory.two_pass,
            keep: if spec.memory.checkpoint_activations {
                BackwardMode::Recompute
            } else {
                BackwardMode::StoreGraph
            },
            error_space: spec.error_space,
        }
    }
}

/// Denoising errors of a micro-batch.
#[derive(Debug)]
pub struct Forward<'a> {
    policy: Evaluated<'a>,
    shards: Vec<Shard>,
    /// The errors of all shards, on the CPU, as leaves: per side, (M).
    leaves: Vec<Var>,
    /// The reference's, per side.
    reference: Vec<Tensor>,
    schedule: &'a Schedule,
    options: PassOptions,
}

/// What the way back begins with.
#[derive(Debug)]
enum Evaluated<'a> {
    /// A pass per shard, and the errors made of it.
    Passed(Vec<(Pass<'a>, Tensor)>),
    /// The network, to be run again.
    Again(&'a Unet),
}

/// A part of a micro-batch: some examples, and their images on some sides, sides one after another.
#[derive(Debug)]
struct Shard {
    sides: Range<usize>,
    examples: Range<usize>,
    latents: Tensor,
    noise: Tensor,
    conditioning: Conditioning,
    timesteps: Vec<usize>,
}

impl<'a> Forward<'a> {
    /// Errors of the policy, with what the way back needs, and of the reference, if there is one.
    ///
    /// # Errors
    /// candle's.
    pub fn run(
        policy: &'a Unet,
        reference: Option<&Unet>,
        schedule: &'a Schedule,
        batch: &Batch,
        options: PassOptions,
    ) -> Result<Self> {
        let shards = if options.two_pass { images(batch)? } else { shards(batch)? };
        let alone = |unet: &Unet| -> Result<Vec<Tensor>> {
            let errors = |shard: &Shard| {
                Ok(shard.pass(unet, schedule, PassOptions { keep: BackwardMode::Disabled, ..options })?.1)
            };
            if options.two_pass {
                shards.iter().map(errors).collect()
            } else {
                shards.par_iter().map(errors).collect()
            }
        };
        let (policy, errors) = if options.two_pass {
            (Evaluated::Again(policy), alone(policy)?)
        } else {
            let passed = shards
                .par_iter()
                .map(|shard| shard.pass(policy, schedule, options))
                .collect::<Result<Vec<_>>>()?;
            let errors = passed.iter().map(|(_, errors)| errors.detach()).collect();
            (Evaluated::Passed(passed), errors)
        };
        let leaves = by_side(&errors, &shards)?
            .into_iter()
            .map(|errors| Var::new(errors, &Device::Cpu))
            .collect::<candle_core::Result<_>>()?;
        let reference = match reference {
            Some(reference) => by_side(&alone(reference)?, &shards)?
                .into_iter()
                .map(|errors| Tensor::new(errors, &Device::Cpu))
                .collect::<candle_core::Result<_>>()?,
            None => Vec::new(),
        };
        Ok(Self { policy, shards, leaves, reference, schedule, options })
    }

    /// The policy's errors on images or winners, (M), to differentiate.
    #[must_use]
    pub fn winner(&self) -> Tensor {
        self.leaves[0].as_tensor().clone()
    }

    /// All errors of pairs, the policy's to differentiate.
    ///
    /// # Errors
    /// The micro-batch has no losers, or there is no reference.
    pub fn pairs(&self) -> Result<PairErrors> {
        let (Some(loser), [reference_winner, reference_loser]) = (self.leaves.get(1), &self.reference[..])
        else {
            anyhow::bail!("a preference objective needs losers and a reference");
        };
        Ok(PairErrors {
            policy_winner: self.winner(),
            policy_loser: loser.as_tensor().clone(),
            reference_winner: reference_winner.clone(),
            reference_loser: reference_loser.clone(),
        })
    }

    /// Adds the gradient of `loss`, a function of the policy's errors, to `gradients`.
    ///
    /// # Errors
    /// A parameter that no gradient reaches.
    pub fn backward(self, loss: &Tensor, variables: &Variables, gradients: &mut Gradients) -> Result<()> {
        let slopes = loss.backward()?;
        let slopes = self
            .leaves
            .iter()
            .map(|leaf| Ok(slopes.get(leaf).context("the loss does not depend on the errors")?.detach()))
            .collect::<Result<Vec<_>>>()?;
        let sums = GradientSums::of(variables);
        let back = |shard: &Shard, (pass, errors): (Pass<'_>, Tensor)| -> Result<()> {
            let (first, count) = (shard.examples.start, shard.examples.len());
            let sides = &slopes[shard.sides.clone()];
            let sides =
                sides.iter().map(|s| s.narrow(0, first, count)).collect::<candle_core::Result<Vec<_>>>()?;
            let slopes = Tensor::cat(&sides, 0)?.to_device(errors.device())?;
            Ok(pass.backward(&(errors * slopes)?.sum_all()?, &sums)?)
        };
        match self.policy {
            Evaluated::Passed(passed) => {
                self.shards.par_iter().zip(passed).try_for_each(|(shard, passed)| back(shard, passed))
            }
            Evaluated::Again(policy) => self
                .shards
                .iter()
                .try_for_each(|shard| back(shard, shard.pass(policy, self.schedule, self.options)?)),
        }?;
        gradients.add_found(sums.take()?, variables)
    }
}

impl Shard {
    /// One evaluation of the network, and e(k) of every image: the mean over channels and pixels of the squared
    /// error, in f32.
    fn pass<'a>(
        &self,
        unet: &'a Unet,
        schedule: &Schedule,
        options: PassOptions,
    ) -> Result<(Pass<'a>, Tensor)> {
        let noised = schedule.add_noise(&self.latents, &self.noise, &self.timesteps)?;
        let target = schedule.target(&self.latents, &self.noise, &self.timesteps)?;
        let told: Vec<f32> = self.timesteps.iter().map(|&t| t as f32).collect();
        let told = Tensor::new(told, noised.device())?;
        let noised = noised.to_dtype(unet.dtype())?;
        let Conditioning { text, added } = self.conditioning.to_dtype(unet.dtype())?;
        let pass = unet.pass(&noised, &told, &text, added.as_ref(), options.keep)?;
        let off = (pass.output().to_dtype(DType::F32)? - target)?;
        let errors = off.sqr()?.flatten_from(1)?.mean(1)?;
        Ok((pass, self.in_space(errors, schedule, options.error_space)?))
    }

    /// Errors of a network that predicts v in the space asked for. The noise that a prediction of v implies is
    /// sqrt(abar_t) v + sqrt(1 - abar_t) z_t, so that an error of v counts abar_t times as an error of the noise.
    fn in_space(&self, errors: Tensor, schedule: &Schedule, space: ErrorSpace) -> Result<Tensor> {
        match (schedule.prediction(), space) {
            (Prediction::VPrediction, ErrorSpace::Epsilon) => {
                let shares: Vec<f32> = self.timesteps.iter().map(|&t| schedule.alpha_bar(t) as f32).collect();
                Ok((&errors * Tensor::new(shares, errors.device())?)?)
            }
            _ => Ok(errors),
        }
    }
}

/// These examples of a micro-batch on these sides. Sides share noise and timesteps.
fn shard(batch: &Batch, sides: Range<usize>, examples: Range<usize>) -> Result<Shard> {
    let part = |t: &Tensor| t.narrow(0, examples.start, examples.len());
    let repeat = |t: &Tensor| Tensor::cat(&vec![part(t)?; sides.len()], 0);
    let latents = std::iter::once(&batch.winner).chain(&batch.loser);
    let latents = latents.skip(sides.start).take(sides.len()).map(part);
    let told = batch.conditioning.iter().skip(sides.start).take(sides.len());
    let told: Vec<_> =
        told.map(|told| told.narrow(examples.start, examples.len())).collect::<diffusion::Result<_>>()?;
    Ok(Shard {
        latents: Tensor::cat(&latents.collect::<candle_core::Result<Vec<_>>>()?, 0)?,
        noise: repeat(&batch.noise)?,
        conditioning: Conditioning::join(&told)?,
        timesteps: batch.timesteps[examples.clone()].repeat(sides.len()),
        sides,
        examples,
    })
}

fn sides(batch: &Batch) -> usize {
    1 + usize::from(batch.loser.is_some())
}

/// Cuts a micro-batch into at most [`SHARDS`] parts, each with all sides of its examples.
fn shards(batch: &Batch) -> Result<Vec<Shard>> {
    let m = batch.timesteps.len();
    let count = if batch.winner.device().is_cpu() { SHARDS } else { 1 };
    let size = m.div_ceil(count.min(m));
    (0..m).step_by(size).map(|first| shard(batch, 0..sides(batch), first..m.min(first + size))).collect()
}

/// Cuts a micro-batch into single images.
fn images(batch: &Batch) -> Result<Vec<Shard>> {
    let m = batch.timesteps.len();
    (0..sides(batch)).flat_map(|s| (0..m).map(move |i| shard(batch, s..s + 1, i..i + 1))).collect()
}

/// Errors of all shards, per side, (M).
fn by_side(errors: &[Tensor], shards: &[Shard]) -> Result<Vec<Vec<f32>>> {
    let end = |range: fn(&Shard) -> &Range<usize>| shards.iter().map(|s| range(s).end).max().unwrap_or(0);
    let mut all = vec![vec![0.0; end(|s| &s.examples)]; end(|s| &s.sides)];
    for (shard, errors) in shards.iter().zip(errors) {
        let errors = errors.to_vec1::<f32>()?;
        for (side, errors) in shard.sides.clone().zip(errors.chunks_exact(shard.examples.len())) {
            all[side][shard.examples.clone()].copy_from_slice(errors);
        }
    }
    Ok(all)
}
