//! The UNet of the original implementation (`ldm.modules.diffusionmodules.openaimodel`): its structure, derived from names and
//! shapes, and its names. The counterpart of diffusers' `convert_ldm_unet_checkpoint`.

use super::family::Family;
use super::prefixed_shapes::PrefixedShapes;
use super::problem::Checked;
use super::{published, text};
use crate::config::UnetConfig;
use crate::unet::Unet;
use crate::unet::original_names::{original_outer_layer, original_residual_layer};
use crate::weights::parameter_shapes;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The prefix of all tensors of the UNet.
pub(super) const PREFIX: &str = "model.diffusion_model.";
/// The prefix of moving averages.
pub(super) const AVERAGE_PREFIX: &str = "model_ema.";
/// A file with at most this many moving averages does not have those of a UNet (diffusers' rule).
pub(super) const MIN_AVERAGES: usize = 100;

/// A resolution of the encoder.
#[derive(Default)]
struct Level {
    /// Residual blocks.
    layers: usize,
    channels: usize,
    /// Transformer blocks of each attention.
    depths: Vec<usize>,
}

/// `unet/config.json`, derived from names and shapes.
pub(super) fn config(unet: &PrefixedShapes<'_>, family: Family) -> Checked<Value> {
    let mut levels = vec![Level::default()];
    for i in 1..unet.count("input_blocks.")? {
        let last = levels.len() - 1;
        let level = &mut levels[last];
        if unet.has(&format!("input_blocks.{i}.0.op.")) {
            levels.push(Level::default());
            continue;
        }
        level.layers += 1;
        level.channels = channels(unet, i)?;
        let depth = unet.count(&format!("input_blocks.{i}.1.transformer_blocks."))?;
        level.depths.extend((depth > 0).then_some(depth));
    }
    let layers = levels[0].layers;
    if layers == 0 || levels.iter().any(|level| level.layers != layers) {
        return Err("has a UNet whose resolutions have different numbers of residual blocks".to_owned());
    }
    if levels.iter().any(|l| {
        !l.depths.is_empty() && (l.depths.len() < layers || l.depths.iter().any(|&d| d != l.depths[0]))
    }) {
        return Err("has a UNet whose attentions within a resolution differ".to_owned());
    }
    let middle = unet.count("middle_block.1.transformer_blocks.")?;
    let last = levels.len() - 1;
    let depths: Vec<usize> = levels
        .iter()
        .enumerate()
        .map(|(i, level)| level.depths.first().copied().unwrap_or(if i == last { middle } else { 1 }))
        .collect();
    let up_block_attends =
        |i: usize| unet.has(&format!("output_blocks.{}.1.transformer_blocks.", (layers + 1) * i));
    let block_types = |attends: &dyn Fn(usize) -> bool, side: &str| -> Vec<String> {
        let block_type =
            |i| if attends(i) { format!("CrossAttn{side}Block2D") } else { format!("{side}Block2D") };
        (0..levels.len()).map(block_type).collect()
    };
    let channels: Vec<usize> = levels.iter().map(|level| level.channels).collect();
    let text = unet.names().find(|name| name.ends_with(".attn2.to_k.weight"));
    let text = text.ok_or("has a UNet without attention to text")?;

    let mut config = published::unet(family);
    config["in_channels"] = json!(unet.size("input_blocks.0.0.weight", 1)?);
    config["out_channels"] = json!(unet.size("out.2.weight", 0)?);
    config["layers_per_block"] = json!(layers);
    config["cross_attention_dim"] = json!(unet.size(text, 1)?);
    config["down_block_types"] = json!(block_types(&|i| !levels[i].depths.is_empty(), "Down"));
    config["up_block_types"] = json!(block_types(&up_block_attends, "Up"));
    if family != Family::StableDiffusion1 {
        // Heads have width 64.
        config["attention_head_dim"] = json!(channels.iter().map(|c| (c / 64).max(1)).collect::<Vec<_>>());
    }
    config["use_linear_projection"] = json!(has_linear_projection(unet));
    if depths.iter().any(|&depth| depth != 1) {
        config["transformer_layers_per_block"] = json!(depths);
    }
    let time = unet.size("time_embed.0.weight", 0)?;
    if time != 4 * channels[0] {
        config["time_embedding_dim"] = json!(time);
    }
    config["block_out_channels"] = json!(channels);
    if unet.has("label_emb.") {
        if family != Family::StableDiffusionXl {
            return Err(
                "has a UNet with class labels (label_emb), as for upscaling or unCLIP, which is not supported".to_owned()
            );
        }
        let all = unet.size("label_emb.0.0.weight", 1)?;
        config["projection_class_embeddings_input_dim"] = json!(all);
        let pooled = unet.shapes.get(&format!("{}text_projection", text::XL_SECOND_PREFIX));
        let pooled =
            pooled.and_then(|shape| shape.get(1)).filter(|&&pooled| pooled < all && (all - pooled) % 6 == 0);
        if let Some(pooled) = pooled {
            config["addition_time_embed_dim"] = json!((all - pooled) / 6);
        }
    }
    Ok(config)
}

