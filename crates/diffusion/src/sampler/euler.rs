//! Euler's method (Karras et al. 2022, Algorithm 2 without churn), as in diffusers' `EulerDiscreteScheduler`. Latents have unit
//! signal: clean latents + sigma * noise.

use super::noise_level::NoiseLevel;
use super::plan::{Combination, Operand, Plan, Step};
use super::spacing::{karras, sigma_at, spaced, timestep_at};
use crate::config::Spacing;
use crate::schedule::Schedule;

pub(super) fn plan(schedule: &Schedule, steps: usize, karras_levels: bool) -> Plan {
    let mut points = timesteps_and_sigmas(schedule, steps);
    if karras_levels {
        let sigmas = karras(points[0].1, points[steps - 1].1, steps);
        points = sigmas.into_iter().map(|sigma| (timestep_at(schedule, sigma), sigma)).collect();
    }
    let step = |i: usize| {
        let next = points.get(i + 1).map_or(0.0, |&(_, sigma)| sigma);
        euler_step(schedule, i, points[i], next)
    };
    Plan { initial_deviation: initial_deviation(schedule, &points), steps: (0..steps).map(step).collect() }
}

/// Timesteps, which need not be whole numbers, and the ratio of noise to signal (sigma) at each.
pub(super) fn timesteps_and_sigmas(schedule: &Schedule, steps: usize) -> Vec<(f64, f64)> {
    let spacing = spacing(schedule);
    spaced(schedule, spacing, steps).into_iter().map(|t| (t, sigma_at(schedule, t))).collect()
}

/// The step along the current direction to the noise level `next`.
pub(super) fn euler_step(schedule: &Schedule, i: usize, (timestep, sigma): (f64, f64), next: f64) -> Step {
    let level = NoiseLevel::of_sigma(sigma);
    let latents = Combination::from(Operand::Latents(i));
    let prediction = Operand::Prediction(i).into();
    let clean = level.clean(schedule.prediction(), latents.clone() * level.signal, prediction);
    let next = latents.clone() + (latents - clean) * ((next - sigma) / sigma);
    Step { input_scale: level.signal, ..Step::plain(timestep, next) }
}

/// The standard deviation of the initial latents: that of the noise, and with leading spacing, which starts before the last
/// timestep, also that of the signal.
pub(super) fn initial_deviation(schedule: &Schedule, points: &[(f64, f64)]) -> f64 {
    let largest = points.iter().map(|&(_, sigma)| sigma).fold(0.0, f64::max);
    match spacing(schedule) {
        Spacing::Linspace | Spacing::Trailing => largest,
        Spacing::Leading => (largest * largest + 1.0).sqrt(),
    }
}

fn spacing(schedule: &Schedule) -> Spacing {
    schedule.config().timestep_spacing.unwrap_or(Spacing::Linspace)
}
