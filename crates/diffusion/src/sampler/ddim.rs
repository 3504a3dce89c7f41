//! DDIM (Song et al. 2021) with eta 0, as diffusers' `DDIMScheduler` without clipping.

use super::level::Level;
use super::plan::{Plan, Source, Step};
use super::spacing::{spaced, whole};
use crate::config::Spacing;
use crate::schedule::Schedule;

pub(super) fn plan(schedule: &Schedule, steps: usize) -> Plan {
    let spacing = schedule.config().timestep_spacing.unwrap_or(Spacing::Leading);
    let stride = (schedule.timesteps() / steps) as f64;
    let level = levels(schedule, true);
    let step = |(i, t): (usize, f64)| {
        let (latents, prediction) = (Source::Latents(i).into(), Source::Prediction(i).into());
        let next = level(t).moved(level(t - stride), schedule.prediction(), latents, prediction);
        Step::plain(t, next)
    };
    let timesteps = whole(spaced(schedule, spacing, steps));
    Plan { initial_deviation: 1.0, steps: timesteps.into_iter().enumerate().map(step).collect() }
}

/// The level at a timestep, and at the end, below the first: without noise if `set_alpha_to_one`, which has the given
/// default, or else as at the first.
pub(super) fn levels(schedule: &Schedule, to_one: bool) -> impl Fn(f64) -> Level {
    let to_one = schedule.config().set_alpha_to_one.unwrap_or(to_one);
    move |t| {
        let at = (t.max(0.0) as usize).min(schedule.timesteps() - 1);
        Level::of_alpha_bar(if t < 0.0 && to_one { 1.0 } else { schedule.alpha_bar(at) })
    }
}
