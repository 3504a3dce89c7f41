//! The UNet of the first implementation (`ldm.modules.diffusionmodules.openaimodel`): its structure by names and
//! shapes, and its names. Counterpart of diffusers' `convert_ldm_unet_checkpoint`.

use super::plan::Below;
use super::{Checked, Family, published};
use crate::config::UnetConfig;
use crate::unet::Unet;
use crate::weights::shapes_of;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What stands before every name.
pub(super) const PREFIX: &str = "model.diffusion_model.";
/// What stands before the names of moving averages.
pub(super) const AVERAGE: &str = "model_ema.";
/// Fewer are no network's (diffusers' rule).
pub(super) const FEWEST_AVERAGED: usize = 100;

/// Residual blocks: diffusers' layers and theirs.
const RESIDUAL: [(&str, &str); 6] = [
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
];
/// What lies outside of the blocks.
const ENDS: [(&str, &str); 7] = [
    ("conv_in", "input_blocks.0.0"),
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("add_embedding.linear_1", "label_emb.0.0"),
    ("add_embedding.linear_2", "label_emb.0.2"),
    ("conv_norm_out", "out.0"),
    ("conv_out", "out.2"),
];

/// A resolution of the way down.
#[derive(Default)]
struct Level {
    layers: usize,
    channels: usize,
    /// Transformer blocks of each attention.
    depths: Vec<usize>,
}

/// `unet/config.json`.
pub(super) fn config(unet: &Below<'_>, family: Family) -> Checked<Value> {
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
    let attends_up =
        |i: usize| unet.has(&format!("output_blocks.{}.1.transformer_blocks.", (layers + 1) * i));
    let kinds = |attends: &dyn Fn(usize) -> bool, way: &str| -> Vec<String> {
        let kind = |i| if attends(i) { format!("CrossAttn{way}Block2D") } else { format!("{way}Block2D") };
        (0..levels.len()).map(kind).collect()
    };
    let channels: Vec<usize> = levels.iter().map(|level| level.channels).collect();
    let text = unet.names().find(|name| name.ends_with(".attn2.to_k.weight"));
    let text = text.ok_or("has a UNet that attends to no text")?;
    let is_matrix = unet.names().find(|name| name.ends_with(".proj_in.weight"));
    let is_matrix = is_matrix.and_then(|name| unet.shape(name)).is_some_and(|shape| shape.len() == 2);

    let mut config = published::unet(family);
    config["in_channels"] = json!(unet.size("input_blocks.0.0.weight", 1)?);
    config["out_channels"] = json!(unet.size("out.2.weight", 0)?);
    config["layers_per_block"] = json!(layers);
    config["cross_attention_dim"] = json!(unet.size(text, 1)?);
    config["down_block_types"] = json!(kinds(&|i| !levels[i].depths.is_empty(), "Down"));
    config["up_block_types"] = json!(kinds(&attends_up, "Up"));
    if family != Family::StableDiffusion1 {
        // Heads are 64 wide.
        config["attention_head_dim"] = json!(channels.iter().map(|c| (c / 64).max(1)).collect::<Vec<_>>());
    }
    config["use_linear_projection"] = json!(is_matrix);
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
                "has a UNet with classes (label_emb), as of upscaling or unCLIP: not supported".to_owned()
            );
        }
        let all = unet.size("label_emb.0.0.weight", 1)?;
        config["projection_class_embeddings_input_dim"] = json!(all);
        let pooled = unet.shapes.get(&format!("{}text_projection", super::text::XL_SECOND));
        let pooled =
            pooled.and_then(|shape| shape.get(1)).filter(|&&pooled| pooled < all && (all - pooled) % 6 == 0);
        if let Some(pooled) = pooled {
            config["addition_time_embed_dim"] = json!((all - pooled) / 6);
        }
    }
    Ok(config)
}

/// Channels that come out of input block `i`, by whichever of its last layers is there.
fn channels(unet: &Below<'_>, i: usize) -> Checked<usize> {
    let place = format!("input_blocks.{i}.0.");
    for (layer, dimension) in [("out_layers.3.bias", 0), ("out_layers.3.weight", 0), ("out_layers.0.bias", 0)]
    {
        if unet.shape(&format!("{place}{layer}")).is_some() {
            return unet.size(&format!("{place}{layer}"), dimension);
        }
    }
    Err(format!("tensor \"{PREFIX}{place}out_layers.3.weight\" is missing"))
}

/// Names and shapes of the network that a config describes.
pub(super) fn wanted(config: &Value) -> Checked<BTreeMap<String, Vec<usize>>> {
    let config: UnetConfig =
        UnetConfig::of(config.clone()).map_err(|e| format!("has a UNet that is not supported: {e}"))?;
    shapes_of(|scope| Unet::new(scope, config).map(drop)).map_err(|e| e.to_string())
}

/// The name that diffusers' parameter `new` has in the file, below the prefix; `all` are all of diffusers' names.
pub(super) fn old_name(new: &str, all: &BTreeMap<String, Vec<usize>>) -> Option<String> {
    let (layer, kind) = new.rsplit_once('.')?;
    if let Some((_, old)) = ENDS.iter().find(|(end, _)| *end == layer) {
        return Some(format!("{old}.{kind}"));
    }
    let residual = |layer: &str| RESIDUAL.iter().find(|(new, _)| *new == layer).map(|(_, old)| *old);
    if let Some(middle) = layer.strip_prefix("mid_block.") {
        let (part, rest) = middle.split_once('.')?;
        let (i, rest) = rest.split_once('.')?;
        return Some(match part {
            "resnets" => format!("middle_block.{}.{}.{kind}", 2 * i.parse::<usize>().ok()?, residual(rest)?),
            _ => format!("middle_block.1.{rest}.{kind}"),
        });
    }
    let (way, rest) = layer.split_once("_blocks.")?;
    let (level, rest) = rest.split_once('.')?;
    let (part, rest) = rest.split_once('.')?;
    let (i, rest) = rest.split_once('.')?;
    let (level, i) = (level.parse::<usize>().ok()?, i.parse::<usize>().ok()?);
    // On the way down: the input's convolution, then each resolution's layers and its halving. On the way up each
    // resolution has one layer more, and the doubling lies within the last.
    let down_layers =
        (0..).take_while(|j| all.contains_key(&format!("down_blocks.0.resnets.{j}.norm1.weight"))).count();
    let stride = down_layers + 1;
    let down = way == "down";
    let first = stride * level + usize::from(down);
    let blocks = if down { "input_blocks" } else { "output_blocks" };
    Some(match part {
        "resnets" => format!("{blocks}.{}.0.{}.{kind}", first + i, residual(rest)?),
        "attentions" => format!("{blocks}.{}.1.{rest}.{kind}", first + i),
        "downsamplers" => format!("input_blocks.{}.0.op.{kind}", first + down_layers),
        "upsamplers" => {
            let attends = all.contains_key(&format!("up_blocks.{level}.attentions.0.norm.weight"));
            format!("output_blocks.{}.{}.conv.{kind}", first + down_layers, if attends { 2 } else { 1 })
        }
        _ => return None,
    })
}

/// The name of the moving average of the UNet's `name`: dots were not allowed in it.
pub(super) fn averaged(name: &str) -> String {
    format!("{AVERAGE}diffusion_model{}", name.replace('.', ""))
}
