//! The timesteps that a sampler visits, and the noise levels there. Operations have the same order as in diffusers' numpy code,
//! because rounding errors decide between two timesteps where the exact value is halfway.

use super::noise_level::NoiseLevel;
use crate::config::Spacing;
use crate::schedule::Schedule;

/// The timesteps of a spacing, noisiest first. Always returns `steps` timesteps; diffusers' trailing spacing has an additional
/// one, -1, for 61, 103 and some other numbers of steps.
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

/// Rounds timesteps to whole numbers.
pub(super) fn rounded(timesteps: Vec<f64>) -> Vec<f64> {
    timesteps.into_iter().map(f64::round_ties_even).collect()
}

/// Whole timesteps with their noise levels, and the level at the end, without noise.
pub(super) struct SolverSteps {
    pub(super) timesteps: Vec<f64>,
    pub(super) levels: Vec<NoiseLevel>,
}

/// The timesteps of DPM-Solver++ and UniPC. Leading and linspace spacing omit their last timestep, because the last step ends
/// without noise.
///
/// # Errors
/// Fails if there are so many steps that two levels are equal.
pub(super) fn solver_steps(
    schedule: &Schedule,
    steps: usize,
    karras_levels: bool,
) -> Result<SolverSteps, String> {
    let (timesteps, mut sigmas): (Vec<f64>, Vec<f64>) = if karras_levels {
        let [largest, smallest] = [schedule.timesteps() - 1, 0].map(|t| sigma_at(schedule, t as f64));
        let sigmas = karras(largest, smallest, steps);
        (rounded(sigmas.iter().map(|&sigma| timestep_at(schedule, sigma)).collect()), sigmas)
    } else {
        let spacing = schedule.config().timestep_spacing.unwrap_or(Spacing::Linspace);
        let count = if spacing == Spacing::Trailing { steps } else { steps + 1 };
        let mut timesteps = rounded(spaced(schedule, spacing, count));
        timesteps.truncate(steps);
        let sigmas = timesteps.iter().map(|&t| sigma_at(schedule, t)).collect();
        (timesteps, sigmas)
    };
    sigmas.push(0.0);
    if sigmas.windows(2).any(|pair| pair[0] <= pair[1]) {
        return Err(
            "two steps have the same noise level with this sampler and spacing: use fewer steps".to_owned()
        );
    }
    Ok(SolverSteps { timesteps, levels: sigmas.into_iter().map(NoiseLevel::of_sigma).collect() })
}

/// abar of the last timestep of rescaled betas, where the ratio of noise to signal is infinite: diffusers' value in the
/// samplers that compute with that ratio.
const SMALLEST_ALPHA_BAR: f64 = 1.0 / 16_777_216.0;

/// The ratio of signal to noise at a whole timestep, never 0.
fn signal_to_noise(schedule: &Schedule, t: usize) -> f64 {
    let alpha_bar = schedule.alpha_bar(t);
    if alpha_bar > 0.0 {
        schedule.signal_to_noise(t)
    } else {
        SMALLEST_ALPHA_BAR / (1.0 - SMALLEST_ALPHA_BAR)
    }
}

/// The ratio of noise to signal at a timestep, linearly interpolated between whole timesteps.
pub(super) fn sigma_at(schedule: &Schedule, timestep: f64) -> f64 {
    let sigma = |t: usize| (1.0 / signal_to_noise(schedule, t)).sqrt();
    let (below, fraction) = (timestep.floor() as usize, timestep.fract());
    let above = (below + 1).min(schedule.timesteps() - 1);
    sigma(below) * (1.0 - fraction) + sigma(above) * fraction
}

/// The timestep with the ratio `sigma` of noise to signal, interpolated linearly in log sigma between whole timesteps.
pub(super) fn timestep_at(schedule: &Schedule, sigma: f64) -> f64 {
    let log_sigma = |t: usize| -0.5 * signal_to_noise(schedule, t).ln();
    let target = sigma.ln();
    let below = (0..schedule.timesteps() - 1).rev().find(|&t| log_sigma(t) <= target).unwrap_or(0);
    let fraction = (log_sigma(below) - target) / (log_sigma(below) - log_sigma(below + 1));
    below as f64 + fraction.clamp(0.0, 1.0)
}

/// Noise levels that are closer together the smaller they are (Karras et al. 2022, Eq. 5 with rho = 7).
pub(super) fn karras(largest: f64, smallest: f64, steps: usize) -> Vec<f64> {
    let rho = 7.0;
    let (from, to) = (largest.powf(1.0 / rho), smallest.powf(1.0 / rho));
    linspace(0.0, 1.0, steps).into_iter().map(|ramp| (from + ramp * (to - from)).powf(rho)).collect()
}

/// `count` evenly spaced values as in numpy, whose last value is exact.
fn linspace(first: f64, last: f64, count: usize) -> Vec<f64> {
    let stride = (last - first) / (count.max(2) - 1) as f64;
    (0..count).map(|i| if i > 0 && i + 1 == count { last } else { first + i as f64 * stride }).collect()
}
