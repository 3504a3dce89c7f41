//! The autoencoder of the original implementation. The counterpart of diffusers' `convert_ldm_vae_checkpoint`.

use super::family::Family;
use super::part::View;
use super::planner::Planner;
use super::prefixed_shapes::PrefixedShapes;
use super::problem::Checked;
use super::published;
use crate::config::VaeConfig;
use crate::vae::Autoencoder;
use crate::weights::parameter_shapes;
use serde_json::json;

/// The prefixes of all tensors of the autoencoder; the first is the usual one.
pub(super) const PREFIXES: [&str; 2] = ["first_stage_model.", "vae."];

/// The layers of the attention: diffusers' name and the original name.
const ATTENTION: [(&str, &str); 5] =
    [("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")];

/// Plans the autoencoder.
pub(super) fn plan(planner: &mut Planner<'_>, family: Family) -> Checked<()> {
    let shapes = planner.shapes;
    let candidates = PREFIXES.map(|prefix| PrefixedShapes { shapes, prefix });
    let Some(vae) = candidates.into_iter().find(|tensors| tensors.has("decoder.")) else {
        return Err(format!(
            "has no autoencoder (no tensor named \"{}...\"): import only the UNet, over a base",
            PREFIXES[0]
        ));
    };
    let levels = vae.count("encoder.down.")?;
    let channels = (0..levels)
        .map(|i| vae.size(&format!("encoder.down.{i}.block.0.conv1.weight"), 0))
        .collect::<Checked<Vec<_>>>()?;
    let mut config = published::vae(family);
    config["block_out_channels"] = json!(channels);
    config["down_block_types"] = json!(vec!["DownEncoderBlock2D"; levels]);
    config["up_block_types"] = json!(vec!["UpDecoderBlock2D"; levels]);
    config["layers_per_block"] = json!(vae.count("encoder.down.0.block.")?);
    config["latent_channels"] = json!(vae.size("decoder.conv_in.weight", 1)?);
    let parsed = VaeConfig::of(config.clone())
        .map_err(|e| format!("has an autoencoder that is not supported: {e}"))?;
    let needed =
        parameter_shapes(|scope| Autoencoder::new(scope, parsed).map(drop)).map_err(|e| e.to_string())?;
    planner.part("vae", config, &needed, |new| {
        let (old, view) = old_name(new, levels)?;
        Some((format!("{}{old}", vae.prefix), view))
    });
    Ok(())
}

/// The name in the file, without the prefix, of a parameter with the name `new` in diffusers.
fn old_name(new: &str, levels: usize) -> Option<(String, View)> {
    let (layer, kind) = new.rsplit_once('.')?;
    if let "quant_conv" | "post_quant_conv" = layer {
        return Some((new.to_owned(), View::Whole));
    }
    let (half, layer) = layer.split_once('.')?;
    if let Some(rest) = layer.strip_prefix("mid_block.attentions.0.") {
        let (_, old) = ATTENTION.iter().find(|(new, _)| *new == rest)?;
        // A 1 x 1 convolution in the file, a matrix in diffusers.
        let view = if *old != "norm" && kind == "weight" { View::Matrix } else { View::Whole };
        return Some((format!("{half}.mid.attn_1.{old}.{kind}"), view));
    }
    let old = match layer {
        "conv_norm_out" => "norm_out".to_owned(),
        _ => layer
            .replace("mid_block.resnets.0", "mid.block_1")
            .replace("mid_block.resnets.1", "mid.block_2")
            .replace("conv_shortcut", "nin_shortcut"),
    };
    let Some((side, rest)) = old.split_once("_blocks.") else {
        return Some((format!("{half}.{old}.{kind}"), View::Whole));
    };
    let (level, rest) = rest.split_once('.')?;
    let level = level.parse::<usize>().ok()?;
    // The original decoder counts its resolutions from the finest.
    let level = if side == "up" { levels.checked_sub(1 + level)? } else { level };
    let rest = rest
        .replace("resnets.", "block.")
        .replace("downsamplers.0", "downsample")
        .replace("upsamplers.0", "upsample");
    Some((format!("{half}.{side}.{level}.{rest}.{kind}"), View::Whole))
}
