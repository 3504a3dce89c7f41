//! PNDM (Liu et al. 2022) with linear multistep from the first step on, as in diffusers' `PNDMScheduler` with
//! `skip_prk_steps`: DDIM with a prediction extrapolated from the last four. The first step is repeated with the mean of the
//! predictions at both ends, so there is one evaluation more than steps.

use super::ddim::levels;
use super::plan::{Combination, Operand, Plan, Step};
use super::spacing::{rounded, spaced};
use crate::config::Spacing;
use crate::schedule::Schedule;

/// Adams-Bashforth coefficients, latest prediction first, for 1 to 4 predictions.
const WEIGHTS: [&[f64]; 4] = [
    &[1.0],
    &[3.0 / 2.0, -1.0 / 2.0],
    &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
    &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
];

pub(super) fn plan(schedule: &Schedule, steps: usize) -> Plan {
    let spacing = schedule.config().timestep_spacing.unwrap_or(Spacing::Leading);
    let stride = (schedule.timesteps() / steps) as f64;
    let level = levels(schedule, false);
    let mut timesteps = rounded(spaced(schedule, spacing, steps));
    if let Some(&second) = timesteps.get(1) {
        timesteps.insert(1, second);
    }
    let prediction = |i: usize| Combination::from(Operand::Prediction(i));
    let step = |(i, &t): (usize, &f64)| {
        let (from, to, start, prediction) = match i {
            // Repeats the first step, now that the prediction at its end is known.
            1 => (t + stride, t, 0, (prediction(0) + prediction(1)) * 0.5),
            _ => (t, t - stride, i, extrapolated(i)),
        };
        let latents = Combination::from(Operand::Latents(start));
        Step::plain(t, level(from).ddim_step(level(to), schedule.prediction(), latents, prediction))
    };
    Plan { initial_deviation: 1.0, steps: timesteps.iter().enumerate().map(step).collect() }
}

/// Extrapolates from the prediction of evaluation `i` and up to three before it, without that of evaluation 1.
fn extrapolated(i: usize) -> Combination {
    let known: Vec<usize> = (0..=i).rev().filter(|&j| j != 1).take(WEIGHTS.len()).collect();
    let terms = known.iter().zip(WEIGHTS[known.len() - 1]);
    Combination(terms.map(|(&j, &weight)| (Operand::Prediction(j), weight)).collect())
}
