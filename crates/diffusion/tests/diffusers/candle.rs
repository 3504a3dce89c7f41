//! The text tower against candle-transformers, a second reference. Its UNet (tanh GELU, one timestep per batch, groups ignored)
//! and its autoencoder with attention differ from diffusers and cannot serve as references.

use crate::fixture::{Expected, folder, relative_error};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::clip::text_model::{Activation, ClipTextConfig, ClipTextTransformer};
use diffusion::clip::TextTower;
use std::path::Path;

fn weights(file: &Path) -> VarBuilder<'static> {
    let tensors = candle_core::safetensors::load(file, &Device::Cpu).expect("weights");
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

#[test]
fn text_states() {
    let folder = folder("model/text_encoder");
    let (ours, _) = TextTower::load(&folder, &Device::Cpu).expect("load");
    let c = ours.config();
    let config = ClipTextConfig {
        vocab_size: c.vocab_size,
        embed_dim: c.hidden_size,
        activation: Activation::QuickGelu,
        intermediate_size: c.intermediate_size,
        max_position_embeddings: c.max_position_embeddings,
        pad_with: None,
        num_hidden_layers: c.num_hidden_layers,
        num_attention_heads: c.num_attention_heads,
        projection_dim: c.projection_dim,
    };
    let weights = weights(&folder.join("model.safetensors")).pp("text_model");
    let theirs = ClipTextTransformer::new(weights, &config).expect("candle's text tower");
    let ids: Tensor = Expected::read("model/text_encoder").get("ids").to_dtype(DType::U32).expect("ids");
    let states = theirs.forward_with_mask(&ids, usize::MAX).expect("candle's forward");
    let ours = ours.forward(&ids.to_vec2().expect("ids")).expect("forward");
    let error = relative_error(&ours, &states);
    assert!(error <= 1e-5, "off by {error:e}");
}
