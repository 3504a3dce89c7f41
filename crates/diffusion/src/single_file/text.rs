//! Text towers: CLIP under transformers' names (Stable Diffusion 1, first of SDXL) and OpenCLIP under its own names (Stable
//! Diffusion 2, second of SDXL). The counterpart of diffusers' `convert_ldm_clip_checkpoint` and
//! `convert_open_clip_checkpoint`.

use super::family::Family;
use super::part::View;
use super::planner::Planner;
use super::prefixed_shapes::PrefixedShapes;
use super::problem::Checked;
use super::published;
use crate::clip::TextTower;
use crate::config::ClipTextConfig;
use crate::weights::parameter_shapes;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The prefix in Stable Diffusion 1.
pub(super) const CLIP_PREFIX: &str = "cond_stage_model.transformer.";
/// The prefix in Stable Diffusion 2.
pub(super) const OPEN_CLIP_PREFIX: &str = "cond_stage_model.model.";
/// The prefix of the first text tower of SDXL.
const XL_FIRST_PREFIX: &str = "conditioner.embedders.0.transformer.";
/// The prefix of the second text tower of SDXL.
pub(super) const XL_SECOND_PREFIX: &str = "conditioner.embedders.1.model.";
/// The prefixes of all tensors of text towers.
pub(super) const PREFIXES: [&str; 2] = ["cond_stage_model.", "conditioner.embedders."];

/// The prefix of the transformer blocks in transformers' names.
const BLOCKS: &str = "text_model.encoder.layers.";
/// The projection of the pooled state in transformers' names.
const PROJECTION: &str = "text_projection.weight";

/// Plans the text towers of a family.
pub(super) fn plan(planner: &mut Planner<'_>, family: Family) -> Checked<()> {
    match family {
        Family::StableDiffusion1 => clip(planner, CLIP_PREFIX),
        // The published model uses the (normalised) states before the last block, so diffusers omits the last block.
        Family::StableDiffusion2 => open_clip(planner, "text_encoder", OPEN_CLIP_PREFIX, 1),
        Family::StableDiffusionXl => {
            clip(planner, XL_FIRST_PREFIX)?;
            open_clip(planner, "text_encoder_2", XL_SECOND_PREFIX, 0)
        }
    }
}

fn clip(planner: &mut Planner<'_>, prefix: &'static str) -> Checked<()> {
    // The inner prefix is missing in some files.
    let shapes = planner.shapes;
    let outer = PrefixedShapes { shapes, prefix };
    let inner = if outer.has("text_model.") { "text_model." } else { "" };
    let full_prefix = format!("{prefix}{inner}");
    let tower = PrefixedShapes { shapes, prefix: &full_prefix };
    if tower.names().next().is_none() {
        return Err(format!(
            "has no text tower (no tensor named \"{prefix}...\"): import only the UNet, over a base"
        ));
    }
    let mut config = published::text(false);
    config["num_hidden_layers"] = json!(tower.count("encoder.layers.")?);
    let middle = tower.size("encoder.layers.0.mlp.fc1.weight", 0)?;
    set_sizes(
        &mut config,
        &tower,
        "embeddings.token_embedding.weight",
        "embeddings.position_embedding.weight",
        middle,
    )?;
    let needed = parameter_shapes_of(&config)?;
    planner.part("text_encoder", config, &needed, |new| {
        let name = new.strip_prefix("text_model.")?;
        Some((format!("{full_prefix}{name}"), View::Whole))
    });
    // The projection belongs to the complete CLIP model; text states do not depend on it.
    planner.ignore(|name| name.strip_prefix(prefix) == Some(PROJECTION));
    Ok(())
}

