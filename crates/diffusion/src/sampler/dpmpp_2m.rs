//! DPM-Solver++ of second order by multistep (Lu et al. 2022, Algorithm 2), as diffusers'
//! `DPMSolverMultistepScheduler` with the midpoint rule: the clean latents are taken to change linearly in lambda.

use super::plan::{Plan, Source, Step};
use super::spacing::half_open;
use crate::schedule::Schedule;

/// # Errors
/// Too many steps.
pub(super) fn plan(schedule: &Schedule, steps: usize, by_karras: bool) -> Result<Plan, String> {
    let visits = half_open(schedule, steps, by_karras)?;
    let clean = |i: usize| visits.levels[i].clean_at(schedule.prediction(), i);
    let lambda = |i: usize| visits.levels[i].log_signal_to_noise();
    let step = |(i, &timestep): (usize, &f64)| {
        let mut aim = clean(i);
        // At the end, without noise, lambda is infinite and the clean latents are where to be.
        if i > 0 && i + 1 < steps {
            let ratio = (lambda(i) - lambda(i - 1)) / (lambda(i + 1) - lambda(i));
            aim = aim + (clean(i) - clean(i - 1)) * (0.5 / ratio);
        }
        Step::plain(timestep, visits.levels[i].aimed(visits.levels[i + 1], Source::Latents(i).into(), aim))
    };
    Ok(Plan { initial_deviation: 1.0, steps: visits.timesteps.iter().enumerate().map(step).collect() })
}
