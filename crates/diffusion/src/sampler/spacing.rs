//! Which timesteps a sampler visits, and the noise levels there. Products and sums stand in numpy's order, since its
//! rounding decides timesteps that fall half way between two.

use super::level::Level;
use crate::config::Spacing;
use crate::schedule::Schedule;

/// The timesteps of a spacing, noisiest first. Always as many as asked: for 61, 103 and some more steps diffusers'
/// trailing spacing has one too many, at -1.
pub(super) fn spaced(schedule: &Schedule, spacing: Spacing, steps: usize) -> Vec<f64> {
    let n = schedule.timesteps();
    let offset = schedule.config().steps_offset;
    match spacing {
        Spacing::Leading => {
            let timestep = |i: usize| (i * (n / steps)).saturating_add(offset).min(n - 1);
            (0..steps).rev().map(|i| timestep(i) as f64).collect()
        }
        Spacing::Trailing => {
            let start = n as f64;
            let stride = (start - start / steps as f64) - start;
            (0..steps).map(|i| (start + i as f64 * stride).round_ties_even() - 1.0).collect()
        }
        Spacing::Linspace => linspace(0.0, (n - 1) as f64, steps).into_iter().rev().collect(),
    }
}

/// For samplers that visit whole timesteps only.
pub(super) fn whole(timesteps: Vec<f64>) -> Vec<f64> {
    timesteps.into_iter().map(f64::round_ties_even).collect()
}

/// Whole timesteps, and the levels there and at the end, where no noise is left.
pub(super) struct HalfOpen {
    pub(super) timesteps: Vec<f64>,
    pub(super) levels: Vec<Level>,
}

/// As DPM++ and UniPC space them: leading and linspace leave out their last timestep, since the end is at no noise.
///
/// # Errors
/// Two levels are the same, so many steps are asked for.
pub(super) fn half_open(schedule: &Schedule, steps: usize, by_karras: bool) -> Result<HalfOpen, String> {
    let (timesteps, mut sigmas): (Vec<f64>, Vec<f64>) = if by_karras {
        let [largest, smallest] = [schedule.timesteps() - 1, 0].map(|t| sigma_at(schedule, t as f64));
        let sigmas = karras(largest, smallest, steps);
        (whole(sigmas.iter().map(|&sigma| timestep_at(schedule, sigma)).collect()), sigmas)
    } else {
        let spacing = schedule.config().timestep_spacing.unwrap_or(Spacing::Linspace);
        let more = if spacing == Spacing::Trailing { steps } else { steps + 1 };
        let mut timesteps = whole(spaced(schedule, spacing, more));
        timesteps.truncate(steps);
        let sigmas = timesteps.iter().map(|&t| sigma_at(schedule, t)).collect();
        (timesteps, sigmas)
    };
    sigmas.push(0.0);
    if sigmas.windows(2).any(|pair| pair[0] <= pair[1]) {
        return Err("visit a noise level twice with this sampler and spacing: use fewer".to_owned());
    }
    Ok(HalfOpen { timesteps, levels: sigmas.into_iter().map(Level::of_sigma).collect() })
}

/// Noise per signal at a timestep, between whole ones by a straight line.
pub(super) fn sigma_at(schedule: &Schedule, timestep: f64) -> f64 {
    let sigma = |t: usize| (1.0 / schedule.signal_to_noise(t)).sqrt();
    let (below, share) = (timestep.floor() as usize, timestep.fract());
    let above = (below + 1).min(schedule.timesteps() - 1);
    sigma(below) * (1.0 - share) + sigma(above) * share
}

/// The timestep with so much noise per signal, between whole ones by a straight line in its logarithm.
pub(super) fn timestep_at(schedule: &Schedule, sigma: f64) -> f64 {
    let log = |t: usize| -0.5 * schedule.signal_to_noise(t).ln();
    let sought = sigma.ln();
    let below = (0..schedule.timesteps() - 1).rev().find(|&t| log(t) <= sought).unwrap_or(0);
    let share = (log(below) - sought) / (log(below) - log(below + 1));
    below as f64 + share.clamp(0.0, 1.0)
}

/// Noise levels that lie closer together the smaller they are (Karras et al. 2022, Eq. 5 with rho 7).
pub(super) fn karras(largest: f64, smallest: f64, steps: usize) -> Vec<f64> {
    let rho = 7.0;
    let (from, to) = (largest.powf(1.0 / rho), smallest.powf(1.0 / rho));
    linspace(0.0, 1.0, steps).into_iter().map(|ramp| (from + ramp * (to - from)).powf(rho)).collect()
}

/// numpy's: the last is exact.
fn linspace(first: f64, last: f64, count: usize) -> Vec<f64> {
    let stride = (last - first) / (count.max(2) - 1) as f64;
    (0..count).map(|i| if i > 0 && i + 1 == count { last } else { first + i as f64 * stride }).collect()
}
