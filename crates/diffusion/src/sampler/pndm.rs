//! PNDM (Liu et al. 2022) by linear multistep from the first step on, as diffusers' `PNDMScheduler` with
//! `skip_prk_steps`: DDIM with a prediction extrapolated from the last four. The first step is done twice, the second
//! time with the mean of the predictions at both its ends, so there is one evaluation more than steps.

use super::ddim::levels;
use super::plan::{Plan, Row, Source, Step};
use super::spacing::{spaced, whole};
use crate::config::Spacing;
use crate::schedule::Schedule;

/// Adams-Bashforth weights, latest prediction first, by how many there are.
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
    let mut timesteps = whole(spaced(schedule, spacing, steps));
    if let Some(&second) = timesteps.get(1) {
        timesteps.insert(1, second);
    }
    let prediction = |i: usize| Row::from(Source::Prediction(i));
    let step = |(i, &t): (usize, &f64)| {
        let (from, to, start, prediction) = match i {
            // Once more from the start, now that the other end is known.
            1 => (t + stride, t, 0, (prediction(0) + prediction(1)) * 0.5),
            _ => (t, t - stride, i, extrapolated(i)),
        };
        let latents = Row::from(Source::Latents(start));
        Step::plain(t, level(from).moved(level(to), schedule.prediction(), latents, prediction))
    };
    Plan { initial_deviation: 1.0, steps: timesteps.iter().enumerate().map(step).collect() }
}

/// From the prediction of step `i` and up to three before it, that of step 1 left out.
fn extrapolated(i: usize) -> Row {
    let known: Vec<usize> = (0..=i).rev().filter(|&j| j != 1).take(WEIGHTS.len()).collect();
    let terms = known.iter().zip(WEIGHTS[known.len() - 1]);
    Row(terms.map(|(&j, &weight)| (Source::Prediction(j), weight)).collect())
}
