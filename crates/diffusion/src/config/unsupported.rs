//! Settings of diffusers' classes that our networks do not implement, each with the value at which it has no effect.

use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// A field, and the value in JSON at which it has no effect; null never has one.
pub(super) type Unsupported = (&'static str, &'static str);

pub(super) const UNET: &[Unsupported] = &[
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
    ("num_attention_heads", "null"), // diffusers refuses it too: attention_head_dim is the number of heads
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

/// Settings of a ControlNet, in addition to those of its UNet.
pub(super) const CONTROLNET: &[Unsupported] =
    &[("controlnet_conditioning_channel_order", "\"rgb\""), ("global_pool_conditions", "false")];

pub(super) const VAE: &[Unsupported] = &[
    ("act_fn", "\"silu\""),
    ("down_block_types", "\"DownEncoderBlock2D\""),
    ("latents_mean", "null"),
    ("latents_std", "null"),
    ("shift_factor", "null"),
    ("up_block_types", "\"UpDecoderBlock2D\""),
];

/// Settings of the noise schedule. Those of samplers are in `sampler/settings.rs`.
pub(super) const SCHEDULE: &[Unsupported] = &[("trained_betas", "null")];

/// Checks that every setting, or every element of a list, has no effect.
///
/// # Errors
/// Fails for the first setting that has an effect.
pub(super) fn check(config: &Value, settings: &[Unsupported], file: &Path) -> Result<()> {
    for (field, neutral) in settings {
        // Numbers are compared by value: 1 and 1.0 are equal.
        let is_neutral = |value: &Value| {
            value.is_null()
                || neutral.parse().is_ok_and(|neutral: Value| neutral == *value)
                || value.as_f64().is_some_and(|v| neutral.parse() == Ok(v))
        };
        let is_supported = match &config[field] {
            Value::Array(values) => values.iter().all(is_neutral),
            value => is_neutral(value),
        };
        if !is_supported {
            let problem = format!("{field}: {} is not supported, only {neutral}", config[field]);
            return Err(Error::format(file, problem));
        }
    }
    Ok(())
}
