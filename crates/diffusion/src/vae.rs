//! The autoencoder (diffusers' `AutoencoderKL`, with its weight names), which converts images to latents and back.

use crate::Result;
use crate::config::VaeConfig;
use crate::nn::{
    AttentionShape, Conv2d, GroupNorm, Linear, attention, residual, transpose, upsample_nearest,
};
use crate::noise::Noise;
use crate::unet::{ResnetBlock, ResnetShape};
use crate::weights::{Parameters, PartFiles, Scope, Stem, StoredWeights, Variables};
use candle_core::{DType, Device, Tensor};
use std::path::Path;

/// A variational autoencoder.
#[derive(Debug)]
pub struct Autoencoder {
    encoder: Encoder,
    quant: Option<Conv2d>,
    post_quant: Option<Conv2d>,
    decoder: Decoder,
    config: VaeConfig,
}

/// The encoder's output: a diagonal normal distribution over the latents of an image, not scaled.
#[derive(Debug)]
pub struct Posterior {
    /// The mean, (batch, channels, height, width).
    pub mean: Tensor,
    /// The logarithm of the variance, in the same shape, clamped to [-30, 20] as in diffusers.
    pub log_variance: Tensor,
}

impl Posterior {
    /// Draws latents from the distribution.
    ///
    /// # Errors
    /// Fails if a tensor operation does.
    pub fn sample(&self, noise: &mut Noise) -> Result<Tensor> {
        let draw = noise.normal_tensor(self.mean.shape().clone(), self.mean.device())?;
        Ok((&self.mean + ((&self.log_variance * 0.5)?.exp()? * draw)?)?)
    }
}

impl Autoencoder {
    /// Builds the network that the config describes from its parameters.
    ///
    /// # Errors
    /// Fails if a parameter is missing or has another shape.
    pub fn new(scope: &Scope<'_>, config: VaeConfig) -> Result<Self> {
        let latent = config.latent_channels;
        let pointwise = |on: bool, name: &str, channels: usize| {
            on.then(|| Conv2d::new(&scope.at(name), channels, channels, 1, 1, 0)).transpose()
        };
        Ok(Self {
            encoder: Encoder::new(&scope.at("encoder"), &config)?,
            quant: pointwise(config.use_quant_conv, "quant_conv", 2 * latent)?,
            post_quant: pointwise(config.use_post_quant_conv, "post_quant_conv", latent)?,
            decoder: Decoder::new(&scope.at("decoder"), &config)?,
            config,
        })
    }

    /// Loads `config.json` and the weights of `folder`. The returned variables are empty unless `trainable`.
    ///
    /// # Errors
    /// Fails if a file cannot be read, a setting is not supported, or a tensor is missing, superfluous or of another shape.
    pub fn load(folder: &Path, device: &Device, trainable: bool) -> Result<(Self, Variables)> {
        let config = VaeConfig::read(&folder.join("config.json"))?;
        let stored = Self::rename(StoredWeights::open(&PartFiles::locate(folder, Stem::NETWORK)?)?)?;
        Parameters::from_stored(stored, device, DType::F32, trainable)
            .build(|scope| Self::new(scope, config.clone()))
    }

    /// Renames the tensors of old files to their current names.
    ///
    /// # Errors
    /// Fails if two tensors get the same name.
    pub fn rename(stored: StoredWeights) -> Result<StoredWeights> {
        stored.rename(current_name)
    }

    /// The config of the network.
    #[must_use]
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// Encodes `images`, (batch, 3, height, width) from -1 to 1. The latents are not scaled.
    ///
    /// # Errors
    /// Fails if the shapes do not fit.
    pub fn encode(&self, images: &Tensor) -> Result<Posterior> {
        let mut moments = self.encoder.forward(images)?;
        if let Some(quant) = &self.quant {
            moments = quant.forward(&moments)?;
        }
        let halves = moments.chunk(2, 1)?;
        Ok(Posterior {
            mean: halves[0].contiguous()?,
            log_variance: halves[1].contiguous()?.clamp(-30.0, 20.0)?,
        })
    }

