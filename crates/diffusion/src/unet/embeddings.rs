//! What the network is told of the noise level and, by SDXL, of the image's size and the whole prompt.

use crate::config::UnetConfig;
use crate::nn::{Activation, Linear};
use crate::weights::Scope;
use crate::{Error, Result};
use candle_core::{D, Tensor};

/// Two linear layers with SiLU between.
#[derive(Debug)]
struct Perceptron {
    linear_1: Linear,
    linear_2: Linear,
}

impl Perceptron {
    fn new(scope: &Scope<'_>, inputs: usize, outputs: usize) -> Result<Self> {
        Ok(Self {
            linear_1: Linear::new(&scope.at("linear_1"), inputs, outputs)?,
            linear_2: Linear::new(&scope.at("linear_2"), outputs, outputs)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        // Sinusoids are f32 in every precision; the layers compute in their own.
        let x = x.to_dtype(self.linear_1.dtype())?;
        self.linear_2.forward(&Activation::Silu.apply(&self.linear_1.forward(&x)?)?)
    }
}

/// Sines and cosines of numbers at falling frequencies.
#[derive(Debug)]
struct Waves {
    frequencies: Vec<f32>,
    width: usize,
    cosine_first: bool,
}

impl Waves {
    fn new(config: &UnetConfig, width: usize) -> Self {
        let half = width / 2;
        // In f32 and in this order, as diffusers does in every precision: at timestep 999 the rounding of a frequency
        // shows in the fifth digit of its sine.
        let step = -(10_000f64.ln()) as f32;
        let denominator = (half as f64 - config.freq_shift) as f32;
        let frequencies = (0..half).map(|i| (step * i as f32 / denominator).exp()).collect();
        Self { frequencies, width, cosine_first: config.flip_sin_to_cos }
    }

    /// (count) to (count, width), in f32.
    fn of(&self, numbers: &Tensor) -> Result<Tensor> {
        let frequencies =
            Tensor::from_slice(&self.frequencies, (1, self.frequencies.len()), numbers.device())?;
        let angle = numbers.unsqueeze(1)?.broadcast_mul(&frequencies)?;
        let (sine, cosine) = (angle.sin()?, angle.cos()?);
        let waves = if self.cosine_first { [cosine, sine] } else { [sine, cosine] };
        let waves = Tensor::cat(&waves, D::Minus1)?;
        Ok(if self.width % 2 == 1 { waves.pad_with_zeros(D::Minus1, 0, 1)? } else { waves })
    }
}

/// Sinusoids of the timestep, then two linear layers.
#[derive(Debug)]
pub(crate) struct TimeEmbedding {
    waves: Waves,
    perceptron: Perceptron,
}

impl TimeEmbedding {
    pub(crate) fn new(scope: &Scope<'_>, config: &UnetConfig) -> Result<Self> {
        let width = config.block_out_channels[0];
        Ok(Self {
            waves: Waves::new(config, width),
            perceptron: Perceptron::new(scope, width, config.time_width())?,
        })
    }

    /// (batch) to (batch, width).
    pub(crate) fn forward(&self, timesteps: &Tensor) -> Result<Tensor> {
        self.perceptron.forward(&self.waves.of(timesteps)?)
    }
}

/// What SDXL's UNet is told beside the text: a vector for the whole prompt, and numbers about the image.
#[derive(Clone, Debug)]
pub struct Added {
    /// (batch, width): the second text encoder's pooled state.
    pub pooled: Tensor,
    /// (batch, ids), f32: original height and width, top and left of the crop, target height and width.
    pub time_ids: Tensor,
}

impl Added {
    pub(super) fn track_op(&self) -> bool {
        self.pooled.track_op() || self.time_ids.track_op()
    }
}

/// Pooled text and the time ids' sinusoids side by side, then two linear layers.
#[derive(Debug)]
pub(super) struct AddedEmbedding {
    waves: Waves,
    perceptron: Perceptron,
    inputs: usize,
}

impl AddedEmbedding {
    /// `each`: width of one time id's sinusoids; `inputs`: of all and pooled text.
    pub(super) fn new(scope: &Scope<'_>, config: &UnetConfig, each: usize, inputs: usize) -> Result<Self> {
        let perceptron = Perceptron::new(scope, inputs, config.time_width())?;
        Ok(Self { waves: Waves::new(config, each), perceptron, inputs })
    }

    /// (batch, width of the timestep embedding).
    pub(super) fn forward(&self, added: &Added) -> Result<Tensor> {
        let (batch, ids) = added.time_ids.dims2()?;
        let (_, pooled) = added.pooled.dims2()?;
        if pooled + ids * self.waves.width != self.inputs {
            return Err(Error::Candle(candle_core::Error::Msg(format!(
                "pooled text of width {pooled} and {ids} time ids of width {} do not make the {} of the UNet's \
                 projection_class_embeddings_input_dim",
                self.waves.width, self.inputs
            ))));
        }
        let waves = self.waves.of(&added.time_ids.flatten_all()?)?.reshape((batch, ()))?;
        let waves = waves.to_dtype(added.pooled.dtype())?;
        self.perceptron.forward(&Tensor::cat(&[added.pooled.clone(), waves], 1)?)
    }
}
