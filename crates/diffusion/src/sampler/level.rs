//! A noise level, and what a prediction says about latents at it.

use super::plan::{Row, Source};
use crate::config::Prediction;

/// Latents are signal x clean + noise x standard normal values, with signal^2 + noise^2 = 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) signal: f64,
    pub(super) noise: f64,
}

impl Level {
    pub(super) fn of_alpha_bar(alpha_bar: f64) -> Self {
        Self { signal: alpha_bar.sqrt(), noise: (1.0 - alpha_bar).sqrt() }
    }

    /// The level of so much noise per signal.
    pub(super) fn of_sigma(sigma: f64) -> Self {
        let signal = 1.0 / (sigma * sigma + 1.0).sqrt();
        Self { signal, noise: sigma * signal }
    }

    /// lambda of the DPM-Solver papers: infinite without noise.
    pub(super) fn log_signal_to_noise(self) -> f64 {
        (self.signal / self.noise).ln()
    }

    /// Latents at another level, if the clean ones were `aim` all the way there (Lu et al. 2022, Eq. 8).
    pub(super) fn aimed(self, to: Self, latents: Row, aim: Row) -> Row {
        let share = to.noise / self.noise;
        latents * share + aim * (to.signal - self.signal * share)
    }

    /// The clean latents that a prediction implies.
    pub(super) fn clean(self, means: Prediction, latents: Row, prediction: Row) -> Row {
        match means {
            Prediction::Epsilon => (latents - prediction * self.noise) * (1.0 / self.signal),
            Prediction::VPrediction => latents * self.signal - prediction * self.noise,
        }
    }

    /// [`Level::clean`] of what the network saw and said at step `i`.
    pub(super) fn clean_at(self, means: Prediction, i: usize) -> Row {
        self.clean(means, Source::Latents(i).into(), Source::Prediction(i).into())
    }

    /// The noise that a prediction implies.
    fn noise(self, means: Prediction, latents: Row, prediction: Row) -> Row {
        match means {
            Prediction::Epsilon => prediction,
            Prediction::VPrediction => prediction * self.signal + latents * self.noise,
        }
    }

    /// The same clean latents with the same noise at another level (Song et al. 2021, Eq. 12 with sigma 0).
    pub(super) fn moved(self, to: Self, means: Prediction, latents: Row, prediction: Row) -> Row {
        let clean = self.clean(means, latents.clone(), prediction.clone());
        clean * to.signal + self.noise(means, latents, prediction) * to.noise
    }
}
