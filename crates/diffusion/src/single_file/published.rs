//! The configs of the published models, which a single file does not contain. They are from the diffusers folders of
//! `stable-diffusion-v1-5/stable-diffusion-v1-5`, `stabilityai/stable-diffusion-2-1` and
//! `stabilityai/stable-diffusion-xl-base-1.0`. Their sizes are replaced by those of the file.

use super::family::Family;
use super::part::Part;
use crate::config::Prediction;
use crate::layout::{self, SCHEDULE};
use serde_json::{Value, json};

/// The version of diffusers whose defaults these configs assume.
const VERSION: &str = "0.35.0";

/// Parts of names that occur only in other models, with the name of the model.
pub(super) const UNSUPPORTED: [(&str, &str); 10] = [
    ("joint_blocks.", "Stable Diffusion 3"),
    ("double_blocks.", "Flux"),
    ("double_layers.", "AuraFlow"),
    ("control_model.", "a ControlNet"),
    ("lora_unet_", "an adapter of a kind that is not LoRA"),
    ("conditioner.embedders.0.model.text_projection", "the refiner of SDXL"),
    ("edm_mean", "Playground v2.5"),
    ("edm_std", "Playground v2.5"),
    ("edm_vpred", "a model of EDM's noise levels such as CosXL"),
    ("clip_txt_mapper.", "Stable Cascade"),
];

/// Suffixes and prefixes (which end with a dot) of tensors that many files have and no network needs: indices, temperatures,
/// the discriminator and averages of the autoencoder.
const IGNORED: [&str; 9] = [
    "position_ids",
    "logit_scale",
    "attn_mask",
    "first_stage_model.loss.",
    "first_stage_model.model_ema.",
    "vae.model_ema.",
    "first_stage_model.quantize.",
    "cond_stage_model.transformer.vision_model.",
    "cond_stage_model.transformer.visual_projection.",
];

/// Whether a tensor is one that no network needs.
pub(super) fn is_ignored(name: &str) -> bool {
    IGNORED.iter().any(|part| name.ends_with(part) || (part.ends_with('.') && name.starts_with(part)))
}

/// `unet/config.json` without the sizes.
pub(super) fn unet(family: Family) -> Value {
    let mut config = json!({
        "_class_name": "UNet2DConditionModel",
        "_diffusers_version": VERSION,
        "act_fn": "silu",
        "attention_head_dim": 8,
        "center_input_sample": false,
        "downsample_padding": 1,
        "flip_sin_to_cos": true,
        "freq_shift": 0,
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-5,
        "norm_num_groups": 32,
        "sample_size": sample_size(family),
    });
    match family {
        Family::StableDiffusion1 => {}
        Family::StableDiffusion2 => config["upcast_attention"] = json!(true),
        Family::StableDiffusionXl => {
            config["addition_embed_type"] = json!("text_time");
            config["addition_time_embed_dim"] = json!(256);
        }
    }
    config
}

/// The side of the latents.
fn sample_size(family: Family) -> u32 {
    match family {
        Family::StableDiffusion1 => 64,
        Family::StableDiffusion2 => 96,
        Family::StableDiffusionXl => 128,
    }
}

/// `vae/config.json` without the sizes.
pub(super) fn vae(family: Family) -> Value {
    let mut config = json!({
        "_class_name": "AutoencoderKL",
        "_diffusers_version": VERSION,
        "act_fn": "silu",
        "in_channels": 3,
        "norm_num_groups": 32,
        "out_channels": 3,
        "sample_size": 8 * sample_size(family),
        "scaling_factor": 0.18215,
    });
    if family == Family::StableDiffusionXl {
        config["scaling_factor"] = json!(0.13025);
        config["force_upcast"] = json!(true);
    }
    config
}

/// `text_encoder/config.json` without the sizes. OpenCLIP's towers use the exact GELU.
pub(super) fn text(open_clip: bool) -> Value {
    json!({
        "architectures": ["CLIPTextModel"],
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "dropout": 0.0,
        "eos_token_id": 2,
        "hidden_act": if open_clip { "gelu" } else { "quick_gelu" },
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-5,
        "model_type": "clip_text_model",
        "pad_token_id": 1,
        "projection_dim": if open_clip { 512 } else { 768 },
    })
}

/// The other files of the folder: path and content.
pub(super) fn configs(
    family: Family,
    prediction: Prediction,
    no_last_signal: bool,
    parts: &[Part],
) -> Vec<(String, Value)> {
    let mut schedule = json!({
        "_diffusers_version": VERSION,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "clip_sample": false,
        "num_train_timesteps": 1000,
        "prediction_type": match prediction {
            Prediction::Epsilon => "epsilon",
            Prediction::VPrediction => "v_prediction",
        },
        "set_alpha_to_one": false,
        "skip_prk_steps": true,
        "steps_offset": 1,
        "timestep_spacing": "leading",
        "trained_betas": null,
    });
    schedule["_class_name"] = json!(match family {
        // PNDM does not have the setting of a schedule without signal at the end.
        Family::StableDiffusion1 if !no_last_signal => "PNDMScheduler",
        Family::StableDiffusion1 | Family::StableDiffusion2 => "DDIMScheduler",
        Family::StableDiffusionXl => "EulerDiscreteScheduler",
    });
    if no_last_signal {
        schedule["rescale_betas_zero_snr"] = json!(true);
        // Leading timesteps would never reach the last one.
        schedule["timestep_spacing"] = json!("trailing");
    }
    let mut configs = vec![(SCHEDULE.to_owned(), schedule)];
    let tokenizer = |pad: &str| {
        json!({
            "bos_token": "<|startoftext|>",
            "do_lower_case": true,
            "eos_token": "<|endoftext|>",
            "errors": "replace",
            "model_max_length": 77,
            "pad_token": pad,
            "tokenizer_class": "CLIPTokenizer",
            "unk_token": "<|endoftext|>",
        })
    };
    let (first, second) = match family {
        Family::StableDiffusion1 => ("<|endoftext|>", None),
        Family::StableDiffusion2 => ("!", None),
        Family::StableDiffusionXl => ("<|endoftext|>", Some("!")),
    };
    configs.push(("tokenizer/tokenizer_config.json".to_owned(), tokenizer(first)));
    configs.extend(second.map(|pad| ("tokenizer_2/tokenizer_config.json".to_owned(), tokenizer(pad))));
    let channels = parts.iter().find(|part| part.name == "unet").map(|part| &part.config["in_channels"]);
    let class = match (channels.and_then(Value::as_u64), family) {
        (Some(8), Family::StableDiffusion1) => "StableDiffusionInstructPix2PixPipeline",
        (Some(9), Family::StableDiffusionXl) => "StableDiffusionXLInpaintPipeline",
        (Some(9), _) => "StableDiffusionInpaintPipeline",
        (_, Family::StableDiffusionXl) => "StableDiffusionXLPipeline",
        (_, _) => "StableDiffusionPipeline",
    };
    let index = layout::model_index(class, configs[0].1["_class_name"].as_str().unwrap_or_default(), VERSION);
    configs.push((layout::MODEL_INDEX.to_owned(), index));
    configs
}
