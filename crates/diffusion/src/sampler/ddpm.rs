//! Ancestral sampling (Ho et al. 2020, Eq. 6 and 7, with the smaller of the two variances), as in diffusers'
//! `DDPMScheduler` without clipping.

use super::noise_level::NoiseLevel;
use super::plan::{Combination, Operand, Plan, Step};
use super::spacing::{rounded, spaced};
use crate::config::Spacing;
use crate::schedule::Schedule;

pub(super) fn plan(schedule: &Schedule, steps: usize) -> Plan {
    let spacing = schedule.config().timestep_spacing.unwrap_or(Spacing::Leading);
    let timesteps = rounded(spaced(schedule, spacing, steps));
    let step = |(i, &t): (usize, &f64)| {
        let now = schedule.alpha_bar(t as usize);
        let next = timesteps.get(i + 1).map_or(1.0, |&t| schedule.alpha_bar(t as usize));
        let alpha = now / next;
        let clean = NoiseLevel::of_alpha_bar(now).clean_at(schedule.prediction(), i);
        let latents = Combination::from(Operand::Latents(i));
        let mean = clean * (next.sqrt() * (1.0 - alpha) / (1.0 - now))
            + latents * (alpha.sqrt() * (1.0 - next) / (1.0 - now));
        let variance = (1.0 - next) / (1.0 - now) * (1.0 - alpha);
        Step { added_noise: variance.sqrt(), ..Step::plain(t, mean) }
    };
    Plan { initial_deviation: 1.0, steps: timesteps.iter().enumerate().map(step).collect() }
}
