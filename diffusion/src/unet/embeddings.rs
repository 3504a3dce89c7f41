//! What the network is told of the noise level.

use crate::Result;
use crate::config::UnetConfig;
use crate::nn::{Activation, Linear};
use crate::weights::Scope;
use candle_core::{D, Tensor};

/// Sinusoids of the timestep, then two linear layers.
#[derive(Debug)]
pub(super) struct TimeEmbedding {
    linear_1: Linear,
    linear_2: Linear,
    width: usize,
    cosine_first: bool,
    shift: f64,
}

impl TimeEmbedding {
    pub(super) fn new(scope: &Scope<'_>, config: &UnetConfig) -> Result<Self> {
        let width = config.block_out_channels[0];
        Ok(Self {
            linear_1: Linear::new(&scope.at("linear_1"), width, 4 * width)?,
            linear_2: Linear::new(&scope.at("linear_2"), 4 * width, 4 * width)?,
            width,
            cosine_first: config.flip_sin_to_cos,
            shift: config.freq_shift,
        })
    }

    /// (batch) to (batch, 4 width), already through the SiLU that every residual block would apply first.
    pub(super) fn forward(&self, timesteps: &Tensor) -> Result<Tensor> {
        let half = self.width / 2;
        let step = -(10_000f64.ln()) / (half as f64 - self.shift);
        let frequencies: Vec<f32> = (0..half).map(|i| (step * i as f64).exp() as f32).collect();
        let frequencies = Tensor::from_vec(frequencies, (1, half), timesteps.device())?;
        let angle = timesteps.unsqueeze(1)?.broadcast_mul(&frequencies)?;
        let (sine, cosine) = (angle.sin()?, angle.cos()?);
        let waves = if self.cosine_first { [cosine, sine] } else { [sine, cosine] };
        let waves = Tensor::cat(&waves, D::Minus1)?;
        let hidden = Activation::Silu.apply(&self.linear_1.forward(&waves)?)?;
        Ok(Activation::Silu.apply(&self.linear_2.forward(&hidden)?)?)
    }
}
