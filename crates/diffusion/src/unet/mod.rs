//! The UNet (diffusers' `UNet2DConditionModel`, with its weight names), which predicts the noise or velocity of latents.

mod attention;
mod blocks;
mod embeddings;
pub(crate) mod original_names;
mod resnet;

use crate::config::UnetConfig;
use crate::lora::Adapter;
use crate::nn::{Activation, Conv2d, GroupNorm};
use crate::tape::{BackwardMode, Pass, Tape};
use crate::weights::{Parameters, PartFiles, Scope, Stem, StoredWeights, Variables, Weights};
use crate::{Error, Result};
use blocks::UpBlock;
pub(crate) use blocks::{DownBlock, MidBlock};
use candle_core::{DType, Device, Tensor};
pub use embeddings::AddedConditioning;
use embeddings::AddedEmbedding;
pub(crate) use embeddings::TimeEmbedding;
pub(crate) use resnet::{ResnetBlock, ResnetShape};
use std::path::Path;

/// The name of the weights file that we write. [`Stem::NETWORK`] lists the names that are read.
pub const WEIGHTS_FILE: &str = "diffusion_pytorch_model.safetensors";

/// A UNet.
#[derive(Debug)]
pub struct Unet {
    conv_in: Conv2d,
    time: TimeEmbedding,
    added: Option<AddedEmbedding>,
    down: Vec<DownBlock>,
    mid: MidBlock,
    up: Vec<UpBlock>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
    config: UnetConfig,
}

/// The states that a ControlNet adds to those of a UNet.
#[derive(Clone, Debug)]
pub struct Residuals {
    /// For each skip connection, starting with that of the first convolution.
    pub down: Vec<Tensor>,
    /// For the middle block.
    pub mid: Tensor,
}

impl Unet {
    /// Builds the network that the config describes from its parameters.
    ///
    /// # Errors
    /// Fails if a parameter is missing or has another shape.
    pub fn new(scope: &Scope<'_>, config: UnetConfig) -> Result<Self> {
        let channels = &config.block_out_channels;
        let first = channels[0];
        let last = channels[channels.len() - 1];
        let time = TimeEmbedding::new(&scope.at("time_embedding"), &config)?;
        let added = config
            .added_widths()
            .map(|(each, all)| AddedEmbedding::new(&scope.at("add_embedding"), &config, each, all))
            .transpose()?;
        let mut down = Vec::new();
        let mut skips = vec![first];
        let mut before = first;
        for (i, &outputs) in channels.iter().enumerate() {
            down.push(DownBlock::new(&scope.at(format!("down_blocks.{i}")), &config, i, before, &mut skips)?);
            before = outputs;
        }
        let mid = MidBlock::new(&scope.at("mid_block"), &config, last)?;
        let mut up = Vec::new();
        for (i, &outputs) in channels.iter().rev().enumerate() {
            up.push(UpBlock::new(&scope.at(format!("up_blocks.{i}")), &config, i, before, &mut skips)?);
            before = outputs;
        }
        Ok(Self {
            conv_in: Conv2d::new(&scope.at("conv_in"), config.in_channels, first, 3, 1, 1)?,
            time,
            added,
            down,
            mid,
            up,
            norm_out: GroupNorm::new(
                &scope.at("conv_norm_out"),
                first,
                config.norm_num_groups,
                config.norm_eps,
            )?,
            conv_out: Conv2d::new(&scope.at("conv_out"), first, config.out_channels, 3, 1, 1)?,
            config,
        })
    }

    /// Loads `config.json` and the weights of `folder`. The returned variables are empty unless `trainable`.
    ///
    /// # Errors
    /// Fails if a file cannot be read, a setting is not supported, or a tensor is missing, superfluous or of another shape.
    pub fn load(folder: &Path, device: &Device, trainable: bool) -> Result<(Self, Variables)> {
        let (config, files) = Self::files(folder)?;
        Parameters::from_stored(StoredWeights::open(&files)?, device, DType::F32, trainable)
            .build(|scope| Self::new(scope, config.clone()))
    }

    /// Loads `folder`, frozen and computing in `dtype`.
    ///
    /// # Errors
    /// As [`Unet::load`].
    pub fn load_frozen(folder: &Path, device: &Device, dtype: DType) -> Result<Self> {
        let (config, files) = Self::files(folder)?;
        let parameters = Parameters::from_stored(StoredWeights::open(&files)?, device, dtype, false);
        Ok(parameters.build(|scope| Self::new(scope, config.clone()))?.0)
    }

    /// Loads `folder`, frozen; also returns every parameter by name. They share their memory with the network.
    ///
    /// # Errors
    /// As [`Unet::load`].
    pub fn load_with_weights(folder: &Path, device: &Device) -> Result<(Self, Weights)> {
        let (config, files) = Self::files(folder)?;
        let parameters = Parameters::from_stored(StoredWeights::open(&files)?, device, DType::F32, false);
        let (unet, _, weights) = parameters.build_with_weights(|scope| Self::new(scope, config.clone()))?;
        Ok((unet, weights))
    }

    /// Builds a frozen network from parameters in memory, computing in `dtype`, with the updates of an adapter.
    ///
    /// # Errors
    /// Fails if a parameter is missing, superfluous or of another shape.
    pub fn of_weights(
        config: UnetConfig,
        weights: &Weights,
        adapter: &Adapter,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let parameters = Parameters::of_tensors(weights.clone(), device).with_dtype(dtype);
        let parameters = parameters.with_adapter(adapter.clone());
        let unet = Self::new(&parameters.root(), config)?;
        parameters.finish()?;
        Ok(unet)
    }

