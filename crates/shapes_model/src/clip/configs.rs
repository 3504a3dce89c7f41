//! The configs of the bundled CLIP, in the format of transformers.

use serde_json::{Value, json};

/// Tokens of a caption, with start and end.
pub(super) const MAX_TOKENS: usize = 24;
/// Width of both towers and of their features.
pub(super) const WIDTH: usize = 128;

/// The config of the text tower alone.
pub(super) fn text_config() -> Value {
    json!({
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        "vocab_size": shapes::vocabulary::tokens().len(),
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": MAX_TOKENS,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
        "projection_dim": WIDTH,
        "bos_token_id": shapes::vocabulary::tokens().len() - 2,
        "eos_token_id": shapes::vocabulary::tokens().len() - 1,
        "pad_token_id": shapes::vocabulary::tokens().len() - 1
    })
}

/// The config of both towers.
pub(super) fn config() -> Value {
    json!({
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": WIDTH,
        "logit_scale_init_value": 2.6592,
        "text_config": text_config(),
        "vision_config": {
            "model_type": "clip_vision_model",
            "image_size": shapes::SIDE,
            "patch_size": 8,
            "num_channels": 3,
            "hidden_size": WIDTH,
            "intermediate_size": 4 * WIDTH,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
            "projection_dim": WIDTH
        }
    })
}
