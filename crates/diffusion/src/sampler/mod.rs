//! Samplers: from noise to latents, a step at a time, by what the network predicts. Each is diffusers' class of that
//! name made `from_config` of the model's `scheduler_config.json`, and one function: from noise schedule and number of
//! steps to a plan of weighted sums.

mod ddim;
mod ddpm;
mod dpmpp_2m;
mod euler;
mod euler_ancestral;
mod kind;
mod lcm;
mod level;
mod plan;
mod pndm;
mod settings;
mod spacing;
mod unipc;

use crate::schedule::Schedule;
use crate::{Error, Result};
use candle_core::Tensor;
pub use kind::SamplerKind;
use plan::{Plan, Row, Source, Step};

/// A sampler set up for a number of steps.
#[derive(Debug)]
pub struct Sampler(Plan);

impl Sampler {
    /// # Errors
    /// More steps than the schedule has timesteps or than the sampler can take, or none; a setting of the schedule's
    /// file that this sampler cannot obey.
    pub fn new(kind: SamplerKind, schedule: &Schedule, steps: usize) -> Result<Self> {
        kind.check(schedule.config()).map_err(|problem| Error::setting("sampler", problem))?;
        let refused = |problem| Error::setting("steps", format!("{steps} steps: {problem}"));
        if steps == 0 || steps > schedule.timesteps() {
            return Err(refused(format!("use 1 to {}", schedule.timesteps())));
        }
        let by_karras = schedule.config().use_karras_sigmas == Some(true);
        let plan = match kind {
            SamplerKind::Ddim => Ok(ddim::plan(schedule, steps)),
            SamplerKind::Ddpm => Ok(ddpm::plan(schedule, steps)),
            SamplerKind::Pndm => Ok(pndm::plan(schedule, steps)),
            SamplerKind::Euler => Ok(euler::plan(schedule, steps, by_karras)),
            SamplerKind::EulerAncestral => Ok(euler_ancestral::plan(schedule, steps)),
            SamplerKind::Dpmpp2m => dpmpp_2m::plan(schedule, steps, by_karras),
            SamplerKind::Dpmpp2mKarras => dpmpp_2m::plan(schedule, steps, true),
            SamplerKind::Unipc => unipc::plan(schedule, steps, by_karras),
            SamplerKind::Lcm => lcm::plan(schedule, steps),
        };
        plan.map(Self).map_err(refused)
    }

    /// The timesteps that it visits, as the network is told them, first (noisiest) to last: one per step, and one more
    /// for PNDM.
    pub fn timesteps(&self) -> impl ExactSizeIterator<Item = f64> + '_ {
        self.0.steps.iter().map(|step| step.timestep)
    }

    /// Sets out from standard normal noise.
    ///
    /// # Errors
    /// candle's.
    pub fn start(&self, noise: &Tensor) -> Result<Denoising<'_>> {
        let latents = (noise * self.0.initial_deviation)?;
        Ok(Denoising { steps: &self.0.steps, done: 0, latents, known: Vec::new() })
    }
}

/// Latents on their way, and what later steps need of earlier ones.
#[derive(Debug)]
pub struct Denoising<'a> {
    steps: &'a [Step],
    done: usize,
    latents: Tensor,
    known: Vec<(Source, Tensor)>,
}

impl Denoising<'_> {
    /// The latents so far.
    #[must_use]
    pub fn latents(&self) -> &Tensor {
        &self.latents
    }

    /// What the network is to see of them.
    ///
    /// # Errors
    /// candle's.
    pub fn seen(&self) -> Result<Tensor> {
        Ok((&self.latents * self.steps.get(self.done).map_or(1.0, |step| step.input_scale))?)
    }

    /// One step, given what the network predicted. `fresh_noise`, standard normal and in the latents' shape, is only
    /// asked for by samplers and in steps that add some.
    ///
    /// # Errors
    /// No step is left, or candle's.
    pub fn advance(
        &mut self,
        prediction: &Tensor,
        fresh_noise: impl FnOnce() -> Result<Tensor>,
    ) -> Result<()> {
        let i = self.done;
        let step =
            self.steps.get(i).ok_or_else(|| candle_core::Error::msg(format!("all {i} steps are done")))?;
        self.known.push((Source::Latents(i), self.latents.clone()));
        self.known.push((Source::Prediction(i), prediction.clone()));
        if let Some(row) = &step.corrected {
            let corrected = self.sum(row)?;
            self.known.push((Source::Corrected(i), corrected));
        }
        self.latents = self.sum(&step.next)?;
        if step.fresh_noise > 0.0 {
            self.latents = (&self.latents + (fresh_noise()? * step.fresh_noise)?)?;
        }
        self.done += 1;
        // No row reaches back further than four steps.
        let later = &self.steps[self.done..self.steps.len().min(self.done + 4)];
        let rows = || later.iter().flat_map(|step| step.corrected.iter().chain([&step.next]));
        self.known.retain(|(source, _)| rows().any(|row| row.0.iter().any(|(needed, _)| needed == source)));
        Ok(())
    }

    fn sum(&self, row: &Row) -> Result<Tensor> {
        let mut total = self.latents.zeros_like()?;
        for (source, weight) in &row.0 {
            let found = self.known.iter().find(|(known, _)| known == source);
            let (_, tensor) =
                found.ok_or_else(|| candle_core::Error::msg(format!("{source:?} was forgotten")))?;
            total = (total + (tensor * *weight)?)?;
        }
        Ok(total)
    }
}