    /// Reads the config of `folder` and finds its weights files.
    ///
    /// # Errors
    /// Fails if a file is missing, or the config cannot be read or is not supported.
    pub fn files(folder: &Path) -> Result<(UnetConfig, PartFiles)> {
        Ok((Self::config_of(folder)?, PartFiles::locate(folder, Stem::NETWORK)?))
    }

    /// Reads and checks the config of `folder`.
    ///
    /// # Errors
    /// Fails if it cannot be read or has an unsupported setting.
    pub fn config_of(folder: &Path) -> Result<UnetConfig> {
        UnetConfig::read(&folder.join("config.json"))
    }

    /// The type of the weights, which latents and text must have too.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.conv_in.dtype()
    }

    /// The config of the network.
    #[must_use]
    pub fn config(&self) -> &UnetConfig {
        &self.config
    }

    /// Predicts the noise or velocity of `latents`, (batch, channels, height, width). `timesteps`: (batch), `f32`; `text`:
    /// (batch, tokens, width).
    ///
    /// # Errors
    /// Fails if the shapes do not fit, or the model needs added conditioning ([`Unet::forward_with`]).
    pub fn forward(&self, latents: &Tensor, timesteps: &Tensor, text: &Tensor) -> Result<Tensor> {
        self.forward_with(latents, timesteps, text, None)
    }

    /// As [`Unet::forward`], with the added conditioning of SDXL.
    ///
    /// # Errors
    /// Fails if the shapes do not fit, or `added` is missing or superfluous.
    pub fn forward_with(
        &self,
        latents: &Tensor,
        timesteps: &Tensor,
        text: &Tensor,
        added: Option<&AddedConditioning>,
    ) -> Result<Tensor> {
        self.steps(&mut Tape::new(BackwardMode::StoreGraph), latents, timesteps, text, added, None)
    }

    /// As [`Unet::forward`], with the residuals of a ControlNet.
    ///
    /// # Errors
    /// Fails if the shapes do not fit, or the residuals are for a UNet with other blocks.
    pub fn forward_with_residuals(
        &self,
        latents: &Tensor,
        timesteps: &Tensor,
        text: &Tensor,
        residuals: &Residuals,
    ) -> Result<Tensor> {
        self.steps(&mut Tape::new(BackwardMode::StoreGraph), latents, timesteps, text, None, Some(residuals))
    }

    /// As [`Unet::forward_with`], with a choice of what is stored for the backward pass. With [`BackwardMode::Recompute`], only
    /// parameters get gradients.
    ///
    /// # Errors
    /// As [`Unet::forward_with`]; also if the text needs a gradient and `mode` is [`BackwardMode::Recompute`].
    pub fn pass(
        &self,
        latents: &Tensor,
        timesteps: &Tensor,
        text: &Tensor,
        added: Option<&AddedConditioning>,
        mode: BackwardMode,
    ) -> Result<Pass<'_>> {
        if mode == BackwardMode::Recompute
            && (text.track_op() || added.is_some_and(AddedConditioning::track_op))
        {
            return Err(Error::message(
                "a pass that recomputes its graph passes no gradient to the text, but the text needs one: use \
                 BackwardMode::StoreGraph",
            ));
        }
        let mut tape = Tape::new(mode);
        let prediction = self.steps(&mut tape, latents, timesteps, text, added, None)?;
        tape.finish(prediction)
    }

    fn steps<'a>(
        &'a self,
        tape: &mut Tape<'a>,
        latents: &Tensor,
        timesteps: &Tensor,
        text: &Tensor,
        added: Option<&AddedConditioning>,
        residuals: Option<&Residuals>,
    ) -> Result<Tensor> {
        let added = added.cloned();
        let time = tape.run(&[timesteps], move |t| {
            // Every residual block starts with this SiLU, so it is applied once here.
            Ok(Activation::Silu.apply(&self.embed(&t[0], added.as_ref())?)?)
        })?;
        let mut x = tape.run(&[latents], |t| self.conv_in.forward(&t[0]))?;
        let mut skips = vec![x.clone()];
        for block in &self.down {
            x = block.forward(tape, &x, &time, text, &mut skips)?;
        }
        x = self.mid.forward(tape, &x, &time, text)?;
        if let Some(residuals) = residuals {
            x = residuals.add(&mut skips, &x)?;
        }
        for block in &self.up {
            x = block.forward(tape, &x, &time, text, &mut skips)?;
        }
        tape.run(&[&x], |t| self.conv_out.forward(&self.norm_out.forward_silu(&t[0])?))
    }

    /// The embedding of timesteps and added conditioning, (batch, width).
    fn embed(&self, timesteps: &Tensor, added: Option<&AddedConditioning>) -> Result<Tensor> {
        let time = self.time.forward(timesteps)?;
        match (&self.added, added) {
            (Some(embedding), Some(added)) => Ok((time + embedding.forward(added)?)?),
            (None, None) => Ok(time),
            (Some(_), None) => Err(Error::message("this UNet needs pooled text and time ids (text_time)")),
            (None, Some(_)) => Err(Error::message("this UNet takes neither pooled text nor time ids")),
        }
    }
}

impl Residuals {
    /// Adds the residuals to the skip connections. Returns the sum for the middle block.
    fn add(&self, skips: &mut [Tensor], mid: &Tensor) -> Result<Tensor> {
        if self.down.len() != skips.len() {
            let (found, needed) = (self.down.len(), skips.len());
            return Err(Error::message(format!(
                "the ControlNet has {found} outputs for skip connections, but the UNet has {needed}"
            )));
        }
        for (skip, residual) in skips.iter_mut().zip(&self.down) {
            *skip = (&*skip + residual)?;
        }
        Ok((mid + &self.mid)?)
    }
}
