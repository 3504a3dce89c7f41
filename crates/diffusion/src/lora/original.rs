//! The names of the UNet's layers in the original layout, which kohya's scripts use for SDXL.
//!
//! The original layout numbers its blocks consecutively. `input_blocks` are the first convolution, then every residual block
//! (with its attention, if any) and every downsampling. `output_blocks` are the residual blocks; an upsampling is the last
//! part of the block before it.

use crate::unet::original_names::{original_outer_layer, original_residual_layer};
use std::collections::BTreeMap;

/// The number of residual blocks of a down or up block, and whether it has attention.
#[derive(Clone, Copy, Default)]
struct Block {
    resnets: usize,
    attends: bool,
}

/// The original names of `layers`, each with the layer.
pub(super) fn names<'a>(layers: impl Iterator<Item = &'a str> + Clone) -> Vec<(String, &'a str)> {
    let (down, up) = (blocks(layers.clone(), "down_blocks."), blocks(layers.clone(), "up_blocks."));
    layers.filter_map(|layer| Some((name(layer, &down, &up)?, layer))).collect()
}

/// The down or up blocks by number.
fn blocks<'a>(layers: impl Iterator<Item = &'a str>, side: &str) -> BTreeMap<usize, Block> {
    let mut blocks: BTreeMap<usize, Block> = BTreeMap::new();
    for layer in layers.filter_map(|layer| layer.strip_prefix(side)) {
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

/// The original name of a layer of the UNet, if it has one.
fn name(layer: &str, down: &BTreeMap<usize, Block>, up: &BTreeMap<usize, Block>) -> Option<String> {
    if let Some(original) = original_outer_layer(layer) {
        return Some(original.to_owned());
    }
    if let Some(rest) = layer.strip_prefix("mid_block.") {
        let (part, rest) = split_after_two(rest)?;
        return Some(match part {
            "resnets.0" => format!("middle_block.0.{}", original_residual_layer(rest)?),
            "attentions.0" => format!("middle_block.1.{rest}"),
            "resnets.1" => format!("middle_block.2.{}", original_residual_layer(rest)?),
            _ => return None,
        });
    }
    let (side, blocks) = if layer.starts_with("down_blocks.") { ("input", down) } else { ("output", up) };
    let (block, rest) = split_after_two(layer)?;
    let i: usize = block.strip_prefix("down_blocks.").or(block.strip_prefix("up_blocks."))?.parse().ok()?;
    // A downsampling has a number of its own, and the first convolution has number 0.
    let first = match side {
        "input" => 1 + blocks.range(..i).map(|(_, block)| block.resnets + 1).sum::<usize>(),
        _ => blocks.range(..i).map(|(_, block)| block.resnets).sum(),
    };
    let Block { resnets, attends } = *blocks.get(&i)?;
    let (part, rest) = split_after_two(rest)?;
    let (kind, j) = part.split_once('.')?;
    let j: usize = j.parse().ok()?;
    Some(match kind {
        "resnets" => format!("{side}_blocks.{}.0.{}", first + j, original_residual_layer(rest)?),
        "attentions" => format!("{side}_blocks.{}.1.{rest}", first + j),
        "downsamplers" => format!("{side}_blocks.{}.0.op", first + resnets),
        "upsamplers" => {
            format!("{side}_blocks.{}.{}.conv", first + resnets - 1, if attends { 2 } else { 1 })
        }
        _ => return None,
    })
}

/// Splits "a.b.c.d" into "a.b" and "c.d".
fn split_after_two(name: &str) -> Option<(&str, &str)> {
    let first = name.find('.')?;
    let second = first + 1 + name[first + 1..].find('.')?;
    Some((&name[..second], &name[second + 1..]))
}
