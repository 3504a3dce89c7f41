//! DDIM (Song et al. 2021) with eta 0, as in diffusers' `DDIMScheduler` without clipping.

use super::noise_level::NoiseLevel;
use super::plan::{Operand, Plan, Step};
use super::spacing::{rounded, spaced};
use crate::config::Spacing;
use crate::schedule::Schedule;

pub(super) fn plan(schedule: &Schedule, steps: usize) -> Plan {
    let spacing = schedule.config().timestep_spacing.unwrap_or(Spacing::Leading);
    let stride = (schedule.timesteps() / steps) as f64;
    let level = levels(schedule, true);
    let step = |(i, t): (usize, f64)| {
        let (latents, prediction) = (Operand::Latents(i).into(), Operand::Prediction(i).into());
        let next = level(t).ddim_step(level(t - stride), schedule.prediction(), latents, prediction);
        Step::plain(t, next)
    };
    let timesteps = rounded(spaced(schedule, spacing, steps));
    Plan { initial_deviation: 1.0, steps: timesteps.into_iter().enumerate().map(step).collect() }
}

/// The noise level at each timestep. A negative timestep, after the last step, has no noise if `set_alpha_to_one` (default:
/// `to_one`), and otherwise the level of timestep 0.
pub(super) fn levels(schedule: &Schedule, to_one: bool) -> impl Fn(f64) -> NoiseLevel {
    let to_one = schedule.config().set_alpha_to_one.unwrap_or(to_one);
    move |t| {
        let at = (t.max(0.0) as usize).min(schedule.timesteps() - 1);
        NoiseLevel::of_alpha_bar(if t < 0.0 && to_one { 1.0 } else { schedule.alpha_bar(at) })
    }
}