/// Whether the projections around the transformer blocks are matrices instead of 1 x 1 convolutions.
pub(super) fn has_linear_projection(unet: &PrefixedShapes<'_>) -> bool {
    let projection = unet.names().find(|name| name.ends_with(".proj_in.weight"));
    projection.and_then(|name| unet.shape(name)).is_some_and(|shape| shape.len() == 2)
}

/// The output channels of input block `i`, from whichever of its last layers is present.
fn channels(unet: &PrefixedShapes<'_>, i: usize) -> Checked<usize> {
    let block = format!("input_blocks.{i}.0.");
    for (layer, dimension) in [("out_layers.3.bias", 0), ("out_layers.3.weight", 0), ("out_layers.0.bias", 0)]
    {
        if unet.shape(&format!("{block}{layer}")).is_some() {
            return unet.size(&format!("{block}{layer}"), dimension);
        }
    }
    Err(format!("tensor \"{PREFIX}{block}out_layers.3.weight\" is missing"))
}

/// The names and shapes of the parameters that a config describes.
pub(super) fn parameter_shapes_of(config: &Value) -> Checked<BTreeMap<String, Vec<usize>>> {
    let config: UnetConfig =
        UnetConfig::of(config.clone()).map_err(|e| format!("has a UNet that is not supported: {e}"))?;
    parameter_shapes(|scope| Unet::new(scope, config).map(drop)).map_err(|e| e.to_string())
}

/// The name in the file, without the prefix, of a parameter with the name `new` in diffusers. `all`: all parameters under
/// diffusers' names.
pub(super) fn old_name(new: &str, all: &BTreeMap<String, Vec<usize>>) -> Option<String> {
    let (layer, kind) = new.rsplit_once('.')?;
    if let Some(old) = original_outer_layer(layer) {
        return Some(format!("{old}.{kind}"));
    }
    if let Some(middle) = layer.strip_prefix("mid_block.") {
        let (part, rest) = middle.split_once('.')?;
        let (i, rest) = rest.split_once('.')?;
        return Some(match part {
            "resnets" => format!(
                "middle_block.{}.{}.{kind}",
                2 * i.parse::<usize>().ok()?,
                original_residual_layer(rest)?
            ),
            _ => format!("middle_block.1.{rest}.{kind}"),
        });
    }
    let (side, rest) = layer.split_once("_blocks.")?;
    let (level, rest) = rest.split_once('.')?;
    let (part, rest) = rest.split_once('.')?;
    let (i, rest) = rest.split_once('.')?;
    let (level, i) = (level.parse::<usize>().ok()?, i.parse::<usize>().ok()?);
    // Input blocks are the first convolution, then for each resolution its layers and its downsampling. In the output
    // blocks each resolution has one more layer, and the upsampling is a part of the last.
    let down_layers =
        (0..).take_while(|j| all.contains_key(&format!("down_blocks.0.resnets.{j}.norm1.weight"))).count();
    let stride = down_layers + 1;
    let down = side == "down";
    let first = stride * level + usize::from(down);
    let blocks = if down { "input_blocks" } else { "output_blocks" };
    Some(match part {
        "resnets" => format!("{blocks}.{}.0.{}.{kind}", first + i, original_residual_layer(rest)?),
        "attentions" => format!("{blocks}.{}.1.{rest}.{kind}", first + i),
        "downsamplers" => format!("input_blocks.{}.0.op.{kind}", first + down_layers),
        "upsamplers" => {
            let attends = all.contains_key(&format!("up_blocks.{level}.attentions.0.norm.weight"));
            format!("output_blocks.{}.{}.conv.{kind}", first + down_layers, if attends { 2 } else { 1 })
        }
        _ => return None,
    })
}

/// The name of the moving average of the UNet's parameter `name`, in which dots are omitted.
pub(super) fn average_name(name: &str) -> String {
    format!("{AVERAGE_PREFIX}diffusion_model{}", name.replace('.', ""))
}
