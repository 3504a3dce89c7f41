//! Samplers, which turn noise into latents step by step with a network's predictions. Each implements the diffusers class that
//! [`SamplerKind`] names, created with `from_config` from the model's `scheduler_config.json`. It is a function from noise
//! schedule and number of steps to a plan of linear combinations.

mod ddim;
mod ddpm;
mod dpmpp_2m;
mod euler;
mod euler_ancestral;
mod kind;
mod lcm;
mod noise_level;
mod plan;
mod pndm;
mod settings;
mod spacing;
mod unipc;

use crate::schedule::Schedule;
use crate::{Error, Result};
use candle_core::Tensor;
pub use kind::SamplerKind;
use plan::{Combination, Operand, Plan, Step};

/// A sampler for a noise schedule and a number of steps.
#[derive(Debug)]
pub struct Sampler(Plan);

impl Sampler {
    /// A sampler for a noise schedule and a number of steps.
    ///
    /// # Errors
    /// Fails if the number of steps is 0, larger than the number of timesteps or too large for the sampler, or if the sampler
    /// does not support a setting of the schedule's file.
    pub fn new(kind: SamplerKind, schedule: &Schedule, steps: usize) -> Result<Self> {
        kind.check(schedule.config()).map_err(|problem| Error::setting("sampler", problem))?;
        let bad_steps = |problem| Error::setting("steps", format!("{steps} steps: {problem}"));
        if steps == 0 || steps > schedule.timesteps() {
            return Err(bad_steps(format!("use 1 to {}", schedule.timesteps())));
        }
        let karras = schedule.config().use_karras_sigmas == Some(true);
        let plan = match kind {
            SamplerKind::Ddim => Ok(ddim::plan(schedule, steps)),
            SamplerKind::Ddpm => Ok(ddpm::plan(schedule, steps)),
            SamplerKind::Pndm => Ok(pndm::plan(schedule, steps)),
            SamplerKind::Euler => Ok(euler::plan(schedule, steps, karras)),
            SamplerKind::EulerAncestral => Ok(euler_ancestral::plan(schedule, steps)),
            SamplerKind::Dpmpp2m => dpmpp_2m::plan(schedule, steps, karras),
            SamplerKind::Dpmpp2mKarras => dpmpp_2m::plan(schedule, steps, true),
            SamplerKind::Unipc => unipc::plan(schedule, steps, karras),
            SamplerKind::Lcm => lcm::plan(schedule, steps),
        };
        plan.map(Self).map_err(bad_steps)
    }

    /// The timesteps at which the network is evaluated, from the noisiest on: one per step, and one more for PNDM.
    pub fn timesteps(&self) -> impl ExactSizeIterator<Item = f64> + '_ {
        self.0.steps.iter().map(|step| step.timestep)
    }

    /// Starts from standard normal noise.
    ///
    /// # Errors
    /// Fails if a tensor operation does.
    pub fn start(&self, noise: &Tensor) -> Result<Denoising<'_>> {
        let latents = (noise * self.0.initial_deviation)?;
        Ok(Denoising { steps: &self.0.steps, done: 0, latents, known: Vec::new() })
    }
}

/// Latents in the process of denoising, with the tensors of earlier steps that later steps need.
#[derive(Debug)]
pub struct Denoising<'a> {
    steps: &'a [Step],
    done: usize,
    latents: Tensor,
    known: Vec<(Operand, Tensor)>,
}

impl Denoising<'_> {
    /// The current latents.
    #[must_use]
    pub fn latents(&self) -> &Tensor {
        &self.latents
    }

    /// The input of the network: the latents, scaled for this step.
    ///
    /// # Errors
    /// Fails if a tensor operation does.
    pub fn model_input(&self) -> Result<Tensor> {
        Ok((&self.latents * self.steps.get(self.done).map_or(1.0, |step| step.input_scale))?)
    }

    /// Performs one step with the network's prediction. `noise` returns standard normal noise in the shape of the latents. It
    /// is called only in steps that add noise.
    ///
    /// # Errors
    /// Fails if all steps are done or `noise` fails.
    pub fn advance(&mut self, prediction: &Tensor, noise: impl FnOnce() -> Result<Tensor>) -> Result<()> {
        let i = self.done;
        let step = self.steps.get(i).ok_or_else(|| Error::message(format!("all {i} steps are done")))?;
        self.known.push((Operand::Latents(i), self.latents.clone()));
        self.known.push((Operand::Prediction(i), prediction.clone()));
        if let Some(combination) = &step.corrected {
            let corrected = self.combine(combination)?;
            self.known.push((Operand::Corrected(i), corrected));
        }
        self.latents = self.combine(&step.next)?;
        if step.added_noise > 0.0 {
            self.latents = (&self.latents + (noise()? * step.added_noise)?)?;
        }
        self.done += 1;
        // No combination uses tensors from more than four steps before.
        let later = &self.steps[self.done..self.steps.len().min(self.done + 4)];
        let combinations = || later.iter().flat_map(|step| step.corrected.iter().chain([&step.next]));
        self.known.retain(|(operand, _)| {
            combinations().any(|combination| combination.0.iter().any(|(needed, _)| needed == operand))
        });
        Ok(())
    }

    fn combine(&self, combination: &Combination) -> Result<Tensor> {
        let mut total = self.latents.zeros_like()?;
        for (operand, weight) in &combination.0 {
            let found = self.known.iter().find(|(known, _)| known == operand);
            let (_, tensor) =
                found.ok_or_else(|| Error::message(format!("{operand:?} is no longer stored")))?;
            total = (total + (tensor * *weight)?)?;
        }
        Ok(total)
    }
}
