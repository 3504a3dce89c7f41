//! CLIP's transformer and text tower, under transformers' weight names. The image tower is in the `evaluation` crate and
//! uses the same [`Encoder`].

use crate::Result;
use crate::config::{self, ClipTextConfig};
use crate::nn::{Activation, AttentionShape, Embedding, LayerNorm, Linear, attention};
use crate::weights::{Init, Parameters, PartFiles, Scope, Stem, StoredWeights, Variables};
use candle_core::{DType, Device, Tensor};
use std::path::Path;

/// The sizes and settings of a CLIP transformer.
#[derive(Clone, Copy, Debug)]
pub struct EncoderShape {
    /// Width of the states.
    pub width: usize,
    /// Width of the hidden layer of each block's perceptron.
    pub middle: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads per block.
    pub heads: usize,
    /// Whether a position attends only to itself and earlier positions.
    pub causal: bool,
    /// Activation of each block's perceptron.
    pub activation: Activation,
    /// Epsilon of the layer norms.
    pub epsilon: f64,
}

/// A stack of pre-norm transformer blocks (`layers.N`).
#[derive(Debug)]
pub struct Encoder {
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    layer_norm1: LayerNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    shape: EncoderShape,
}

impl Encoder {
    /// Builds the blocks from their parameters.
    ///
    /// # Errors
    /// Fails if a parameter is missing or has another shape.
    pub fn new(scope: &Scope<'_>, shape: EncoderShape) -> Result<Self> {
        let layers = (0..shape.layers).map(|i| Layer::new(&scope.at(format!("layers.{i}")), shape));
        Ok(Self { layers: layers.collect::<Result<_>>()? })
    }

    /// Applies all blocks: (batch, positions, width) to the same shape.
    ///
    /// # Errors
    /// Fails if the shapes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.last(&self.all_but_last(x)?)
    }

    /// The first position of [`Encoder::forward`], (batch, width). The last block computes only this position. The encoder must
    /// not be causal.
    ///
    /// # Errors
    /// Fails if the shapes do not fit.
    pub fn first_position(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.all_but_last(x)?;
        let first = match self.layers.last() {
            Some(layer) => layer.forward_first(&x, 1)?,
            None => x.narrow(1, 0, 1)?,
        };
        Ok(first.squeeze(1)?.contiguous()?)
    }

    fn all_but_last(&self, x: &Tensor) -> Result<Tensor> {
        let count = self.layers.len().saturating_sub(1);
        self.layers[..count].iter().try_fold(x.clone(), |x, layer| layer.forward(&x))
    }

    fn last(&self, x: &Tensor) -> Result<Tensor> {
        self.layers.last().map_or_else(|| Ok(x.clone()), |layer| layer.forward(x))
    }
}

