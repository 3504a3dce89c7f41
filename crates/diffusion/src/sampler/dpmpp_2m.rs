//! The second-order multistep DPM-Solver++ (Lu et al. 2022, Algorithm 2), as in diffusers' `DPMSolverMultistepScheduler` with
//! the midpoint rule: it assumes that the clean latents change linearly in lambda.

use super::plan::{Operand, Plan, Step};
use super::spacing::solver_steps;
use crate::schedule::Schedule;

/// # Errors
/// Fails if there are too many steps.
pub(super) fn plan(schedule: &Schedule, steps: usize, karras: bool) -> Result<Plan, String> {
    let points = solver_steps(schedule, steps, karras)?;
    let clean = |i: usize| points.levels[i].clean_at(schedule.prediction(), i);
    let lambda = |i: usize| points.levels[i].lambda();
    let step = |(i, &timestep): (usize, &f64)| {
        let mut target = clean(i);
        // The last step ends without noise, where lambda is infinite, so it is of first order.
        if i > 0 && i + 1 < steps {
            let ratio = (lambda(i) - lambda(i - 1)) / (lambda(i + 1) - lambda(i));
            target = target + (clean(i) - clean(i - 1)) * (0.5 / ratio);
        }
        Step::plain(
            timestep,
            points.levels[i].step_toward(points.levels[i + 1], Operand::Latents(i).into(), target),
        )
    };
    Ok(Plan { initial_deviation: 1.0, steps: points.timesteps.iter().enumerate().map(step).collect() })
}
