//! Settings of diffusers' classes that our networks do not have, and the value at which diffusers' do without.

use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// A field and its neutral value in JSON; null is always neutral.
pub(super) type Neutral = (&'static str, &'static str);

pub(super) const UNET: &[Neutral] = &[
    ("attention_type", "\"default\""),
    ("center_input_sample", "false"),
    ("class_embed_type", "null"),
    ("class_embeddings_concat", "false"),
    ("conv_in_kernel", "3"),
    ("conv_out_kernel", "3"),
    ("cross_attention_norm", "null"),
    ("downsample_padding", "1"),
    ("dropout", "0"),
    ("dual_cross_attention", "false"),
    ("encoder_hid_dim", "null"),
    ("encoder_hid_dim_type", "null"),
    ("mid_block_scale_factor", "1"),
    ("num_attention_heads", "null"), // diffusers refuses it too: attention_head_dim says how many heads
    ("num_class_embeds", "null"),
    ("only_cross_attention", "false"),
    ("resnet_out_scale_factor", "1"),
    ("resnet_skip_time_act", "false"),
    ("resnet_time_scale_shift", "\"default\""),
    ("time_cond_proj_dim", "null"),
    ("time_embedding_act_fn", "null"),
    ("time_embedding_type", "\"positional\""),
    ("timestep_post_act", "null"),
];

/// Beside the UNet's.
pub(super) const CONTROLNET: &[Neutral] =
    &[("controlnet_conditioning_channel_order", "\"rgb\""), ("global_pool_conditions", "false")];

pub(super) const VAE: &[Neutral] = &[
    ("act_fn", "\"silu\""),
    ("down_block_types", "\"DownEncoderBlock2D\""),
    ("latents_mean", "null"),
    ("latents_std", "null"),
    ("shift_factor", "null"),
    ("up_block_types", "\"UpDecoderBlock2D\""),
];

/// Of the noise schedule. What a sampler cannot obey is its own affair: `sampler/settings.rs`.
pub(super) const SCHEDULE: &[Neutral] = &[("rescale_betas_zero_snr", "false"), ("trained_betas", "null")];

/// Every setting must be neutral, or a list of neutral values.
///
/// # Errors
/// The first that is not.
pub(super) fn check(config: &Value, settings: &[Neutral], file: &Path) -> Result<()> {
    for (field, neutral) in settings {
        // Numbers by value: 1 and 1.0 are the same setting.
        let is_neutral = |value: &Value| {
            value.is_null()
                || neutral.parse().is_ok_and(|neutral: Value| neutral == *value)
                || value.as_f64().is_some_and(|v| neutral.parse() == Ok(v))
        };
        let obeyed = match &config[field] {
            Value::Array(values) => values.iter().all(is_neutral),
            value => is_neutral(value),
        };
        if !obeyed {
            let problem = format!("{field}: {} is not supported, only {neutral}", config[field]);
            return Err(Error::format(file, problem));
        }
    }
    Ok(())
}
