//! Names of the UNet's layers in the original layout, which kohya's scripts keep for SDXL.
//!
//! The original counts its blocks through: `input_blocks` are the first convolution, then every residual block (with
//! its attention, if any) and every downsampling; `output_blocks` are the residual blocks, an upsampling being the last
//! part of the block before it.

use super::Layers;
use std::collections::BTreeMap;

/// Residual blocks of a block, and whether it attends.
#[derive(Clone, Copy, Default)]
struct Block {
    resnets: usize,
    attends: bool,
}

/// Original names with the layer that each means.
pub(super) fn names(layers: &Layers) -> Vec<(String, &str)> {
    let (down, up) = (blocks(layers, "down_blocks."), blocks(layers, "up_blocks."));
    layers.names().filter_map(|layer| Some((name(layer, &down, &up)?, layer))).collect()
}

fn blocks(layers: &Layers, side: &str) -> BTreeMap<usize, Block> {
    let mut blocks: BTreeMap<usize, Block> = BTreeMap::new();
    for layer in layers.names().filter_map(|layer| layer.strip_prefix(side)) {
        let mut words = layer.split('.');
        let (Some(Ok(i)), Some(kind)) = (words.next().map(str::parse), words.next()) else { continue };
        let block = blocks.entry(i).or_default();
        match (kind, words.next().map(str::parse::<usize>)) {
            ("resnets", Some(Ok(j))) => block.resnets = block.resnets.max(j + 1),
            ("attentions", _) => block.attends = true,
            _ => {}
        }
    }
    blocks
}

/// The original name of a layer of the UNet; `None` if it has none.
fn name(layer: &str, down: &BTreeMap<usize, Block>, up: &BTreeMap<usize, Block>) -> Option<String> {
    let outside = match layer {
        "conv_in" => "input_blocks.0.0",
        "conv_out" => "out.2",
        "time_embedding.linear_1" => "time_embed.0",
        "time_embedding.linear_2" => "time_embed.2",
        "add_embedding.linear_1" => "label_emb.0.0",
        "add_embedding.linear_2" => "label_emb.0.2",
        _ => "",
    };
    if !outside.is_empty() {
        return Some(outside.to_owned());
    }
    if let Some(rest) = layer.strip_prefix("mid_block.") {
        let (part, rest) = split_after_two(rest)?;
        return Some(match part {
            "resnets.0" => format!("middle_block.0.{}", resnet(rest)?),
            "attentions.0" => format!("middle_block.1.{rest}"),
            "resnets.1" => format!("middle_block.2.{}", resnet(rest)?),
            _ => return None,
        });
    }
    let (side, blocks) = if layer.starts_with("down_blocks.") { ("input", down) } else { ("output", up) };
    let (block, rest) = split_after_two(layer)?;
    let i: usize = block.strip_prefix("down_blocks.").or(block.strip_prefix("up_blocks."))?.parse().ok()?;
    // Downsampling counts as a block of its own, and the first convolution came before.
    let first = match side {
        "input" => 1 + blocks.range(..i).map(|(_, block)| block.resnets + 1).sum::<usize>(),
        _ => blocks.range(..i).map(|(_, block)| block.resnets).sum(),
    };
    let Block { resnets, attends } = *blocks.get(&i)?;
    let (part, rest) = split_after_two(rest)?;
    let (kind, j) = part.split_once('.')?;
    let j: usize = j.parse().ok()?;
    Some(match kind {
        "resnets" => format!("{side}_blocks.{}.0.{}", first + j, resnet(rest)?),
        "attentions" => format!("{side}_blocks.{}.1.{rest}", first + j),
        "downsamplers" => format!("{side}_blocks.{}.0.op", first + resnets),
        "upsamplers" => {
            format!("{side}_blocks.{}.{}.conv", first + resnets - 1, if attends { 2 } else { 1 })
        }
        _ => return None,
    })
}

/// A part of a residual block.
fn resnet(part: &str) -> Option<&'static str> {
    Some(match part {
        "conv1" => "in_layers.2",
        "time_emb_proj" => "emb_layers.1",
        "conv2" => "out_layers.3",
        "conv_shortcut" => "skip_connection",
        _ => return None,
    })
}

/// "a.b.c.d" as "a.b" and "c.d".
fn split_after_two(name: &str) -> Option<(&str, &str)> {
    let first = name.find('.')?;
    let second = first + 1 + name[first + 1..].find('.')?;
    Some((&name[..second], &name[second + 1..]))
}
