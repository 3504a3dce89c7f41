//! ControlNet (Zhang et al. 2023): a copy of a UNet's down blocks and middle block that takes a hint and adds residuals to
//! the UNet's states. With a second hint encoder, for an example pair and a query image, it is the network of Prompt
//! Diffusion (Wang et al. 2023).

mod hint;
mod original;

use crate::config::{ControlNetConfig, UnetConfig};
use crate::nn::{Activation, Conv2d};
use crate::tape::{BackwardMode, Tape};
use crate::unet::{DownBlock, MidBlock, Residuals, TimeEmbedding};
use crate::weights::{Parameters, PartFiles, Scope, Stem, StoredWeights};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use hint::HintEncoder;
use std::path::Path;

/// A ControlNet.
#[derive(Debug)]
pub struct ControlNet {
    conv_in: Conv2d,
    time: TimeEmbedding,
    hint: HintEncoder,
    query: Option<HintEncoder>,
    down: Vec<DownBlock>,
    mid: MidBlock,
    /// A 1 x 1 convolution for each skip connection, zero at the start of training.
    zero_down: Vec<Conv2d>,
    /// The same for the middle block.
    zero_mid: Conv2d,
    config: ControlNetConfig,
}

impl ControlNet {
    /// Builds the network that the config describes from its parameters, under diffusers' names.
    ///
    /// # Errors
    /// Fails if a parameter is missing or has another shape.
    pub fn new(scope: &Scope<'_>, config: ControlNetConfig) -> Result<Self> {
        let (unet, hints) = (&config.unet, &config.hints);
        let channels = &unet.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let mut down = Vec::new();
        let mut skips = vec![first];
        let mut before = first;
        for (i, &outputs) in channels.iter().enumerate() {
            down.push(DownBlock::new(&scope.at(format!("down_blocks.{i}")), unet, i, before, &mut skips)?);
            before = outputs;
        }
        let encoder = |name: &str, inputs: usize| {
            HintEncoder::new(&scope.at(name), inputs, &hints.conditioning_embedding_out_channels, first)
        };
        let zero = |name: String, width: usize| Conv2d::new(&scope.at(name), width, width, 1, 1, 0);
        Ok(Self {
            conv_in: Conv2d::new(&scope.at("conv_in"), unet.in_channels, first, 3, 1, 1)?,
            time: TimeEmbedding::new(&scope.at("time_embedding"), unet)?,
            hint: encoder("controlnet_cond_embedding", hints.conditioning_channels)?,
            query: hints.has_query().then(|| encoder("controlnet_query_cond_embedding", 3)).transpose()?,
            down,
            mid: MidBlock::new(&scope.at("mid_block"), unet, last)?,
            zero_down: skips
                .iter()
                .enumerate()
                .map(|(i, &width)| zero(format!("controlnet_down_blocks.{i}"), width))
                .collect::<Result<_>>()?,
            zero_mid: zero("controlnet_mid_block".to_owned(), last)?,
            config,
        })
    }

    /// Loads `config.json` and the weights of `folder` in diffusers layout, frozen.
    ///
    /// # Errors
    /// Fails if a file cannot be read, a setting is not supported, or a tensor is missing, superfluous or of another shape.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let config = ControlNetConfig::read(&folder.join("config.json"))?;
        let stored = StoredWeights::open(&PartFiles::locate(folder, Stem::NETWORK)?)?;
        let parameters = Parameters::from_stored(stored, device, DType::F32, false);
        let network = Self::new(&parameters.root(), config)?;
        parameters.finish()?;
        Ok(network)
    }

    /// Loads the tensors `control_model.*` of a single-file checkpoint (torch or safetensors), which have the names of the
    /// original implementation. Other tensors are ignored. `config` is for example [`ControlNetConfig::prompt_diffusion`].
    ///
    /// # Errors
    /// Fails if the file cannot be read, or a tensor is missing, superfluous or of another shape.
    pub fn load_original(file: &Path, config: ControlNetConfig, device: &Device) -> Result<Self> {
        let tensors = original::read(file, &config)?;
        let parameters = Parameters::of_tensors(tensors, device).with_origin(file.display().to_string());
        let network = Self::new(&parameters.root(), config)?;
        parameters.finish()?;
        Ok(network)
    }

    /// The config of the network.
    #[must_use]
    pub fn config(&self) -> &ControlNetConfig {
        &self.config
    }

    /// Checks that the network fits a UNet with this config.
    ///
    /// # Errors
    /// Returns the first field in which the configs differ, with an explanation.
    pub fn check(&self, unet: &UnetConfig) -> Result<(), String> {
        let own = &self.config.unet;
        let fields = [
            ("block_out_channels", own.block_out_channels == unet.block_out_channels),
            ("down_block_types", own.down_block_types.len() == unet.down_block_types.len()),
            ("layers_per_block", own.layers_per_block == unet.layers_per_block),
            ("in_channels", own.in_channels == unet.in_channels),
            ("cross_attention_dim", own.cross_attention_dim == unet.cross_attention_dim),
        ];
        match fields.iter().find(|(_, same)| !same) {
            None => Ok(()),
            Some((field, _)) => {
                Err(format!("{field}: differs from the UNet's: the ControlNet was made for another model"))
            }
        }
    }

    /// The residuals to add to a UNet's states. `latents`, `timesteps` and `text` are those of the UNet; `hints` is the result
    /// of [`ControlNet::encode_hints`].
    ///
    /// # Errors
    /// Fails if the shapes do not fit.
    pub fn forward(
        &self,
        latents: &Tensor,
        timesteps: &Tensor,
        text: &Tensor,
        hints: &Tensor,
    ) -> Result<Residuals> {
        let time = Activation::Silu.apply(&self.time.forward(timesteps)?)?.to_dtype(latents.dtype())?;
        let mut x = (self.conv_in.forward(latents)? + hints)?;
        let mut skips = vec![x.clone()];
        let mut tape = Tape::new(BackwardMode::StoreGraph);
        for block in &self.down {
            x = block.forward(&mut tape, &x, &time, text, &mut skips)?;
        }
        x = self.mid.forward(&mut tape, &x, &time, text)?;
        let down = skips.iter().zip(&self.zero_down).map(|(skip, zero)| zero.forward(skip));
        Ok(Residuals { down: down.collect::<Result<_>>()?, mid: self.zero_mid.forward(&x)? })
    }

    /// Encodes hints into states, which are the same for every denoising step. `hint`: (batch, channels, height, width) in
    /// pixels; `query`: the same with 3 channels, for a network with a query encoder.
    ///
    /// # Errors
    /// Fails if the shapes do not fit, or a query is missing or superfluous.
    pub fn encode_hints(&self, hint: &Tensor, query: Option<&Tensor>) -> Result<Tensor> {
        let states = self.hint.forward(hint)?;
        match (&self.query, query) {
            (Some(encoder), Some(query)) => Ok((states + encoder.forward(query)?)?),
            (None, None) => Ok(states),
            (Some(_), None) => Err(Error::setting(
                "query",
                "this ControlNet needs a query image in addition to the example pair",
            )),
            (None, Some(_)) => {
                Err(Error::setting("query", "this ControlNet takes no query image: it has one hint encoder"))
            }
        }
    }
}
