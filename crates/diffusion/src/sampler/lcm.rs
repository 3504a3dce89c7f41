//! Latent consistency models (Luo et al. 2023, Algorithm 3), as diffusers' `LCMScheduler`: jump to the clean latents,
//! noise them again to the next level. For networks that were distilled for it; others may give soft images.

use super::level::Level;
use super::plan::{Plan, Row, Source, Step};
use crate::schedule::Schedule;

/// Deviation of clean latents that the boundary condition reckons with.
const SIGMA_DATA: f64 = 0.5;
/// The class's defaults.
const ORIGINAL_STEPS: usize = 50;
const TIMESTEP_SCALING: f64 = 10.0;

/// # Errors
/// More steps than the model was distilled from.
pub(super) fn plan(schedule: &Schedule, steps: usize) -> Result<Plan, String> {
    let config = schedule.config();
    let original = config.original_inference_steps.unwrap_or(ORIGINAL_STEPS);
    if steps > original || original > schedule.timesteps() {
        let most = original.min(schedule.timesteps());
        return Err(format!("lcm takes at most the {most} steps that the model was distilled from"));
    }
    // Every stride-th timestep from the last down, and of those as many as asked, evenly by index.
    let stride = schedule.timesteps() / original;
    let skip = original as f64 / steps as f64;
    let timestep = |i: usize| (original - (i as f64 * skip).floor() as usize) * stride - 1;
    let timesteps: Vec<usize> = (0..steps).map(timestep).collect();
    let level = |t: usize| Level::of_alpha_bar(schedule.alpha_bar(t));
    let step = |(i, &t): (usize, &usize)| {
        let scaled = t as f64 * config.timestep_scaling.unwrap_or(TIMESTEP_SCALING);
        let distance = scaled.hypot(SIGMA_DATA);
        let latents = Row::from(Source::Latents(i));
        let denoised = level(t).clean_at(schedule.prediction(), i) * (scaled / distance)
            + latents * (SIGMA_DATA / distance).powi(2);
        let next = timesteps.get(i + 1).map_or(Level { signal: 1.0, noise: 0.0 }, |&t| level(t));
        Step { fresh_noise: next.noise, ..Step::plain(t as f64, denoised * next.signal) }
    };
    Ok(Plan { initial_deviation: 1.0, steps: timesteps.iter().enumerate().map(step).collect() })
}
