//! The networks of a benchmark, read from a model's folder or built with random weights, and random inputs of their
//! shapes.

use crate::arguments::Arguments;
use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use diffusion::conditioning::{Conditioning, TIME_IDS};
use diffusion::config::{ClipTextConfig, VaeConfig, read};
use diffusion::lora::Adapter;
use diffusion::noise::Noise;
use diffusion::part_folders::PartFolders;
use diffusion::unet::{AddedConditioning, Unet};
use diffusion::vae::Autoencoder;
use diffusion::weights::{self, Parameters, Variables};
use domain::lora::LoraSpec;
use training::policy::Policy;

/// The network to train, and the frozen reference if `with_reference`.
pub(crate) fn policy_and_reference(
    arguments: &Arguments,
    folders: &PartFolders,
    with_reference: bool,
    device: &Device,
) -> Result<(Policy, Option<Unet>)> {
    let dtype = arguments.dtype(device)?;
    let Some(rank) = arguments.lora else {
        let (unet, variables) = trainable_unet(arguments, folders, device)?;
        let reference = with_reference.then(|| frozen_unet(arguments, folders, dtype, device)).transpose()?;
        return Ok((Policy::whole(unet, variables, dtype, device)?, reference));
    };
    let (config, base) = if arguments.random_weights {
        let (unet, variables) = trainable_unet(arguments, folders, device)?;
        (unet.config().clone(), weights::values(&variables, DType::F32)?)
    } else {
        let (unet, weights) = folders.unet(device)?;
        (unet.config().clone(), weights)
    };
    let lora = LoraSpec { rank, ..LoraSpec::default() };
    let policy = Policy::adapter(&lora, 0, config, base, dtype, device)?;
    let reference = with_reference.then(|| policy.reference(None, folders)).transpose()?;
    Ok((policy, reference))
}

fn trainable_unet(
    arguments: &Arguments,
    folders: &PartFolders,
    device: &Device,
) -> Result<(Unet, Variables)> {
    let folder = folders.part("unet")?;
    if !arguments.random_weights {
        return Ok(Unet::load(&folder, device, true)?);
    }
    let parameters = Parameters::random(0, device);
    let unet = Unet::new(&parameters.root(), Unet::config_of(&folder)?)?;
    Ok((unet, parameters.finish()?))
}

/// The UNet without gradients, in this type.
pub(crate) fn frozen_unet(
    arguments: &Arguments,
    folders: &PartFolders,
    dtype: DType,
    device: &Device,
) -> Result<Unet> {
    if !arguments.random_weights {
        return Ok(Unet::load_frozen(&folders.part("unet")?, device, dtype)?);
    }
    let (unet, variables) = trainable_unet(arguments, folders, device)?;
    let values = weights::values(&variables, dtype)?;
    Ok(Unet::of_weights(unet.config().clone(), &values, &Adapter::default(), dtype, device)?)
}

/// The autoencoder without gradients, in this type.
pub(crate) fn autoencoder(
    arguments: &Arguments,
    folders: &PartFolders,
    dtype: DType,
    device: &Device,
) -> Result<Autoencoder> {
    let folder = folders.part("vae")?;
    let build = |parameters: &Parameters| {
        Autoencoder::new(&parameters.root(), VaeConfig::read(&folder.join("config.json"))?)
    };
    let values = if arguments.random_weights {
        let parameters = Parameters::random(1, device);
        build(&parameters)?;
        weights::values(&parameters.finish()?, dtype)?
    } else {
        weights::values(&Autoencoder::load(&folder, device, true)?.1, dtype)?
    };
    Ok(build(&Parameters::of_tensors(values, device).with_dtype(dtype))?)
}

/// Random latents, (batch, channels, side, side), and random conditioning of the UNet's shapes.
pub(crate) fn random_inputs(
    arguments: &Arguments,
    folders: &PartFolders,
    unet: &Unet,
    noise: &mut Noise,
    device: &Device,
) -> Result<(Tensor, Conditioning)> {
    let batch = arguments.batch;
    let text: ClipTextConfig = read(&folders.part("text_encoder")?.join("config.json"))?;
    let config = unet.config();
    let side = arguments.side.unwrap_or(config.sample_size);
    let latents = noise.normal_tensor((batch, config.in_channels, side, side), device)?;
    let tokens = text.max_position_embeddings;
    let text = noise.normal_tensor((batch, tokens, config.cross_attention_dim), device)?;
    let added = match config.added_widths() {
        Some((each, all)) => {
            let pooled = all.checked_sub(TIME_IDS * each).context("the UNet takes no pooled text")?;
            Some(AddedConditioning {
                pooled: noise.normal_tensor((batch, pooled), device)?,
                time_ids: Tensor::zeros((batch, TIME_IDS), DType::F32, device)?,
            })
        }
        None => None,
    };
    Ok((latents, Conditioning { text, added }))
}