    /// Decodes `latents`, (batch, channels, height, width), not scaled, to images from about -1 to 1.
    ///
    /// # Errors
    /// Fails if the shapes do not fit.
    pub fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        match &self.post_quant {
            Some(post_quant) => self.decoder.forward(&post_quant.forward(latents)?),
            None => self.decoder.forward(latents),
        }
    }
}

/// The attention layers as diffusers named them before version 0.17, and their current names.
const RENAMED: [(&str, &str); 4] =
    [("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")];

fn current_name(name: &str) -> String {
    const ATTENTION: &str = ".mid_block.attentions.0.";
    let new = RENAMED.iter().find_map(|(old, new)| {
        let (before, after) = name.split_once(&format!("{ATTENTION}{old}."))?;
        Some(format!("{before}{ATTENTION}{new}.{after}"))
    });
    new.unwrap_or_else(|| name.to_owned())
}

fn resnet(config: &VaeConfig, inputs: usize, outputs: usize) -> ResnetShape {
    ResnetShape { inputs, outputs, time: None, groups: config.norm_num_groups, epsilon: 1e-6 }
}

/// The `count` residual blocks of an encoder or decoder block.
fn resnets(
    scope: &Scope<'_>,
    config: &VaeConfig,
    count: usize,
    inputs: usize,
    outputs: usize,
) -> Result<Vec<ResnetBlock>> {
    (0..count)
        .map(|j| {
            let shape = resnet(config, if j == 0 { inputs } else { outputs }, outputs);
            ResnetBlock::new(&scope.at(format!("resnets.{j}")), shape)
        })
        .collect()
}

