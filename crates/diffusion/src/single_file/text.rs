//! Text towers: CLIP under transformers' names (Stable Diffusion 1, the first of SDXL) and OpenCLIP under its own (2,
//! the second of SDXL). Counterpart of diffusers' `convert_ldm_clip_checkpoint` and `convert_open_clip_checkpoint`.

use super::plan::{Below, Planner, View};
use super::{Checked, Family, published};
use crate::clip::TextTower;
use crate::config::ClipTextConfig;
use crate::weights::shapes_of;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Stable Diffusion 1's.
pub(super) const CLIP: &str = "cond_stage_model.transformer.";
/// Stable Diffusion 2's.
pub(super) const OPEN_CLIP: &str = "cond_stage_model.model.";
/// SDXL's first.
pub(super) const XL_FIRST: &str = "conditioner.embedders.0.transformer.";
/// SDXL's second.
pub(super) const XL_SECOND: &str = "conditioner.embedders.1.model.";
/// What stands before all names of text towers.
pub(super) const PREFIXES: [&str; 2] = ["cond_stage_model.", "conditioner.embedders."];

const BLOCKS: &str = "text_model.encoder.layers.";
const PROJECTION: &str = "text_projection.weight";

pub(super) fn plan(planner: &mut Planner<'_>, family: Family) -> Checked<()> {
    match family {
        Family::StableDiffusion1 => clip(planner, CLIP),
        // The published model reads the states before the last block (and norms them), so that diffusers leaves the
        // last block out.
        Family::StableDiffusion2 => open_clip(planner, "text_encoder", OPEN_CLIP, 1),
        Family::StableDiffusionXl => {
            clip(planner, XL_FIRST)?;
            open_clip(planner, "text_encoder_2", XL_SECOND, 0)
        }
    }
}

fn clip(planner: &mut Planner<'_>, prefix: &'static str) -> Checked<()> {
    // Some files lack the inner prefix.
    let shapes = planner.shapes;
    let outer = Below { shapes, prefix };
    let inner = if outer.has("text_model.") { "text_model." } else { "" };
    let whole = format!("{prefix}{inner}");
    let tower = Below { shapes, prefix: &whole };
    if tower.names().next().is_none() {
        return Err(format!(
            "has no text tower (no tensor named \"{prefix}...\"): take the UNet alone, over a base"
        ));
    }
    let mut config = published::text(false);
    config["num_hidden_layers"] = json!(tower.count("encoder.layers.")?);
    let middle = tower.size("encoder.layers.0.mlp.fc1.weight", 0)?;
    sizes(
        &mut config,
        &tower,
        "embeddings.token_embedding.weight",
        "embeddings.position_embedding.weight",
        middle,
    )?;
    let wanted = wanted(&config)?;
    planner.part("text_encoder", config, &wanted, |new| {
        let name = new.strip_prefix("text_model.")?;
        Some((format!("{whole}{name}"), View::Whole))
    });
    // Part of the whole CLIP model; no text state depends on it.
    planner.ignore(|name| name.strip_prefix(prefix) == Some(PROJECTION));
    Ok(())
}

/// `unused`: how many of the last blocks are not read.
fn open_clip(
    planner: &mut Planner<'_>,
    part: &'static str,
    prefix: &'static str,
    unused: usize,
) -> Checked<()> {
    let shapes = planner.shapes;
    let tower = Below { shapes, prefix };
    if tower.names().next().is_none() {
        return Err(format!(
            "has no text tower (no tensor named \"{prefix}...\"): take the UNet alone, over a base"
        ));
    }
    let all = tower.count("transformer.resblocks.")?;
    let layers =
        all.checked_sub(unused).filter(|&layers| layers > 0).ok_or("has a text tower without blocks")?;
    let projects = unused == 0;
    let mut config = published::text(true);
    config["num_hidden_layers"] = json!(layers);
    let middle = tower.size("transformer.resblocks.0.mlp.c_fc.weight", 0)?;
    sizes(&mut config, &tower, "token_embedding.weight", "positional_embedding", middle)?;
    let width = config["hidden_size"].clone();
    if projects {
        config["architectures"] = json!(["CLIPTextModelWithProjection"]);
        config["projection_dim"] = json!(tower.size("text_projection", 1)?);
    }
    let mut wanted = wanted(&config)?;
    if projects {
        let shape = [&config["projection_dim"], &width].map(|n| n.as_u64().unwrap_or(0) as usize);
        wanted.insert(PROJECTION.to_owned(), shape.to_vec());
    }
    planner.part(part, config, &wanted, |new| {
        let (old, view) = open_clip_name(new)?;
        Some((format!("{prefix}{old}"), view))
    });
    let idle: Vec<String> = (layers..all).map(|i| format!("{prefix}transformer.resblocks.{i}.")).collect();
    planner.ignore(|name| {
        idle.iter().any(|block| name.starts_with(block))
            || ["logit_scale", "attn_mask"].iter().any(|idle| name.strip_prefix(prefix) == Some(idle))
            || (!projects && name.strip_prefix(prefix) == Some("text_projection"))
    });
    Ok(())
}

fn sizes(config: &mut Value, tower: &Below<'_>, tokens: &str, positions: &str, middle: usize) -> Checked<()> {
    let width = tower.size(tokens, 1)?;
    config["vocab_size"] = json!(tower.size(tokens, 0)?);
    config["max_position_embeddings"] = json!(tower.size(positions, 0)?);
    config["hidden_size"] = json!(width);
    config["intermediate_size"] = json!(middle);
    // Heads are 64 wide in every published tower.
    config["num_attention_heads"] = json!((width / 64).max(1));
    Ok(())
}

fn wanted(config: &Value) -> Checked<BTreeMap<String, Vec<usize>>> {
    let config: ClipTextConfig = serde_json::from_value(config.clone())
        .map_err(|e| format!("has a text tower that is not supported: {e}"))?;
    shapes_of(|scope| TextTower::new(scope, config).map(drop)).map_err(|e| e.to_string())
}

/// The name that transformers' parameter `new` has in OpenCLIP, below the prefix.
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
