//! The second-order UniPC (Zhao et al. 2023, with B2(h) and data prediction), as in diffusers' `UniPCMultistepScheduler`: the
//! prediction at the end of a step first corrects the result of that step.

use super::plan::{Combination, Operand, Plan, Step};
use super::spacing::solver_steps;
use crate::schedule::Schedule;

/// # Errors
/// Fails if there are too many steps.
pub(super) fn plan(schedule: &Schedule, steps: usize, karras: bool) -> Result<Plan, String> {
    let points = solver_steps(schedule, steps, karras)?;
    let levels = &points.levels;
    let clean = |i: usize| levels[i].clean_at(schedule.prediction(), i);
    let lambda = |i: usize| levels[i].lambda();
    // The latents at the start of step i, corrected.
    let start =
        |i: usize| Combination::from(if i == 0 { Operand::Latents(0) } else { Operand::Corrected(i) });
    // The distance in lambda from the start of step i to that of step i - 1, relative to step i.
    let previous = |i: usize| (lambda(i - 1) - lambda(i)) / (lambda(i + 1) - lambda(i));
    let second_order = |i: usize| i > 0 && i + 1 < steps;

    let predicted = |i: usize| {
        let mut target = clean(i);
        if second_order(i) {
            target = target + (clean(i - 1) - clean(i)) * (0.5 / previous(i));
        }
        levels[i].step_toward(levels[i + 1], start(i), target)
    };
    // The result of step i, corrected with the prediction at its end.
    let corrected = |i: usize| {
        let change = clean(i + 1) - clean(i);
        let correction = if second_order(i) {
            let [b1, b2] = moments(lambda(i + 1) - lambda(i));
            let weight = (b1 - b2) / (1.0 - previous(i));
            (clean(i - 1) - clean(i)) * (weight / previous(i)) + change * (b1 - weight)
        } else {
            change * 0.5
        };
        levels[i].step_toward(levels[i + 1], start(i), clean(i) + correction)
    };
    let step = |(i, &timestep): (usize, &f64)| Step {
        corrected: (i > 0).then(|| corrected(i - 1)),
        ..Step::plain(timestep, predicted(i))
    };
    Ok(Plan { initial_deviation: 1.0, steps: points.timesteps.iter().enumerate().map(step).collect() })
}

/// The right-hand side of the corrector's equations: h phi_2(-h) and 2 h phi_3(-h), divided by B(h).
fn moments(h: f64) -> [f64; 2] {
    let b = (-h).exp_m1();
    let phi_2 = b / -h - 1.0;
    let phi_3 = phi_2 / -h - 0.5;
    [phi_2 / b, 2.0 * phi_3 / b]
}
