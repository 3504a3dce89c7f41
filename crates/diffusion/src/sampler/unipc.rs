//! UniPC of second order (Zhao et al. 2023, B2(h), predicting clean latents), as diffusers' `UniPCMultistepScheduler`:
//! what the network says at the end of a step first corrects that step.

use super::plan::{Plan, Row, Source, Step};
use super::spacing::half_open;
use crate::schedule::Schedule;

/// # Errors
/// Too many steps.
pub(super) fn plan(schedule: &Schedule, steps: usize, by_karras: bool) -> Result<Plan, String> {
    let visits = half_open(schedule, steps, by_karras)?;
    let levels = &visits.levels;
    let clean = |i: usize| levels[i].clean_at(schedule.prediction(), i);
    let lambda = |i: usize| levels[i].log_signal_to_noise();
    // Where step i starts: the latents as corrected.
    let start = |i: usize| Row::from(if i == 0 { Source::Latents(0) } else { Source::Corrected(i) });
    // How far step i - 1 lies behind step i, in steps of i.
    let behind = |i: usize| (lambda(i - 1) - lambda(i)) / (lambda(i + 1) - lambda(i));
    let second_order = |i: usize| i > 0 && i + 1 < steps;

    let predicted = |i: usize| {
        let mut aim = clean(i);
        if second_order(i) {
            aim = aim + (clean(i - 1) - clean(i)) * (0.5 / behind(i));
        }
        levels[i].aimed(levels[i + 1], start(i), aim)
    };
    // The step from i, given what the network said at its end.
    let corrected = |i: usize| {
        let change = clean(i + 1) - clean(i);
        let bend = if second_order(i) {
            let [b1, b2] = moments(lambda(i + 1) - lambda(i));
            let before = (b1 - b2) / (1.0 - behind(i));
            (clean(i - 1) - clean(i)) * (before / behind(i)) + change * (b1 - before)
        } else {
            change * 0.5
        };
        levels[i].aimed(levels[i + 1], start(i), clean(i) + bend)
    };
    let step = |(i, &timestep): (usize, &f64)| Step {
        corrected: (i > 0).then(|| corrected(i - 1)),
        ..Step::plain(timestep, predicted(i))
    };
    Ok(Plan { initial_deviation: 1.0, steps: visits.timesteps.iter().enumerate().map(step).collect() })
}

/// The right-hand side of the corrector's equations: what h phi_2(-h) and 2 h phi_3(-h) are of B(h).
fn moments(h: f64) -> [f64; 2] {
    let b = (-h).exp_m1();
    let phi_2 = b / -h - 1.0;
    let phi_3 = phi_2 / -h - 0.5;
    [phi_2 / b, 2.0 * phi_3 / b]
}
