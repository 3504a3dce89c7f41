//! Euler's method (Karras et al. 2022, Algorithm 2 without churn), as diffusers' `EulerDiscreteScheduler`.
//! Latents are kept at unit signal: clean + sigma noise.

use super::level::Level;
use super::plan::{Plan, Row, Source, Step};
use super::spacing::{karras, sigma_at, spaced, timestep_at};
use crate::config::Spacing;
use crate::schedule::Schedule;

pub(super) fn plan(schedule: &Schedule, steps: usize, by_karras: bool) -> Plan {
    let mut visits = visits(schedule, steps);
    if by_karras {
        let sigmas = karras(visits[0].1, visits[steps - 1].1, steps);
        visits = sigmas.into_iter().map(|sigma| (timestep_at(schedule, sigma), sigma)).collect();
    }
    let step = |i: usize| {
        let next = visits.get(i + 1).map_or(0.0, |&(_, sigma)| sigma);
        towards(schedule, i, visits[i], next)
    };
    Plan { initial_deviation: initial_deviation(schedule, &visits), steps: (0..steps).map(step).collect() }
}

/// Timesteps, whole or not, and the noise per signal at each.
pub(super) fn visits(schedule: &Schedule, steps: usize) -> Vec<(f64, f64)> {
    let spacing = spacing(schedule);
    spaced(schedule, spacing, steps).into_iter().map(|t| (t, sigma_at(schedule, t))).collect()
}

/// The step straight on to the noise level `next`.
pub(super) fn towards(schedule: &Schedule, i: usize, (timestep, sigma): (f64, f64), next: f64) -> Step {
    let level = Level::of_sigma(sigma);
    let latents = Row::from(Source::Latents(i));
    let prediction = Source::Prediction(i).into();
    let clean = level.clean(schedule.prediction(), latents.clone() * level.signal, prediction);
    let next = latents.clone() + (latents - clean) * ((next - sigma) / sigma);
    Step { input_scale: level.signal, ..Step::plain(timestep, next) }
}

/// That of noise at the first level, with leading spacing (which starts below the last timestep) also of the signal.
pub(super) fn initial_deviation(schedule: &Schedule, visits: &[(f64, f64)]) -> f64 {
    let largest = visits.iter().map(|&(_, sigma)| sigma).fold(0.0, f64::max);
    match spacing(schedule) {
        Spacing::Linspace | Spacing::Trailing => largest,
        Spacing::Leading => (largest * largest + 1.0).sqrt(),
    }
}

fn spacing(schedule: &Schedule) -> Spacing {
    schedule.config().timestep_spacing.unwrap_or(Spacing::Linspace)
}
