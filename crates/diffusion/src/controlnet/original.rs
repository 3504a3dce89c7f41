//! The names that the first implementation (`cldm.ControlNet`) gave the tensors, and reading them.

use crate::config::ControlNetConfig;
use crate::torch_file::{Dtype, StoredTensor, WeightsFile};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

/// What stands before every name.
const PREFIX: &str = "control_model.";
/// The place in a pickle where training frameworks keep the weights.
const USUAL_ROOT: &str = "state_dict";

/// Layers of a residual block: theirs and diffusers'.
const RESIDUAL: [(&str, &str); 6] = [
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("emb_layers.1", "time_emb_proj"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("skip_connection", "conv_shortcut"),
];

/// The tensors below the prefix, by diffusers' names, in f32.
pub(super) fn read(path: &Path, config: &ControlNetConfig) -> Result<BTreeMap<String, Tensor>> {
    let file = WeightsFile::open(path)?;
    let root = file.roots().iter().any(|root| root == USUAL_ROOT).then_some(USUAL_ROOT);
    let listing = file.list(root)?;
    let bad = |tensor: &str, problem: String| Error::format(path, format!("tensor {tensor:?} {problem}"));
    let unreadable = listing.unreadable.iter().find(|(name, _)| name.starts_with(PREFIX));
    if let Some((name, problem)) = unreadable {
        return Err(bad(name, problem.clone()));
    }
    let mut tensors = BTreeMap::new();
    for (name, stored) in &listing.tensors {
        let Some(old) = name.strip_prefix(PREFIX) else { continue };
        let new =
            new_name(old, config).ok_or_else(|| bad(name, "has no place in a ControlNet".to_owned()))?;
        tensors.insert(new, values(&file, stored, |problem| bad(name, problem))?);
    }
    if tensors.is_empty() {
        let problem = format!("has no tensor named \"{PREFIX}...\": it is no checkpoint with a ControlNet");
        return Err(Error::format(path, problem));
    }
    Ok(tensors)
}

fn values(file: &WeightsFile, stored: &StoredTensor, bad: impl Fn(String) -> Error) -> Result<Tensor> {
    let dtype = match stored.dtype() {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        other => return Err(bad(format!("has elements of type {other}, which no weights have"))),
    };
    let mut bytes = Vec::with_capacity(stored.size() as usize);
    file.read(stored, &mut |portion| {
        bytes.extend_from_slice(portion);
        Ok(())
    })?;
    let tensor = Tensor::from_raw_buffer(&bytes, dtype, stored.shape(), &Device::Cpu)?;
    Ok(tensor.to_dtype(DType::F32)?)
}

/// diffusers' name of a tensor.
fn new_name(old: &str, config: &ControlNetConfig) -> Option<String> {
    let (layer, kind) = old.rsplit_once('.')?;
    let (top, rest) = layer.split_once('.').unwrap_or((layer, ""));
    let new = match top {
        "time_embed" => format!("time_embedding.linear_{}", number(rest)? / 2 + 1),
        "input_hint_block" => format!("controlnet_cond_embedding.{}", hint(number(rest)?, config)?),
        "input_cond_block" => format!("controlnet_query_cond_embedding.{}", hint(number(rest)?, config)?),
        "zero_convs" => format!("controlnet_down_blocks.{}", number(rest.strip_suffix(".0")?)?),
        "middle_block_out" => "controlnet_mid_block".to_owned(),
        "middle_block" => {
            let (i, rest) = rest.split_once('.')?;
            match number(i)? {
                1 => format!("mid_block.attentions.0.{rest}"),
                i => format!("mid_block.resnets.{}.{}", i / 2, residual(rest)?),
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

/// The first convolution, then of each resolution its layers and, except the last's, its halving.
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
                    "0" => Some(format!("{block}.resnets.{j}.{}", residual(rest)?)),
                    _ => Some(format!("{block}.attentions.{j}.{rest}")),
                }
            };
        }
        first += layers + 1;
    }
    None
}

/// Convolutions stand at even places: SiLUs are between.
fn hint(place: usize, config: &ControlNetConfig) -> Option<String> {
    let blocks = 2 * (config.hints.conditioning_embedding_out_channels.len() - 1);
    match place / 2 {
        0 => Some("conv_in".to_owned()),
        i if i <= blocks => Some(format!("blocks.{}", i - 1)),
        i if i == blocks + 1 => Some("conv_out".to_owned()),
        _ => None,
    }
}

fn residual(layer: &str) -> Option<&'static str> {
    RESIDUAL.iter().find(|(old, _)| *old == layer).map(|(_, new)| *new)
}

fn number(text: &str) -> Option<usize> {
    text.parse().ok()
}
