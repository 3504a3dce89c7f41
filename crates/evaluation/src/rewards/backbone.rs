//! The two CLIP models that published scorers are built on. Their settings are read from the shapes in the file, except
//! for the number of attention heads and the activation.

use crate::clip::naming::to_transformers;
use crate::clip::{Towers, normalised};
use crate::preprocess::{PillowImage, Preprocessing};
use crate::weights::Weights;
use candle_core::{Device, Tensor};
use diffusion::config::ClipConfig;
use diffusion::weights::Parameters;
use diffusion::{Error, Result};
use serde_json::json;
use std::borrow::Borrow;
use std::path::Path;

/// A published CLIP model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backbone {
    /// LAION's ViT-H/14 (laion2B-s32B-b79K), with exact GELU.
    VitH14,
    /// OpenAI's ViT-L/14, with QuickGELU.
    VitL14,
}

impl Backbone {
    /// Heads of the image tower, heads of the text tower, and activation.
    fn published(self) -> (usize, usize, &'static str) {
        match self {
            Self::VitH14 => (16, 16, "gelu"),
            Self::VitL14 => (16, 12, "quick_gelu"),
        }
    }

    /// Reads both towers, with OpenCLIP's or transformers' tensor names.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or if a tensor is missing, unknown or has another shape; names the tensor as
    /// the file does.
    pub(super) fn open(self, path: &Path, device: &Device) -> Result<Towers> {
        let (weights, naming) = to_transformers(Weights::read(path)?)?;
        self.build(weights, device).map_err(|e| naming.explain(e))
    }

    fn build(self, weights: Weights, device: &Device) -> Result<Towers> {
        let config = self.config(&weights)?;
        let origin = weights.file.display().to_string();
        let parameters = Parameters::of_tensors(weights.tensors, device).with_origin(origin);
        let towers = Towers::new(&parameters.root(), config)?;
        parameters.finish()?;
        Ok(towers)
    }

    fn config(self, weights: &Weights) -> Result<ClipConfig> {
        let (image_heads, text_heads, activation) = self.published();
        let [vocabulary, text] = weights.shape("text_model.embeddings.token_embedding.weight")?;
        let [positions, _] = weights.shape("text_model.embeddings.position_embedding.weight")?;
        let [text_middle, _] = weights.shape("text_model.encoder.layers.0.mlp.fc1.weight")?;
        let patches = "vision_model.embeddings.patch_embedding.weight";
        let [image, _, patch, _] = weights.shape(patches)?;
        let places = "vision_model.embeddings.position_embedding.weight";
        let [count, _] = weights.shape(places)?;
        let [image_middle, _] = weights.shape("vision_model.encoder.layers.0.mlp.fc1.weight")?;
        let [shared, _] = weights.shape("text_projection.weight")?;
        let side = count.saturating_sub(1).isqrt();
        if side == 0 || side * side + 1 != count {
            let problem = format!("has {count} positions, but one more than a square number is expected");
            return Err(weights.error(places, problem));
        }
        for (name, width, heads) in [
            (patches, image, image_heads),
            ("text_model.embeddings.token_embedding.weight", text, text_heads),
        ] {
            if width == 0 || width % heads != 0 {
                let problem = format!("has width {width}, which is not a multiple of {heads} heads");
                return Err(weights.error(name, problem));
            }
        }
        let layers = |tower: &str| weights.count(&format!("{tower}.encoder.layers."), ".layer_norm1.weight");
        // Built as JSON, so that the other fields get their defaults.
        let config = json!({
            "projection_dim": shared,
            "text_config": {
                "vocab_size": vocabulary, "hidden_size": text, "intermediate_size": text_middle,
                "num_hidden_layers": layers("text_model"), "num_attention_heads": text_heads,
                "max_position_embeddings": positions, "hidden_act": activation, "projection_dim": shared,
                // 2 pools at the largest id, which is that of the end token in every vocabulary of CLIP.
                "eos_token_id": 2,
            },
            "vision_config": {
                "image_size": side * patch, "patch_size": patch, "hidden_size": image,
                "intermediate_size": image_middle, "num_hidden_layers": layers("vision_model"),
                "num_attention_heads": image_heads, "hidden_act": activation, "projection_dim": shared,
            },
        });
        serde_json::from_value(config)
            .map_err(|e| Error::Format { file: weights.file.clone(), problem: format!("is not a CLIP: {e}") })
    }
}

/// L2-normalised features of images, (images, shared width).
pub(super) fn image_features<P: Borrow<PillowImage> + Sync>(
    towers: &Towers,
    preprocessing: Preprocessing,
    images: &[P],
    device: &Device,
) -> Result<Tensor> {
    let pixels = preprocessing.batch(images, towers.image_size(), device)?;
    normalised(&towers.image_features(&pixels)?)
}

/// L2-normalised features of texts, (texts, shared width). The ids of each text end with the end token. Shorter texts
/// are padded with 0, which the causal text tower does not see from there.
pub(super) fn text_features(towers: &Towers, mut ids: Vec<Vec<u32>>) -> Result<Tensor> {
    let longest = ids.iter().map(Vec::len).max().unwrap_or(0);
    ids.iter_mut().for_each(|ids| ids.resize(longest, 0));
    normalised(&towers.text_features(&ids)?.1)
}
