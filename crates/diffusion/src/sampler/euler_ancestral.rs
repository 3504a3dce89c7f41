//! Euler's method with ancestral noise, as diffusers' `EulerAncestralDiscreteScheduler`: each step goes further down
//! than it has to and is brought back up by fresh noise.

use super::euler::{initial_deviation, towards, visits};
use super::plan::{Plan, Step};
use crate::schedule::Schedule;

pub(super) fn plan(schedule: &Schedule, steps: usize) -> Plan {
    let visits = visits(schedule, steps);
    let step = |i: usize| {
        let (_, now) = visits[i];
        let next = visits.get(i + 1).map_or(0.0, |&(_, sigma)| sigma);
        let down = next * next / now;
        let up = (next * next - down * down).max(0.0).sqrt();
        Step { fresh_noise: up, ..towards(schedule, i, visits[i], down) }
    };
    Plan { initial_deviation: initial_deviation(schedule, &visits), steps: (0..steps).map(step).collect() }
}
