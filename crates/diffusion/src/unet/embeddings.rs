//! Embeddings of the timestep and, for SDXL, of pooled text and the sizes of the image.

use crate::config::UnetConfig;
use crate::nn::{Activation, Linear};
use crate::weights::Scope;
use crate::{Error, Result};
use candle_core::{D, Tensor};

/// Two linear layers with SiLU in between.
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
        // Sinusoidal embeddings are always f32; the layers compute in the type of their weights.
        let x = x.to_dtype(self.linear_1.dtype())?;
        self.linear_2.forward(&Activation::Silu.apply(&self.linear_1.forward(&x)?)?)
    }
}

/// Sinusoidal embeddings (Vaswani et al. 2017): sines and cosines of a number at decreasing frequencies.
#[derive(Debug)]
struct Sinusoids {
    frequencies: Vec<f32>,
    width: usize,
    cosine_first: bool,
}

impl Sinusoids {
    fn new(config: &UnetConfig, width: usize) -> Self {
        let half = width / 2;
        // In f32 and in this order of operations, as in diffusers: at timestep 999, the rounding of a frequency changes the
        // fifth digit of its sine.
        let step = -(10_000f64.ln()) as f32;
        let denominator = (half as f64 - config.freq_shift) as f32;
        let frequencies = (0..half).map(|i| (step * i as f32 / denominator).exp()).collect();
        Self { frequencies, width, cosine_first: config.flip_sin_to_cos }
    }

    /// Embeds numbers: (count) to (count, width), in `f32`.
    fn embed(&self, numbers: &Tensor) -> Result<Tensor> {
        let frequencies =
            Tensor::from_slice(&self.frequencies, (1, self.frequencies.len()), numbers.device())?;
        let angle = numbers.unsqueeze(1)?.broadcast_mul(&frequencies)?;
        let (sine, cosine) = (angle.sin()?, angle.cos()?);
        let halves = if self.cosine_first { [cosine, sine] } else { [sine, cosine] };
        let embedded = Tensor::cat(&halves, D::Minus1)?;
        Ok(if self.width % 2 == 1 { embedded.pad_with_zeros(D::Minus1, 0, 1)? } else { embedded })
    }
}

/// The sinusoidal embedding of the timestep, then two linear layers.
#[derive(Debug)]
pub(crate) struct TimeEmbedding {
    sinusoids: Sinusoids,
    perceptron: Perceptron,
}

impl TimeEmbedding {
    pub(crate) fn new(scope: &Scope<'_>, config: &UnetConfig) -> Result<Self> {
        let width = config.block_out_channels[0];
        Ok(Self {
            sinusoids: Sinusoids::new(config, width),
            perceptron: Perceptron::new(scope, width, config.time_width())?,
        })
    }

    /// Embeds timesteps: (batch) to (batch, width).
    pub(crate) fn forward(&self, timesteps: &Tensor) -> Result<Tensor> {
        self.perceptron.forward(&self.sinusoids.embed(timesteps)?)
    }
}

/// The conditioning that SDXL's UNet takes in addition to text states.
#[derive(Clone, Debug)]
pub struct AddedConditioning {
    /// The pooled state of the second text encoder, (batch, width).
    pub pooled: Tensor,
    /// Original height and width, top and left of the crop, target height and width: (batch, 6), `f32`.
    pub time_ids: Tensor,
}

impl AddedConditioning {
    /// Whether candle tracks gradients for one of the tensors.
    pub(super) fn track_op(&self) -> bool {
        self.pooled.track_op() || self.time_ids.track_op()
    }
}

/// Pooled text and the sinusoidal embeddings of the time ids, concatenated, then two linear layers.
#[derive(Debug)]
pub(super) struct AddedEmbedding {
    sinusoids: Sinusoids,
    perceptron: Perceptron,
    inputs: usize,
}

impl AddedEmbedding {
    /// `each`: width of the embedding of a time id; `inputs`: width of all of them and pooled text.
    pub(super) fn new(scope: &Scope<'_>, config: &UnetConfig, each: usize, inputs: usize) -> Result<Self> {
        let perceptron = Perceptron::new(scope, inputs, config.time_width())?;
        Ok(Self { sinusoids: Sinusoids::new(config, each), perceptron, inputs })
    }

    /// Returns (batch, width of the timestep embedding).
    pub(super) fn forward(&self, added: &AddedConditioning) -> Result<Tensor> {
        let (batch, ids) = added.time_ids.dims2()?;
        let (_, pooled) = added.pooled.dims2()?;
        if pooled + ids * self.sinusoids.width != self.inputs {
            return Err(Error::message(format!(
                "pooled text of width {pooled} and {ids} time ids of width {} do not add up to the UNet's \
                 projection_class_embeddings_input_dim, {}",
                self.sinusoids.width, self.inputs
            )));
        }
        let embedded = self.sinusoids.embed(&added.time_ids.flatten_all()?)?.reshape((batch, ()))?;
        let embedded = embedded.to_dtype(added.pooled.dtype())?;
        self.perceptron.forward(&Tensor::cat(&[added.pooled.clone(), embedded], 1)?)
    }
}