/// `unused`: the number of blocks at the end that the model does not use.
fn open_clip(
    planner: &mut Planner<'_>,
    part: &'static str,
    prefix: &'static str,
    unused: usize,
) -> Checked<()> {
    let shapes = planner.shapes;
    let tower = PrefixedShapes { shapes, prefix };
    if tower.names().next().is_none() {
        return Err(format!(
            "has no text tower (no tensor named \"{prefix}...\"): import only the UNet, over a base"
        ));
    }
    let all = tower.count("transformer.resblocks.")?;
    let layers =
        all.checked_sub(unused).filter(|&layers| layers > 0).ok_or("has a text tower without blocks")?;
    let has_projection = unused == 0;
    let mut config = published::text(true);
    config["num_hidden_layers"] = json!(layers);
    let middle = tower.size("transformer.resblocks.0.mlp.c_fc.weight", 0)?;
    set_sizes(&mut config, &tower, "token_embedding.weight", "positional_embedding", middle)?;
    let width = config["hidden_size"].clone();
    if has_projection {
        config["architectures"] = json!(["CLIPTextModelWithProjection"]);
        config["projection_dim"] = json!(tower.size("text_projection", 1)?);
    }
    let mut needed = parameter_shapes_of(&config)?;
    if has_projection {
        let shape = [&config["projection_dim"], &width].map(|n| n.as_u64().unwrap_or(0) as usize);
        needed.insert(PROJECTION.to_owned(), shape.to_vec());
    }
    planner.part(part, config, &needed, |new| {
        let (old, view) = open_clip_name(new)?;
        Some((format!("{prefix}{old}"), view))
    });
    let unused_blocks: Vec<String> =
        (layers..all).map(|i| format!("{prefix}transformer.resblocks.{i}.")).collect();
    planner.ignore(|name| {
        unused_blocks.iter().any(|block| name.starts_with(block))
            || ["logit_scale", "attn_mask"].iter().any(|other| name.strip_prefix(prefix) == Some(other))
            || (!has_projection && name.strip_prefix(prefix) == Some("text_projection"))
    });
    Ok(())
}

/// Sets the sizes in a config that follow from the embeddings, and the width `middle` of the perceptrons.
fn set_sizes(
    config: &mut Value,
    tower: &PrefixedShapes<'_>,
    tokens: &str,
    positions: &str,
    middle: usize,
) -> Checked<()> {
    let width = tower.size(tokens, 1)?;
    config["vocab_size"] = json!(tower.size(tokens, 0)?);
    config["max_position_embeddings"] = json!(tower.size(positions, 0)?);
    config["hidden_size"] = json!(width);
    config["intermediate_size"] = json!(middle);
    // Heads have width 64 in every published tower.
    config["num_attention_heads"] = json!((width / 64).max(1));
    Ok(())
}

/// The names and shapes of the parameters that a config describes.
fn parameter_shapes_of(config: &Value) -> Checked<BTreeMap<String, Vec<usize>>> {
    let config: ClipTextConfig = serde_json::from_value(config.clone())
        .map_err(|e| format!("has a text tower that is not supported: {e}"))?;
    parameter_shapes(|scope| TextTower::new(scope, config).map(drop)).map_err(|e| e.to_string())
}

/// The name in OpenCLIP, without the prefix, of a parameter with the name `new` in transformers.
fn open_clip_name(new: &str) -> Option<(String, View)> {
    if let Some(rest) = new.strip_prefix(BLOCKS) {
        let (i, rest) = rest.split_once('.')?;
        let (layer, kind) = rest.rsplit_once('.')?;
        let third = ["q_proj", "k_proj", "v_proj"]
            .iter()
            .position(|name| layer.strip_prefix("self_attn.") == Some(name));
        let (old, view) = match (third, layer) {
            (Some(third), _) => (format!("attn.in_proj_{kind}"), View::Third(third)),
            (None, "self_attn.out_proj") => (format!("attn.out_proj.{kind}"), View::Whole),
            (None, "layer_norm1") => (format!("ln_1.{kind}"), View::Whole),
            (None, "layer_norm2") => (format!("ln_2.{kind}"), View::Whole),
            (None, "mlp.fc1") => (format!("mlp.c_fc.{kind}"), View::Whole),
            (None, "mlp.fc2") => (format!("mlp.c_proj.{kind}"), View::Whole),
            _ => return None,
        };
        return Some((format!("transformer.resblocks.{i}.{old}"), view));
    }
    Some(match new {
        "text_model.embeddings.token_embedding.weight" => ("token_embedding.weight".to_owned(), View::Whole),
        "text_model.embeddings.position_embedding.weight" => ("positional_embedding".to_owned(), View::Whole),
        "text_model.final_layer_norm.weight" => ("ln_final.weight".to_owned(), View::Whole),
        "text_model.final_layer_norm.bias" => ("ln_final.bias".to_owned(), View::Whole),
        PROJECTION => ("text_projection".to_owned(), View::Transposed),
        _ => return None,
    })
}
