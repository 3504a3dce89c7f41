//! The noise schedule of training: how much of a latent is left at each timestep.

use crate::config::{Prediction, ScheduleConfig};
use crate::{Error, Result};
use candle_core::Tensor;
use std::path::Path;

/// abar_t for every timestep t, and what the network predicts.
#[derive(Clone, Debug)]
pub struct Schedule {
    cumulative: Vec<f64>,
    prediction: Prediction,
    config: ScheduleConfig,
}

impl Schedule {
    /// # Errors
    /// A schedule that is not supported.
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
        let cumulative = betas
            .into_iter()
            .map(|beta| {
                product *= 1.0 - beta;
                product
            })
            .collect();
        Ok(Self { cumulative, prediction: config.prediction_type, config })
    }

    /// Reads `scheduler_config.json`.
    ///
    /// # Errors
    /// It cannot be read or is not supported.
    pub fn load(file: &Path) -> Result<Self> {
        Self::new(ScheduleConfig::read(file)?, file)
    }

    /// The number of timesteps.
    #[must_use]
    pub fn timesteps(&self) -> usize {
        self.cumulative.len()
    }

    /// abar_t: the share of the latent's variance that is left at timestep t.
    #[must_use]
    pub fn alpha_bar(&self, t: usize) -> f64 {
        self.cumulative[t]
    }

    /// abar_t / (1 - abar_t).
    #[must_use]
    pub fn signal_to_noise(&self, t: usize) -> f64 {
        self.cumulative[t] / (1.0 - self.cumulative[t])
    }

    /// What the network predicts.
    #[must_use]
    pub fn prediction(&self) -> Prediction {
        self.prediction
    }

    /// What it was read from.
    #[must_use]
    pub fn config(&self) -> &ScheduleConfig {
        &self.config
    }

    /// sqrt(abar_t) latents + sqrt(1 - abar_t) noise, each sample at its own timestep
    /// (Eq. 5 with the square root that keeps the variance).
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn add_noise(&self, latents: &Tensor, noise: &Tensor, timesteps: &[usize]) -> Result<Tensor> {
        let (signal, level) = self.roots(latents, timesteps)?;
        Ok((latents.broadcast_mul(&signal)? + noise.broadcast_mul(&level)?)?)
    }

    /// What the network should predict: the noise, or v = sqrt(abar_t) noise - sqrt(1 - abar_t) latents.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn target(&self, latents: &Tensor, noise: &Tensor, timesteps: &[usize]) -> Result<Tensor> {
        match self.prediction {
            Prediction::Epsilon => Ok(noise.clone()),
            Prediction::VPrediction => {
                let (signal, level) = self.roots(latents, timesteps)?;
                Ok((noise.broadcast_mul(&signal)? - latents.broadcast_mul(&level)?)?)
            }
        }
    }

    /// sqrt(abar_t) and sqrt(1 - abar_t), shaped (batch, 1, 1, 1).
    fn roots(&self, like: &Tensor, timesteps: &[usize]) -> Result<(Tensor, Tensor)> {
        let column = |f: &dyn Fn(f64) -> f64| {
            let values: Vec<f32> = timesteps.iter().map(|&t| f(self.cumulative[t]).sqrt() as f32).collect();
            Tensor::from_vec(values, (timesteps.len(), 1, 1, 1), like.device())?.to_dtype(like.dtype())
        };
        Ok((column(&|a| a)?, column(&|a| 1.0 - a)?))
    }
}
