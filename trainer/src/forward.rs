//! Both networks on one micro-batch, and the way back.
//!
//! The errors of a micro-batch are independent of each other until the objective mixes them, and the objective
//! needs nothing of the networks but the errors. So the micro-batch is cut in shards, each with a graph of its
//! own, forward and backward in parallel; in between, the objective is differentiated with respect to the
//! errors alone. By the chain rule the result is the gradient of the whole (method.md section 1). The number of
//! shards is fixed, and so the result does not depend on the number of threads.

use crate::data::batch::Batch;
use crate::objectives::PairErrors;
use crate::optim::Gradients;
use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor, Var};
use diffusion::schedule::Schedule;
use diffusion::unet::Unet;
use diffusion::weights::Variables;
use rayon::prelude::*;

/// Shards of a micro-batch: as many as a small machine has cores.
const SHARDS: usize = 2;

/// Denoising errors of a micro-batch.
pub struct Forward {
    /// One graph per shard: (sides x examples of the shard), winners first.
    policy: Vec<Tensor>,
    /// The errors of all shards again, on the CPU, as leaves: per side, (M).
    leaves: Vec<Var>,
    /// The reference's, per side.
    reference: Vec<Tensor>,
}

/// A part of a micro-batch.
struct Shard {
    sides: Vec<Tensor>,
    noise: Tensor,
    text: Tensor,
    timesteps: Vec<usize>,
}

impl Forward {
    /// Errors of the policy, with their graphs, and of the reference, if there is one, without.
    ///
    /// # Errors
    /// candle's.
    pub fn run(policy: &Unet, reference: Option<&Unet>, schedule: &Schedule, batch: &Batch) -> Result<Self> {
        let shards = shards(batch)?;
        let all = |unet: &Unet| -> Result<Vec<Tensor>> {
            shards.par_iter().map(|shard| shard.errors(unet, schedule)).collect()
        };
        let policy = all(policy)?;
        let leaves =
            by_side(&policy, &shards)?.iter().map(Var::from_tensor).collect::<candle_core::Result<_>>()?;
        let reference = match reference {
            Some(reference) => by_side(&all(reference)?, &shards)?,
            None => Vec::new(),
        };
        Ok(Self { policy, leaves, reference })
    }

    /// The policy's errors on pictures or winners, (M), to differentiate.
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
        let mut first = 0;
        let mut work = Vec::new();
        for errors in self.policy {
            let count = errors.dim(0)? / slopes.len();
            let sides =
                slopes.iter().map(|s| s.narrow(0, first, count)).collect::<candle_core::Result<Vec<_>>>()?;
            work.push((Tensor::cat(&sides, 0)?, errors));
            first += count;
        }
        let stores = work
            .into_par_iter()
            .map(|(slopes, errors)| {
                let slopes = slopes.to_device(errors.device())?;
                (errors * slopes)?.sum_all()?.backward()
            })
            .collect::<candle_core::Result<Vec<_>>>()?;
        stores.iter().try_for_each(|store| gradients.add(store, variables))
    }
}

impl Shard {
    /// e(k) of every picture of the shard, sides one after another, from one evaluation of the network: the mean
    /// over channels and pixels of the squared error, in f32. Sides share noise, timesteps and text.
    fn errors(&self, unet: &Unet, schedule: &Schedule) -> Result<Tensor> {
        let sides: Vec<&Tensor> = self.sides.iter().collect();
        let repeat = |t: &Tensor| Tensor::cat(&vec![t; sides.len()], 0);
        let latents = Tensor::cat(&sides, 0)?;
        let (noise, text) = (repeat(&self.noise)?, repeat(&self.text)?);
        let timesteps = self.timesteps.repeat(sides.len());
        let noised = schedule.add_noise(&latents, &noise, &timesteps)?;
        let target = schedule.target(&latents, &noise, &timesteps)?;
        let told: Vec<f32> = timesteps.iter().map(|&t| t as f32).collect();
        let told = Tensor::new(told, noised.device())?;
        let prediction = unet.forward(&noised, &told, &text)?;
        Ok((prediction - target)?.to_dtype(DType::F32)?.sqr()?.flatten_from(1)?.mean(1)?)
    }
}

/// Cuts a micro-batch; fewer shards than examples.
fn shards(batch: &Batch) -> Result<Vec<Shard>> {
    let m = batch.timesteps.len();
    let size = m.div_ceil(SHARDS.min(m));
    (0..m)
        .step_by(size)
        .map(|first| {
            let count = size.min(m - first);
            let part = |t: &Tensor| t.narrow(0, first, count);
            let sides = std::iter::once(&batch.winner).chain(&batch.loser);
            Ok(Shard {
                sides: sides.map(part).collect::<candle_core::Result<_>>()?,
                noise: part(&batch.noise)?,
                text: part(&batch.text)?,
                timesteps: batch.timesteps[first..first + count].to_vec(),
            })
        })
        .collect()
}

/// Errors of all shards, per side, on the CPU, without their graphs.
fn by_side(errors: &[Tensor], shards: &[Shard]) -> Result<Vec<Tensor>> {
    let sides = shards.first().map_or(0, |shard| shard.sides.len());
    (0..sides)
        .map(|side| {
            let parts = errors
                .iter()
                .map(|e| e.detach().chunk(sides, 0)?[side].to_device(&Device::Cpu))
                .collect::<candle_core::Result<Vec<_>>>()?;
            Ok(Tensor::cat(&parts, 0)?)
        })
        .collect()
}
