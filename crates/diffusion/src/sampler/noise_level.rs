//! A noise level, and the clean latents and noise that a prediction at this level implies.

use super::plan::{Combination, Operand};
use crate::config::Prediction;

/// The coefficients of noisy latents = signal * clean latents + noise * standard normal noise, with signal^2 + noise^2 = 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoiseLevel {
    pub(super) signal: f64,
    pub(super) noise: f64,
}

impl NoiseLevel {
    pub(super) fn of_alpha_bar(alpha_bar: f64) -> Self {
        Self { signal: alpha_bar.sqrt(), noise: (1.0 - alpha_bar).sqrt() }
    }

    /// The level with the ratio `sigma` of noise to signal.
    pub(super) fn of_sigma(sigma: f64) -> Self {
        let signal = 1.0 / (sigma * sigma + 1.0).sqrt();
        Self { signal, noise: sigma * signal }
    }

    /// lambda of the DPM-Solver papers, the logarithm of signal over noise; infinite without noise.
    pub(super) fn lambda(self) -> f64 {
        (self.signal / self.noise).ln()
    }

    /// The latents at level `to`, given `latents` at this level and clean latents that are constant in between (Lu et al. 2022,
    /// Eq. 8).
    pub(super) fn step_toward(self, to: Self, latents: Combination, clean: Combination) -> Combination {
        let ratio = to.noise / self.noise;
        latents * ratio + clean * (to.signal - self.signal * ratio)
    }

    /// The clean latents that a prediction implies.
    pub(super) fn clean(
        self,
        meaning: Prediction,
        latents: Combination,
        prediction: Combination,
    ) -> Combination {
        match meaning {
            Prediction::Epsilon => (latents - prediction * self.noise) * (1.0 / self.signal),
            Prediction::VPrediction => latents * self.signal - prediction * self.noise,
        }
    }

    /// [`NoiseLevel::clean`] for the latents and the prediction of step `i`.
    pub(super) fn clean_at(self, meaning: Prediction, i: usize) -> Combination {
        self.clean(meaning, Operand::Latents(i).into(), Operand::Prediction(i).into())
    }

    /// The noise that a prediction implies.
    fn noise(self, meaning: Prediction, latents: Combination, prediction: Combination) -> Combination {
        match meaning {
            Prediction::Epsilon => prediction,
            Prediction::VPrediction => prediction * self.signal + latents * self.noise,
        }
    }

    /// The latents at level `to` with the same clean latents and the same noise (Song et al. 2021, Eq. 12 with sigma 0).
    pub(super) fn ddim_step(
        self,
        to: Self,
        meaning: Prediction,
        latents: Combination,
        prediction: Combination,
    ) -> Combination {
        let clean = self.clean(meaning, latents.clone(), prediction.clone());
        clean * to.signal + self.noise(meaning, latents, prediction) * to.noise
    }
}
