//! The noise schedule of training: how much signal and noise latents have at each timestep.

use crate::config::{Prediction, ScheduleConfig};
use crate::{Error, Result};
use candle_core::Tensor;
use std::path::Path;

/// A noise schedule: abar_t for every timestep t (Ho et al. 2020), and the quantity that the network predicts.
#[derive(Clone, Debug)]
pub struct Schedule {
    alpha_bars: Vec<f64>,
    prediction: Prediction,
    config: ScheduleConfig,
}

impl Schedule {
    /// Computes the schedule that a config describes. `file` is for error messages.
    ///
    /// # Errors
    /// Fails if the config is invalid or not supported.
    pub fn new(config: ScheduleConfig, file: &Path) -> Result<Self> {
        let n = config.num_train_timesteps;
        if n < 2 {
            return Err(Error::format(file, "num_train_timesteps: needs at least 2"));
        }
        for (field, beta) in [("beta_start", config.beta_start), ("beta_end", config.beta_end)] {
            if !(beta > 0.0 && beta < 1.0) {
                return Err(Error::format(file, format!("{field}: {beta} is not between 0 and 1")));
            }
        }
        let between = |a: f64, b: f64| (0..n).map(move |i| a + (b - a) * i as f64 / (n - 1) as f64);
        let betas: Vec<f64> = match config.beta_schedule.as_str() {
            "linear" => between(config.beta_start, config.beta_end).collect(),
            "scaled_linear" => {
                between(config.beta_start.sqrt(), config.beta_end.sqrt()).map(|b| b * b).collect()
            }
            other => return Err(Error::format(file, format!("beta_schedule: {other} is not supported"))),
        };
        let mut product = 1.0;
        let mut alpha_bars: Vec<f64> = betas
            .into_iter()
            .map(|beta| {
                product *= 1.0 - beta;
                product
            })
            .collect();
        if config.ends_without_signal() {
            if config.prediction_type == Prediction::Epsilon {
                let problem = "rescale_betas_zero_snr: true needs prediction_type v_prediction: the last timestep has no signal, \
                               and the noise of latents that are nothing but noise says nothing about the image";
                return Err(Error::format(file, problem));
            }
            remove_last_signal(&mut alpha_bars);
        }
        Ok(Self { alpha_bars, prediction: config.prediction_type, config })
    }

    /// Reads `scheduler_config.json`.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is not supported.
    pub fn load(file: &Path) -> Result<Self> {
        Self::new(ScheduleConfig::read(file)?, file)
    }

    /// The number of timesteps.
    #[must_use]
    pub fn timesteps(&self) -> usize {
        self.alpha_bars.len()
    }

    /// abar_t: the share of the latents in the variance of the noisy latents at timestep t.
    #[must_use]
    pub fn alpha_bar(&self, t: usize) -> f64 {
        self.alpha_bars[t]
    }

    /// The signal-to-noise ratio at timestep t: abar_t / (1 - abar_t); 0 at the last timestep of rescaled betas.
    #[must_use]
    pub fn signal_to_noise(&self, t: usize) -> f64 {
        self.alpha_bars[t] / (1.0 - self.alpha_bars[t])
    }

    /// The quantity that the network predicts.
    #[must_use]
    pub fn prediction(&self) -> Prediction {
        self.prediction
    }

    /// The config of the schedule.
    #[must_use]
    pub fn config(&self) -> &ScheduleConfig {
        &self.config
    }

    /// Noisy latents, each sample at its own timestep: sqrt(abar_t) latents + sqrt(1 - abar_t) noise (Ho et al. 2020, Eq. 4).
    ///
    /// # Errors
    /// Fails if the shapes do not fit.
    pub fn add_noise(&self, latents: &Tensor, noise: &Tensor, timesteps: &[usize]) -> Result<Tensor> {
        let (signal, noise_level) = self.signal_and_noise(latents, timesteps)?;
        Ok((latents.broadcast_mul(&signal)? + noise.broadcast_mul(&noise_level)?)?)
    }

    /// The quantity that the network should predict: the noise, or the velocity v = sqrt(abar_t) noise - sqrt(1 - abar_t)
    /// latents (Salimans and Ho 2022).
    ///
    /// # Errors
    /// Fails if the shapes do not fit.
    pub fn target(&self, latents: &Tensor, noise: &Tensor, timesteps: &[usize]) -> Result<Tensor> {
        match self.prediction {
            Prediction::Epsilon => Ok(noise.clone()),
            Prediction::VPrediction => {
                let (signal, noise_level) = self.signal_and_noise(latents, timesteps)?;
                Ok((noise.broadcast_mul(&signal)? - latents.broadcast_mul(&noise_level)?)?)
            }
        }
    }

    /// sqrt(abar_t) and sqrt(1 - abar_t), shaped (batch, 1, 1, 1).
    fn signal_and_noise(&self, like: &Tensor, timesteps: &[usize]) -> Result<(Tensor, Tensor)> {
        let column = |f: &dyn Fn(f64) -> f64| {
            let values: Vec<f32> = timesteps.iter().map(|&t| f(self.alpha_bars[t]).sqrt() as f32).collect();
            Tensor::from_vec(values, (timesteps.len(), 1, 1, 1), like.device())?.to_dtype(like.dtype())
        };
        Ok((column(&|a| a)?, column(&|a| 1.0 - a)?))
    }
}

/// Shifts and scales sqrt(abar) so that it is 0 at the last timestep and unchanged at the first (Lin et al. 2023, Algorithm 1).
fn remove_last_signal(alpha_bars: &mut [f64]) {
    let [first, last] =
        [alpha_bars.first(), alpha_bars.last()].map(|abar| abar.map_or(0.0, |abar| abar.sqrt()));
    for abar in alpha_bars {
        *abar = ((abar.sqrt() - last) * (first / (first - last))).powi(2);
    }
}