#[derive(Debug)]
struct Encoder {
    conv_in: Conv2d,
    /// For each resolution its residual blocks and, except in the last, its downsampling.
    down: Vec<(Vec<ResnetBlock>, Option<Conv2d>)>,
    mid: Middle,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    fn new(scope: &Scope<'_>, config: &VaeConfig) -> Result<Self> {
        let channels = &config.block_out_channels;
        let last = channels[channels.len() - 1];
        let mut before = channels[0];
        let mut down = Vec::new();
        for (i, &outputs) in channels.iter().enumerate() {
            let scope = scope.at(format!("down_blocks.{i}"));
            let blocks = resnets(&scope, config, config.layers_per_block, before, outputs)?;
            let downsample = (i + 1 < channels.len())
                .then(|| Conv2d::new(&scope.at("downsamplers.0.conv"), outputs, outputs, 3, 2, 0))
                .transpose()?;
            down.push((blocks, downsample));
            before = outputs;
        }
        Ok(Self {
            conv_in: Conv2d::new(&scope.at("conv_in"), config.in_channels, channels[0], 3, 1, 1)?,
            down,
            mid: Middle::new(&scope.at("mid_block"), config, last)?,
            norm_out: GroupNorm::new(&scope.at("conv_norm_out"), last, config.norm_num_groups, 1e-6)?,
            conv_out: Conv2d::new(&scope.at("conv_out"), last, 2 * config.latent_channels, 3, 1, 1)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = self.conv_in.forward(x)?;
        for (blocks, downsample) in &self.down {
            for block in blocks {
                x = block.forward(&x, None)?;
            }
            if let Some(downsample) = downsample {
                // Unlike the UNet, the encoder pads only on the right and at the bottom.
                x = downsample.forward(&x.pad_with_zeros(2, 0, 1)?.pad_with_zeros(3, 0, 1)?)?;
            }
        }
        self.conv_out.forward(&self.norm_out.forward_silu(&self.mid.forward(&x)?)?)
    }
}

#[derive(Debug)]
struct Decoder {
    conv_in: Conv2d,
    mid: Middle,
    /// For each resolution its residual blocks and, except in the last, the convolution after its upsampling.
    up: Vec<(Vec<ResnetBlock>, Option<Conv2d>)>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    fn new(scope: &Scope<'_>, config: &VaeConfig) -> Result<Self> {
        let channels = &config.block_out_channels;
        let last = channels[channels.len() - 1];
        let mut before = last;
        let mut up = Vec::new();
        for (i, &outputs) in channels.iter().rev().enumerate() {
            let scope = scope.at(format!("up_blocks.{i}"));
            let blocks = resnets(&scope, config, config.layers_per_block + 1, before, outputs)?;
            let upsample = (i + 1 < channels.len())
                .then(|| Conv2d::new(&scope.at("upsamplers.0.conv"), outputs, outputs, 3, 1, 1))
                .transpose()?;
            up.push((blocks, upsample));
            before = outputs;
        }
        Ok(Self {
            conv_in: Conv2d::new(&scope.at("conv_in"), config.latent_channels, last, 3, 1, 1)?,
            mid: Middle::new(&scope.at("mid_block"), config, last)?,
            up,
            norm_out: GroupNorm::new(&scope.at("conv_norm_out"), channels[0], config.norm_num_groups, 1e-6)?,
            conv_out: Conv2d::new(&scope.at("conv_out"), channels[0], config.out_channels, 3, 1, 1)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = self.mid.forward(&self.conv_in.forward(x)?)?;
        for (blocks, upsample) in &self.up {
            for block in blocks {
                x = block.forward(&x, None)?;
            }
            if let Some(upsample) = upsample {
                let (_, _, height, width) = x.dims4()?;
                x = upsample.forward(&upsample_nearest(&x, 2 * height, 2 * width)?)?;
            }
        }
        self.conv_out.forward(&self.norm_out.forward_silu(&x)?)
    }
}

/// The middle block: residual block, attention (if any), residual block.
#[derive(Debug)]
struct Middle {
    first: ResnetBlock,
    attention: Option<PixelAttention>,
    last: ResnetBlock,
}

impl Middle {
    fn new(scope: &Scope<'_>, config: &VaeConfig, channels: usize) -> Result<Self> {
        let shape = resnet(config, channels, channels);
        Ok(Self {
            first: ResnetBlock::new(&scope.at("resnets.0"), shape)?,
            attention: config
                .mid_block_add_attention
                .then(|| PixelAttention::new(&scope.at("attentions.0"), channels, config.norm_num_groups))
                .transpose()?,
            last: ResnetBlock::new(&scope.at("resnets.1"), shape)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = self.first.forward(x, None)?;
        if let Some(attention) = &self.attention {
            x = attention.forward(&x)?;
        }
        self.last.forward(&x, None)
    }
}

/// Self-attention over all pixels with one head.
#[derive(Debug)]
struct PixelAttention {
    norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

impl PixelAttention {
    fn new(scope: &Scope<'_>, channels: usize, groups: usize) -> Result<Self> {
        let linear = |name: &str| Linear::new(&scope.at(name), channels, channels);
        Ok(Self {
            norm: GroupNorm::new(&scope.at("group_norm"), channels, groups, 1e-6)?,
            to_q: linear("to_q")?,
            to_k: linear("to_k")?,
            to_v: linear("to_v")?,
            to_out: linear("to_out.0")?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, channels, height, width) = x.dims4()?;
        let h = transpose(&self.norm.forward(x)?.reshape((batch, channels, height * width))?)?;
        let (q, k, v) = (self.to_q.forward(&h)?, self.to_k.forward(&h)?, self.to_v.forward(&h)?);
        let h = attention(&q, &k, &v, AttentionShape { heads: 1, causal: false })?;
        let h = transpose(&self.to_out.forward(&h)?)?;
        Ok(residual(x, &h.reshape((batch, channels, height, width))?)?)
    }
}
