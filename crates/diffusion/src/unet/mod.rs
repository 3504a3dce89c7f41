//! UNet2DCondition, under diffusers' weight names: predicts the noise (or velocity) of latents.

mod attention;
mod blocks;
mod embeddings;
mod resnet;

use crate::config::UnetConfig;
use crate::lora::Adapter;
use crate::nn::{Activation, Conv2d, GroupNorm};
use crate::tape::{Keep, Pass, Tape};
use crate::weights::{Parameters, PartFiles, Scope, Stem, StoredWeights, Variables, Weights};
use crate::{Error, Result};
use blocks::UpBlock;
pub(crate) use blocks::{DownBlock, MidBlock};
use candle_core::{DType, Device, Tensor};
pub use embeddings::Added;
use embeddings::AddedEmbedding;
pub(crate) use embeddings::TimeEmbedding;
pub(crate) use resnet::{ResnetBlock, ResnetShape};
use std::path::Path;

/// Name of the weights file that we write in a folder in diffusers layout; others are read too ([`Stem::NETWORK`]).
pub const WEIGHTS_FILE: &str = "diffusion_pytorch_model.safetensors";

/// The UNet.
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

/// What another network (a ControlNet) adds to a UNet's states.
#[derive(Clone, Debug)]
pub struct Residuals {
    /// For each state that the way down leaves for the way up, from the first convolution on.
    pub down: Vec<Tensor>,
    /// For the middle's.
    pub mid: Tensor,
}

impl Unet {
    /// Builds the network that the config describes from its parameters.
    ///
    /// # Errors
    /// A parameter that is missing or misshapen.
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

    /// Reads `folder` (`config.json` and weights). The variables are empty unless `trainable`.
    ///
    /// # Errors
    /// A file that cannot be read, an unsupported setting, or a tensor that is missing, extra or misshapen.
    pub fn load(folder: &Path, device: &Device, trainable: bool) -> Result<(Self, Variables)> {
        let (config, files) = Self::files(folder)?;
        Parameters::stored(StoredWeights::open(&files)?, device, DType::F32, trainable)
            .build(|scope| Self::new(scope, config.clone()))
    }

    /// Reads `folder` frozen, to compute in `dtype`.
    ///
    /// # Errors
    /// As [`Unet::load`].
    pub fn load_frozen(folder: &Path, device: &Device, dtype: DType) -> Result<Self> {
        let (config, files) = Self::files(folder)?;
        let parameters = Parameters::stored(StoredWeights::open(&files)?, device, dtype, false);
        Ok(parameters.build(|scope| Self::new(scope, config.clone()))?.0)
    }

    /// Reads `folder`, frozen, also with every parameter by name; they share their memory with the network.
    ///
    /// # Errors
    /// As [`Unet::load`].
    pub fn load_with_weights(folder: &Path, device: &Device) -> Result<(Self, Weights)> {
        let (config, files) = Self::files(folder)?;
        let parameters = Parameters::stored(StoredWeights::open(&files)?, device, DType::F32, false);
        let unet = Self::new(&parameters.root(), config)?;
        Ok((unet, parameters.finish_with_weights()?.1))
    }

    /// The network of parameters at hand, frozen, computing in `dtype`, and of an adapter's updates beside them.
    ///
    /// # Errors
    /// A parameter that is missing, misshapen or superfluous.
    pub fn of_weights(
        config: UnetConfig,
        weights: &Weights,
        adapter: &Adapter,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let parameters = Parameters::of_tensors(weights.clone(), device).in_type(dtype);
        let parameters = parameters.with_adapter(adapter.clone());
        let unet = Self::new(&parameters.root(), config)?;
        parameters.finish()?;
        Ok(unet)
    }

    /// The config of `folder`, checked, and the files of its weights.
    ///
    /// # Errors
    /// As [`Unet::load`], as far as configs and the presence of files go.
    pub fn files(folder: &Path) -> Result<(UnetConfig, PartFiles)> {
        Ok((Self::config_of(folder)?, PartFiles::locate(folder, Stem::NETWORK)?))
    }

    /// The config of `folder`, checked.
    ///
    /// # Errors
    /// It cannot be read or has an unsupported setting.
    pub fn config_of(folder: &Path) -> Result<UnetConfig> {
        UnetConfig::read(&folder.join("config.json"))
    }

