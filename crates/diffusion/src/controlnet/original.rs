//! Reading checkpoints with the tensor names of the original implementation (`cldm.ControlNet`).

use crate::config::ControlNetConfig;
use crate::torch_file::WeightsFile;
use crate::unet::original_names::diffusers_residual_layer;
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

/// The prefix of all tensors of the ControlNet.
const PREFIX: &str = "control_model.";

/// Reads the tensors with the prefix, under diffusers' names and in `f32`.
pub(super) fn read(path: &Path, config: &ControlNetConfig) -> Result<BTreeMap<String, Tensor>> {
    let file = WeightsFile::open(path)?;
    let listing = file.list(file.state_dict_root())?;
    listing.refuse_scaled(path)?;
    let bad = |tensor: &str, problem: String| Error::format(path, format!("tensor {tensor:?} {problem}"));
    let unreadable = listing.unreadable.iter().find(|(name, _)| name.starts_with(PREFIX));
    if let Some((name, problem)) = unreadable {
        return Err(bad(name, problem.clone()));
    }
    let mut tensors = BTreeMap::new();
    for (name, stored) in &listing.tensors {
        let Some(old) = name.strip_prefix(PREFIX) else { continue };
        let new = new_name(old, config)
            .ok_or_else(|| bad(name, "is not a tensor of this ControlNet".to_owned()))?;
        tensors.insert(new, file.load_tensor(name, stored, DType::F32)?);
    }
    if tensors.is_empty() {
        let problem =
            format!("has no tensor named \"{PREFIX}...\": it is not a checkpoint with a ControlNet");
        return Err(Error::format(path, problem));
    }
    Ok(tensors)
}

/// The name of a tensor in diffusers, given its original name without the prefix.
fn new_name(old: &str, config: &ControlNetConfig) -> Option<String> {
    let (layer, kind) = old.rsplit_once('.')?;
    let (top, rest) = layer.split_once('.').unwrap_or((layer, ""));
    let new = match top {
        "time_embed" => format!("time_embedding.linear_{}", number(rest)? / 2 + 1),
        "input_hint_block" => format!("controlnet_cond_embedding.{}", hint_layer(number(rest)?, config)?),
        "input_cond_block" => {
            format!("controlnet_query_cond_embedding.{}", hint_layer(number(rest)?, config)?)
        }
        "zero_convs" => format!("controlnet_down_blocks.{}", number(rest.strip_suffix(".0")?)?),
        "middle_block_out" => "controlnet_mid_block".to_owned(),
        "middle_block" => {
            let (i, rest) = rest.split_once('.')?;
            match number(i)? {
                1 => format!("mid_block.attentions.0.{rest}"),
                i => format!("mid_block.resnets.{}.{}", i / 2, diffusers_residual_layer(rest)?),
            }
        }
        "input_blocks" => {
            let (i, rest) = rest.split_once('.')?;
            input_block(number(i)?, rest, config)?
        }
        _ => return None,
    };
    Some(format!("{new}.{kind}"))
}

/// A layer of `input_blocks`: the first convolution, then for each resolution its residual blocks and, except for the last,
/// its downsampling.
fn input_block(i: usize, rest: &str, config: &ControlNetConfig) -> Option<String> {
    let Some(i) = i.checked_sub(1) else { return Some("conv_in".to_owned()) };
    let mut first = 0;
    for level in 0..config.unet.block_out_channels.len() {
        let layers = config.unet.layers_per_block.of(level);
        if i <= first + layers {
            let j = i - first;
            let block = format!("down_blocks.{level}");
            return if j == layers {
                Some(format!("{block}.downsamplers.0.conv"))
            } else {
                let (part, rest) = rest.split_once('.')?;
                match part {
                    "0" => Some(format!("{block}.resnets.{j}.{}", diffusers_residual_layer(rest)?)),
                    _ => Some(format!("{block}.attentions.{j}.{rest}")),
                }
            };
        }
        first += layers + 1;
    }
    None
}

/// A convolution of a hint encoder. They have even indices, with SiLUs in between.
fn hint_layer(index: usize, config: &ControlNetConfig) -> Option<String> {
    let blocks = 2 * (config.hints.conditioning_embedding_out_channels.len() - 1);
    match index / 2 {
        0 => Some("conv_in".to_owned()),
        i if i <= blocks => Some(format!("blocks.{}", i - 1)),
        i if i == blocks + 1 => Some("conv_out".to_owned()),
        _ => None,
    }
}

fn number(text: &str) -> Option<usize> {
    text.parse().ok()
}
