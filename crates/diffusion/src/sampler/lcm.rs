//! Multistep sampling of latent consistency models (Luo et al. 2023, Algorithm 3), as in diffusers' `LCMScheduler`: each step
//! predicts the clean latents and adds noise up to the next level. For networks that were distilled for it; with others,
//! images are blurred.

use super::noise_level::NoiseLevel;
use super::plan::{Combination, Operand, Plan, Step};
use crate::schedule::Schedule;

/// The standard deviation of clean latents that the boundary condition assumes.
const SIGMA_DATA: f64 = 0.5;
/// The class's default of `original_inference_steps`.
const ORIGINAL_STEPS: usize = 50;
/// The class's default of `timestep_scaling`.
const TIMESTEP_SCALING: f64 = 10.0;

/// # Errors
/// Fails if there are more steps than the model was distilled from.
pub(super) fn plan(schedule: &Schedule, steps: usize) -> Result<Plan, String> {
    let config = schedule.config();
    let original = config.original_inference_steps.unwrap_or(ORIGINAL_STEPS);
    if steps > original || original > schedule.timesteps() {
        let most = original.min(schedule.timesteps());
        return Err(format!("lcm supports at most {most} steps, from which the model was distilled"));
    }
    // Every stride-th timestep down from the last, and of those `steps`, evenly spaced by index.
    let stride = schedule.timesteps() / original;
    let skip = original as f64 / steps as f64;
    let timestep = |i: usize| (original - (i as f64 * skip).floor() as usize) * stride - 1;
    let timesteps: Vec<usize> = (0..steps).map(timestep).collect();
    let level = |t: usize| NoiseLevel::of_alpha_bar(schedule.alpha_bar(t));
    let step = |(i, &t): (usize, &usize)| {
        let scaled = t as f64 * config.timestep_scaling.unwrap_or(TIMESTEP_SCALING);
        let distance = scaled.hypot(SIGMA_DATA);
        let latents = Combination::from(Operand::Latents(i));
        let denoised = level(t).clean_at(schedule.prediction(), i) * (scaled / distance)
            + latents * (SIGMA_DATA / distance).powi(2);
        let next = timesteps.get(i + 1).map_or(NoiseLevel { signal: 1.0, noise: 0.0 }, |&t| level(t));
        Step { added_noise: next.noise, ..Step::plain(t as f64, denoised * next.signal) }
    };
    Ok(Plan { initial_deviation: 1.0, steps: timesteps.iter().enumerate().map(step).collect() })
}