    /// The type of its weights, which latents and text must have too.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.conv_in.dtype()
    }

    /// What it was built from.
    #[must_use]
    pub fn config(&self) -> &UnetConfig {
        &self.config
    }

    /// `latents`: (batch, channels, height, width), noised; `timesteps`: (batch) of f32, each sample its own;
    /// `text`: (batch, tokens, width). Returns the prediction, shaped as the latents.
    ///
    /// # Errors
    /// Shapes that do not fit, or a model that needs to be told more ([`Unet::forward_with`]).
    pub fn forward(&self, latents: &Tensor, timesteps: &Tensor, text: &Tensor) -> Result<Tensor> {
        self.forward_with(latents, timesteps, text, None)
    }

    /// As [`Unet::forward`], for models that may take pooled text and time ids beside the text (SDXL).
    ///
    /// # Errors
    /// Shapes that do not fit; `added` is missing, or the model takes none.
    pub fn forward_with(
        &self,
        latents: &Tensor,
        timesteps: &Tensor,
        text: &Tensor,
        added: Option<&Added>,
    ) -> Result<Tensor> {
        self.steps(&mut Tape::new(Keep::Graph), latents, timesteps, text, added, None)
    }

    /// As [`Unet::forward`], with what a ControlNet adds on the way.
    ///
    /// # Errors
    /// Shapes that do not fit, or residuals of a UNet with other blocks.
    pub fn forward_with_residuals(
        &self,
        latents: &Tensor,
        timesteps: &Tensor,
        text: &Tensor,
        residuals: &Residuals,
    ) -> Result<Tensor> {
        self.steps(&mut Tape::new(Keep::Graph), latents, timesteps, text, None, Some(residuals))
    }

    /// As [`Unet::forward_with`], keeping for the way back what the caller says. Gradients reach the parameters only.
    ///
    /// # Errors
    /// As there.
    pub fn pass(
        &self,
        latents: &Tensor,
        timesteps: &Tensor,
        text: &Tensor,
        added: Option<&Added>,
        keep: Keep,
    ) -> Result<Pass<'_>> {
        if keep == Keep::Inputs && (text.track_op() || added.is_some_and(Added::track_op)) {
            return Err(wrong("a pass that keeps inputs only has no way back into the text: keep the graph"));
        }
        let mut tape = Tape::new(keep);
        let prediction = self.steps(&mut tape, latents, timesteps, text, added, None)?;
        tape.finish(prediction)
    }

    fn steps<'a>(
        &'a self,
        tape: &mut Tape<'a>,
        latents: &Tensor,
        timesteps: &Tensor,
        text: &Tensor,
        added: Option<&Added>,
        residuals: Option<&Residuals>,
    ) -> Result<Tensor> {
        let added = added.cloned();
        let time = tape.run(&[timesteps], move |t| {
            // Every residual block would apply the SiLU first.
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

    /// What the blocks are told of the noise level and whatever else: (batch, width).
    fn embed(&self, timesteps: &Tensor, added: Option<&Added>) -> Result<Tensor> {
        let time = self.time.forward(timesteps)?;
        match (&self.added, added) {
            (Some(embedding), Some(added)) => Ok((time + embedding.forward(added)?)?),
            (None, None) => Ok(time),
            (Some(_), None) => Err(wrong("this UNet needs pooled text and time ids (text_time)")),
            (None, Some(_)) => Err(wrong("this UNet takes neither pooled text nor time ids")),
        }
    }
}

impl Residuals {
    /// Adds to what the way down left; returns the middle's sum.
    fn add(&self, skips: &mut [Tensor], mid: &Tensor) -> Result<Tensor> {
        if self.down.len() != skips.len() {
            let (has, needed) = (self.down.len(), skips.len());
            return Err(wrong(&format!(
                "the ControlNet has {has} outputs on the way down, the UNet takes {needed}"
            )));
        }
        for (skip, residual) in skips.iter_mut().zip(&self.down) {
            *skip = (&*skip + residual)?;
        }
        Ok((mid + &self.mid)?)
    }
}

fn wrong(problem: &str) -> Error {
    Error::Candle(candle_core::Error::Msg(problem.to_owned()))
}