impl Layer {
    fn new(scope: &Scope<'_>, shape: EncoderShape) -> Result<Self> {
        let EncoderShape { width, middle, epsilon, .. } = shape;
        let attention = scope.at("self_attn");
        let project = |name: &str| Linear::new(&attention.at(name), width, width);
        Ok(Self {
            layer_norm1: LayerNorm::new(&scope.at("layer_norm1"), width, epsilon)?,
            q_proj: project("q_proj")?,
            k_proj: project("k_proj")?,
            v_proj: project("v_proj")?,
            out_proj: project("out_proj")?,
            layer_norm2: LayerNorm::new(&scope.at("layer_norm2"), width, epsilon)?,
            fc1: Linear::new(&scope.at("mlp.fc1"), width, middle)?,
            fc2: Linear::new(&scope.at("mlp.fc2"), middle, width)?,
            shape,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_first(x, x.dim(1)?)
    }

    /// The first `count` positions of the result, which attend to all positions of `x`.
    fn forward_first(&self, x: &Tensor, count: usize) -> Result<Tensor> {
        let first =
            |t: &Tensor| if t.dim(1)? == count { Ok(t.clone()) } else { t.narrow(1, 0, count)?.contiguous() };
        let h = self.layer_norm1.forward(x)?;
        let (q, k, v) =
            (self.q_proj.forward(&first(&h)?)?, self.k_proj.forward(&h)?, self.v_proj.forward(&h)?);
        let shape = AttentionShape { heads: self.shape.heads, causal: self.shape.causal };
        let x = (self.out_proj.forward(&attention(&q, &k, &v, shape)?)? + first(x)?)?;
        let h = self.fc1.forward(&self.layer_norm2.forward(&x)?)?;
        Ok((self.fc2.forward(&self.shape.activation.apply(&h)?)? + x)?)
    }
}

/// The text tower: embeddings, a causal encoder and a final norm (`text_model`).
#[derive(Debug)]
pub struct TextTower {
    tokens: Embedding,
    positions: Embedding,
    encoder: Encoder,
    final_layer_norm: LayerNorm,
    config: ClipTextConfig,
}

impl TextTower {
    /// Builds the network that the config describes from its parameters.
    ///
    /// # Errors
    /// Fails if a parameter is missing or has another shape.
    pub fn new(scope: &Scope<'_>, config: ClipTextConfig) -> Result<Self> {
        let scope = scope.at("text_model");
        let width = config.hidden_size;
        let embeddings = scope.at("embeddings");
        let shape = EncoderShape {
            width,
            middle: config.intermediate_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            causal: true,
            activation: config.hidden_act,
            epsilon: config.layer_norm_eps,
        };
        Ok(Self {
            tokens: Embedding::new(&embeddings.at("token_embedding"), config.vocab_size, width, 0.02)?,
            positions: Embedding::new(
                &embeddings.at("position_embedding"),
                config.max_position_embeddings,
                width,
                0.02,
            )?,
            encoder: Encoder::new(&scope.at("encoder"), shape)?,
            final_layer_norm: LayerNorm::new(&scope.at("final_layer_norm"), width, config.layer_norm_eps)?,
            config,
        })
    }

    /// Loads `config.json` and the weights of `folder`, such as `text_encoder/` of a pipeline.
    ///
    /// # Errors
    /// Fails if a file cannot be read, or a tensor is missing, superfluous or of another shape.
    pub fn load(folder: &Path, device: &Device) -> Result<(Self, Variables)> {
        Self::load_in(folder, device, DType::F32)
    }

    /// As [`TextTower::load`], computing in `dtype`.
    ///
    /// # Errors
    /// As [`TextTower::load`].
    pub fn load_in(folder: &Path, device: &Device, dtype: DType) -> Result<(Self, Variables)> {
        let (parameters, config) = Self::open(folder, device, dtype)?;
        parameters.build(|scope| Self::new(scope, config.clone()))
    }

    /// The parameters in `folder`, and the config.
    pub(crate) fn open(folder: &Path, device: &Device, dtype: DType) -> Result<(Parameters, ClipTextConfig)> {
        let config: ClipTextConfig = config::read(&folder.join("config.json"))?;
        let stored = Self::rename(StoredWeights::open(&PartFiles::locate(folder, Stem::TRANSFORMER)?)?)?;
        Ok((Parameters::from_stored(stored, device, dtype, false), config))
    }

    /// Renames the tensors of newer files to the names of published ones.
    ///
    /// # Errors
    /// Fails if two tensors get the same name.
    pub fn rename(stored: StoredWeights) -> Result<StoredWeights> {
        stored.rename(with_prefix)
    }

    /// The config of the network.
    #[must_use]
    pub fn config(&self) -> &ClipTextConfig {
        &self.config
    }

    /// The states after the final norm, (batch, positions, width), to which the UNets of SD 1.5 and 2.1 attend. `ids`: one
    /// sequence per text, all of one length.
    ///
    /// # Errors
    /// Fails if an id is outside the vocabulary or the sequences are too long.
    pub fn forward(&self, ids: &[Vec<u32>]) -> Result<Tensor> {
        self.finish(&self.penultimate(ids)?)
    }

    /// The states before the last block, (batch, positions, width), without a norm, to which the UNet of SDXL attends
    /// (transformers' `hidden_states[-2]`).
    ///
    /// # Errors
    /// As [`TextTower::forward`].
    pub fn penultimate(&self, ids: &[Vec<u32>]) -> Result<Tensor> {
        let (batch, length) = (ids.len(), ids.first().map_or(0, Vec::len));
        let positions = self.positions.table().narrow(0, 0, length)?;
        let flat: Vec<u32> = ids.concat();
        let ids = Tensor::from_vec(flat, (batch, length), positions.device())?;
        let x = self.tokens.forward(&ids)?.broadcast_add(&positions)?;
        self.encoder.all_but_last(&x)
    }

    /// Continues from the result of [`TextTower::penultimate`] to that of [`TextTower::forward`].
    ///
    /// # Errors
    /// Fails if the shapes do not fit.
    pub fn finish(&self, penultimate: &Tensor) -> Result<Tensor> {
        self.final_layer_norm.forward(&self.encoder.last(penultimate)?)
    }

    /// The pooled state of each text, (batch, width): the one at the first end token. The position is found on the host,
    /// because candle's argmax on CUDA does not return the first of several equal maxima.
    ///
    /// # Errors
    /// Fails if `states` and `ids` do not belong together.
    pub fn pool(&self, states: &Tensor, ids: &[Vec<u32>]) -> Result<Tensor> {
        let length = states.dim(1)?;
        let flat: Vec<u32> =
            ids.iter().enumerate().map(|(i, ids)| (i * length + self.end_position(ids)) as u32).collect();
        let index = Tensor::from_vec(flat, ids.len(), states.device())?;
        Ok(states.flatten(0, 1)?.index_select(&index, 0)?)
    }

    fn end_position(&self, ids: &[u32]) -> usize {
        // Old configs have 2 here although the end token is the largest id; transformers has the same workaround.
        let end = match self.config.eos_token_id {
            2 => ids.iter().copied().max().unwrap_or_default(),
            end => end,
        };
        ids.iter().position(|&id| id == end).unwrap_or(0)
    }
}

/// Adds the prefix that all published files have, and that transformers omits since version 5.6.
fn with_prefix(name: &str) -> String {
    let is_bare = ["embeddings.", "encoder.", "final_layer_norm."].iter().any(|part| name.starts_with(part));
    if is_bare { format!("text_model.{name}") } else { name.to_owned() }
}

/// A parameter that is a single vector, such as the class token. A new network draws it from a normal distribution with
/// standard deviation `deviation`.
///
/// # Errors
/// Fails if it is missing or does not have `width` values.
pub fn vector_parameter(scope: &Scope<'_>, name: &str, width: usize, deviation: f64) -> Result<Tensor> {
    scope.get(name, &[width], Init::Normal(deviation))
}
