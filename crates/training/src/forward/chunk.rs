//! Chunks of a micro-batch, each evaluated on its own, and the denoising errors of their images.

use super::options::PassOptions;
use crate::data::batch::Batch;
use anyhow::Result;
use candle_core::{DType, Tensor};
use diffusion::conditioning::Conditioning;
use diffusion::config::Prediction;
use diffusion::schedule::Schedule;
use diffusion::tape::Pass;
use diffusion::unet::Unet;
use domain::train::ErrorSpace;
use std::ops::Range;

/// Chunks of a micro-batch on a CPU. The number is fixed, so that the gradients do not depend on the number of threads;
/// it is two, because the sum of two gradients does not depend on which is ready first. A GPU computes one chunk: it
/// runs one kernel at a time, and large ones are efficient.
const CPU_CHUNKS: usize = 2;

/// Some examples of a micro-batch on some sides (0: winners, 1: losers). Its tensors hold one row per image, side by
/// side.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) sides: Range<usize>,
    pub(super) examples: Range<usize>,
    latents: Tensor,
    noise: Tensor,
    conditioning: Conditioning,
    timesteps: Vec<usize>,
}

/// At most [`CPU_CHUNKS`] chunks on a CPU, one on a GPU, each with all sides of its examples.
pub(super) fn by_examples(batch: &Batch) -> Result<Vec<Chunk>> {
    let m = batch.timesteps.len();
    let count = if batch.winner.device().is_cpu() { CPU_CHUNKS } else { 1 };
    let size = m.div_ceil(count.min(m));
    (0..m).step_by(size).map(|first| Chunk::of(batch, 0..sides(batch), first..m.min(first + size))).collect()
}

/// One chunk per image: all winners, then all losers.
pub(super) fn by_images(batch: &Batch) -> Result<Vec<Chunk>> {
    let m = batch.timesteps.len();
    (0..sides(batch)).flat_map(|s| (0..m).map(move |i| Chunk::of(batch, s..s + 1, i..i + 1))).collect()
}

/// Puts the errors of all chunks together: one list of M values per side.
pub(super) fn by_side(errors: &[Tensor], chunks: &[Chunk]) -> Result<Vec<Vec<f32>>> {
    let end = |range: fn(&Chunk) -> &Range<usize>| chunks.iter().map(|c| range(c).end).max().unwrap_or(0);
    let mut all = vec![vec![0.0; end(|c| &c.examples)]; end(|c| &c.sides)];
    for (chunk, errors) in chunks.iter().zip(errors) {
        let errors = errors.to_vec1::<f32>()?;
        for (side, errors) in chunk.sides.clone().zip(errors.chunks_exact(chunk.examples.len())) {
            all[side][chunk.examples.clone()].copy_from_slice(errors);
        }
    }
    Ok(all)
}

fn sides(batch: &Batch) -> usize {
    1 + usize::from(batch.loser.is_some())
}

impl Chunk {
    /// Both sides of an example share its noise and timestep.
    fn of(batch: &Batch, sides: Range<usize>, examples: Range<usize>) -> Result<Self> {
        let rows = |t: &Tensor| t.narrow(0, examples.start, examples.len());
        let latents = std::iter::once(&batch.winner).chain(&batch.loser);
        let latents = latents.skip(sides.start).take(sides.len()).map(rows);
        let conditioning = batch.conditioning.iter().skip(sides.start).take(sides.len());
        let conditioning: Vec<_> = conditioning
            .map(|side| side.narrow(examples.start, examples.len()))
            .collect::<diffusion::Result<_>>()?;
        Ok(Self {
            latents: Tensor::cat(&latents.collect::<candle_core::Result<Vec<_>>>()?, 0)?,
            noise: Tensor::cat(&vec![rows(&batch.noise)?; sides.len()], 0)?,
            conditioning: Conditioning::join(&conditioning)?,
            timesteps: batch.timesteps[examples.clone()].repeat(sides.len()),
            sides,
            examples,
        })
    }

    /// One evaluation of `unet`, and the error of every image k: e(k) = mean over channels and pixels of
    /// (unet(z_k, t_k, c_k) - target_k)^2, in f32, with noised latents z_k at timestep t_k and conditioning c_k
    /// (docs/method.md). Returns the pass, to be differentiated, and the errors, (images).
    pub(super) fn pass<'a>(
        &self,
        unet: &'a Unet,
        schedule: &Schedule,
        options: PassOptions,
    ) -> Result<(Pass<'a>, Tensor)> {
        let noised = schedule.add_noise(&self.latents, &self.noise, &self.timesteps)?;
        let target = schedule.target(&self.latents, &self.noise, &self.timesteps)?;
        let timesteps: Vec<f32> = self.timesteps.iter().map(|&t| t as f32).collect();
        let timesteps = Tensor::new(timesteps, noised.device())?;
        let noised = noised.to_dtype(unet.dtype())?;
        let Conditioning { text, added } = self.conditioning.to_dtype(unet.dtype())?;
        let pass = unet.pass(&noised, &timesteps, &text, added.as_ref(), options.keep)?;
        let difference = (pass.output().to_dtype(DType::F32)? - target)?;
        let errors = difference.sqr()?.flatten_from(1)?.mean(1)?;
        Ok((pass, self.in_space(errors, schedule, options.error_space)?))
    }

    /// Errors of a v-prediction model in the given space. A predicted v implies the noise
    /// sqrt(abar_t) v + sqrt(1 - abar_t) z_t, so the squared error of the noise is abar_t times that of v.
    fn in_space(&self, errors: Tensor, schedule: &Schedule, space: ErrorSpace) -> Result<Tensor> {
        match (schedule.prediction(), space) {
            (Prediction::VPrediction, ErrorSpace::Epsilon) => {
                let factors: Vec<f32> =
                    self.timesteps.iter().map(|&t| schedule.alpha_bar(t) as f32).collect();
                Ok((&errors * Tensor::new(factors, errors.device())?)?)
            }
            _ => Ok(errors),
        }
    }
}
