//! Euler's method with ancestral noise, as in diffusers' `EulerAncestralDiscreteScheduler`: each step goes to a lower noise
//! level than the next one and adds noise to reach it.

use super::euler::{euler_step, initial_deviation, timesteps_and_sigmas};
use super::plan::{Plan, Step};
use crate::schedule::Schedule;

pub(super) fn plan(schedule: &Schedule, steps: usize) -> Plan {
    let points = timesteps_and_sigmas(schedule, steps);
    let step = |i: usize| {
        let (_, now) = points[i];
        let next = points.get(i + 1).map_or(0.0, |&(_, sigma)| sigma);
        let down = next * next / now;
        let up = (next * next - down * down).max(0.0).sqrt();
        Step { added_noise: up, ..euler_step(schedule, i, points[i], down) }
    };
    Plan { initial_deviation: initial_deviation(schedule, &points), steps: (0..steps).map(step).collect() }
}
