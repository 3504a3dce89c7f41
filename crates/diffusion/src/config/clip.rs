//! The configs of CLIP models.

use super::defaults::{norm_eps, quick_gelu};
use crate::nn::Activation;
use serde::Deserialize;

/// The config of a text tower: `text_encoder/config.json`, or a part of a CLIP model's.
#[derive(Clone, Debug, Deserialize)]
pub struct ClipTextConfig {
    /// Tokens of the vocabulary.
    pub vocab_size: usize,
    /// Width of the states.
    pub hidden_size: usize,
    /// Width of the hidden layer of each block's perceptron.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Attention heads per block.
    pub num_attention_heads: usize,
    /// The longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Activation of each block's perceptron.
    #[serde(default = "quick_gelu")]
    pub hidden_act: Activation,
    /// Epsilon of the layer norms.
    #[serde(default = "norm_eps")]
    pub layer_norm_eps: f64,
    /// Width of the space that texts and images are projected to.
    #[serde(default = "projection_dim")]
    pub projection_dim: usize,
    /// The token whose state is the pooled state; 2 in old files, whose end token is the largest id.
    #[serde(default = "eos_token_id")]
    pub eos_token_id: u32,
}

/// The config of an image tower, a part of a CLIP model's.
#[derive(Clone, Debug, Deserialize)]
pub struct ClipVisionConfig {
    /// Side of the image in pixels.
    pub image_size: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Width of the states.
    pub hidden_size: usize,
    /// Width of the hidden layer of each block's perceptron.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Attention heads per block.
    pub num_attention_heads: usize,
    /// Activation of each block's perceptron.
    #[serde(default = "quick_gelu")]
    pub hidden_act: Activation,
    /// Epsilon of the layer norms.
    #[serde(default = "norm_eps")]
    pub layer_norm_eps: f64,
    /// Width of the space that texts and images are projected to.
    #[serde(default = "projection_dim")]
    pub projection_dim: usize,
}

/// The `config.json` of a CLIP model.
#[derive(Clone, Debug, Deserialize)]
pub struct ClipConfig {
    /// The text tower.
    pub text_config: ClipTextConfig,
    /// The image tower.
    pub vision_config: ClipVisionConfig,
    /// Width of the space that texts and images are projected to.
    #[serde(default = "projection_dim")]
    pub projection_dim: usize,
}

fn projection_dim() -> usize {
    512
}

fn eos_token_id() -> u32 {
    2
}
