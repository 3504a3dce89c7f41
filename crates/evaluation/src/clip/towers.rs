//! CLIP's two towers, with transformers' weight names.

use candle_core::Tensor;
use diffusion::Result;
use diffusion::clip::{Encoder, EncoderShape, TextTower, vector_parameter};
use diffusion::config::{ClipConfig, ClipVisionConfig};
use diffusion::nn::{Embedding, LayerNorm, Linear, conv2d};
use diffusion::weights::{Init, Scope};

/// The image tower and the text tower with their projections.
#[derive(Debug)]
pub struct Towers {
    /// The text encoder.
    pub text: TextTower,
    image: ImageTower,
    text_projection: Linear,
    visual_projection: Linear,
    logit_scale: Tensor,
}

impl Towers {
    /// Builds both towers from the parameters of a scope.
    ///
    /// # Errors
    /// Fails if a parameter is missing or has another shape.
    pub fn new(scope: &Scope<'_>, config: ClipConfig) -> Result<Self> {
        let (text, image, shared) = (config.text_config, config.vision_config, config.projection_dim);
        Ok(Self {
            text_projection: Linear::without_bias(&scope.at("text_projection"), text.hidden_size, shared)?,
            visual_projection: Linear::without_bias(
                &scope.at("visual_projection"),
                image.hidden_size,
                shared,
            )?,
            logit_scale: scope.get("logit_scale", &[], Init::Constant((1.0f64 / 0.07).ln()))?,
            text: TextTower::new(scope, text)?,
            image: ImageTower::new(&scope.at("vision_model"), image)?,
        })
    }

    /// Side of the input images in pixels.
    #[must_use]
    pub fn image_size(&self) -> usize {
        self.image.config.image_size
    }

    /// Encodes images. `pixels`: (batch, 3, side, side), normalised. Returns (batch, shared width), not scaled to unit
    /// length.
    ///
    /// # Errors
    /// Fails if `pixels` has another shape.
    pub fn image_features(&self, pixels: &Tensor) -> Result<Tensor> {
        self.visual_projection.forward(&self.image.forward(pixels)?)
    }

    /// Encodes texts. Returns the states of all tokens, (batch, tokens, width), and the features, (batch, shared
    /// width), not scaled to unit length.
    ///
    /// # Errors
    /// Fails if an id exceeds the vocabulary.
    pub fn text_features(&self, ids: &[Vec<u32>]) -> Result<(Tensor, Tensor)> {
        let states = self.text.forward(ids)?;
        let features = self.text_projection.forward(&self.text.pool(&states, ids)?)?;
        Ok((states, features))
    }

    /// The logarithm of the factor that cosines are multiplied by before a softmax.
    #[must_use]
    pub fn logit_scale(&self) -> &Tensor {
        &self.logit_scale
    }
}

/// The image encoder (`vision_model`): patch embedding, class token, transformer.
#[derive(Debug)]
pub(crate) struct ImageTower {
    class: Tensor,
    patches: Tensor,
    no_bias: Tensor,
    positions: Embedding,
    pre_layrnorm: LayerNorm,
    encoder: Encoder,
    post_layernorm: LayerNorm,
    config: ClipVisionConfig,
}

impl ImageTower {
    pub(crate) fn new(scope: &Scope<'_>, config: ClipVisionConfig) -> Result<Self> {
        let (width, patch) = (config.hidden_size, config.patch_size);
        let embeddings = scope.at("embeddings");
        let shape = EncoderShape {
            width,
            middle: config.intermediate_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            causal: false,
            activation: config.hidden_act,
            epsilon: config.layer_norm_eps,
        };
        let count = (config.image_size / patch).pow(2) + 1;
        let class = vector_parameter(&embeddings, "class_embedding", width, 0.02)?;
        Ok(Self {
            patches: embeddings.at("patch_embedding").get(
                "weight",
                &[width, 3, patch, patch],
                Init::Normal(1.0 / ((3 * patch * patch) as f64).sqrt()),
            )?,
            no_bias: Tensor::zeros(width, class.dtype(), class.device())?,
            class,
            positions: Embedding::new(&embeddings.at("position_embedding"), count, width, 0.3)?,
            // Spelled like this in transformers.
            pre_layrnorm: LayerNorm::new(&scope.at("pre_layrnorm"), width, config.layer_norm_eps)?,
            encoder: Encoder::new(&scope.at("encoder"), shape)?,
            post_layernorm: LayerNorm::new(&scope.at("post_layernorm"), width, config.layer_norm_eps)?,
            config,
        })
    }

    /// (batch, 3, side, side) to (batch, width).
    pub(crate) fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let patches = conv2d(pixels, &self.patches, &self.no_bias, self.config.patch_size, 0)?;
        let patches = patches.flatten_from(2)?.transpose(1, 2)?;
        let (batch, _, width) = patches.dims3()?;
        let class = self.class.reshape((1, 1, width))?.expand((batch, 1, width))?;
        let x = Tensor::cat(&[&class, &patches], 1)?.broadcast_add(self.positions.table())?;
        let class = self.encoder.first_position(&self.pre_layrnorm.forward(&x)?)?;
        self.post_layernorm.forward(&class)
    }
}
