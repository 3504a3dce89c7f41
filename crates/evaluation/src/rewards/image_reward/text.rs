//! BLIP's text encoder (`med.py`): BERT without token types, with cross-attention to the image in every layer.

use crate::weights::Weights;
use candle_core::Tensor;
use diffusion::Result;
use diffusion::nn::{Activation, AttentionShape, Embedding, FrozenLinear, LayerNorm, attention, residual};
use diffusion::weights::Scope;

/// Attention heads of BERT base; the shapes in the file do not determine them.
const HEADS: usize = 12;
const EPSILON: f64 = 1e-12;

#[derive(Debug)]
pub(super) struct TextEncoder {
    words: Embedding,
    positions: Embedding,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    self_attention: Attention,
    cross_attention: Attention,
    middle: FrozenLinear,
    output: FrozenLinear,
    norm: LayerNorm,
}

#[derive(Debug)]
struct Attention {
    query: FrozenLinear,
    key: FrozenLinear,
    value: FrozenLinear,
    output: FrozenLinear,
    norm: LayerNorm,
}

impl TextEncoder {
    pub(super) fn new(scope: &Scope<'_>, weights: &Weights) -> Result<Self> {
        let name = |rest: &str| format!("blip.text_encoder.{rest}");
        let [vocabulary, width] = weights.shape(&name("embeddings.word_embeddings.weight"))?;
        let [positions, _] = weights.shape(&name("embeddings.position_embeddings.weight"))?;
        let [middle, _] = weights.shape(&name("encoder.layer.0.intermediate.dense.weight"))?;
        let [_, image_width] = weights.shape(&name("encoder.layer.0.crossattention.self.key.weight"))?;
        if width == 0 || width % HEADS != 0 {
            let problem = format!("has width {width}, which is not a multiple of {HEADS} heads");
            return Err(weights.error(&name("embeddings.word_embeddings.weight"), problem));
        }
        let layers = weights.count(&name("encoder.layer."), ".output.dense.weight");
        let layers = (0..layers)
            .map(|i| Layer::new(&scope.at(format!("encoder.layer.{i}")), width, middle, image_width));
        let embeddings = scope.at("embeddings");
        Ok(Self {
            words: Embedding::new(&embeddings.at("word_embeddings"), vocabulary, width, 0.02)?,
            positions: Embedding::new(&embeddings.at("position_embeddings"), positions, width, 0.02)?,
            norm: LayerNorm::new(&embeddings.at("LayerNorm"), width, EPSILON)?,
            layers: layers.collect::<Result<_>>()?,
        })
    }

    /// `ids`: texts with the same number of tokens; `patches`: (texts, patches, width of the image tower). Returns the
    /// state of the first token, (texts, width).
    pub(super) fn forward(&self, ids: &[&[u32]], patches: &Tensor) -> Result<Tensor> {
        let length = ids.first().map_or(0, |ids| ids.len());
        let positions = self.positions.table().narrow(0, 0, length)?;
        let ids = Tensor::from_vec(ids.concat(), (ids.len(), length), positions.device())?;
        let x = self.norm.forward(&self.words.forward(&ids)?.broadcast_add(&positions)?)?;
        let Some((last, layers)) = self.layers.split_last() else { return Ok(first(&x)?.squeeze(1)?) };
        let x = layers.iter().try_fold(x, |x, layer| layer.forward(&x, &x, patches))?;
        // Only the first token of the last layer is used.
        Ok(last.forward(&first(&x)?, &x, patches)?.squeeze(1)?)
    }
}

/// The state of the first token, (texts, 1, width).
fn first(x: &Tensor) -> Result<Tensor> {
    Ok(x.narrow(1, 0, 1)?.contiguous()?)
}

impl Layer {
    fn new(scope: &Scope<'_>, width: usize, middle: usize, image_width: usize) -> Result<Self> {
        Ok(Self {
            self_attention: Attention::new(&scope.at("attention"), width, width)?,
            cross_attention: Attention::new(&scope.at("crossattention"), width, image_width)?,
            middle: FrozenLinear::new(&scope.at("intermediate.dense"), width, middle)?,
            output: FrozenLinear::new(&scope.at("output.dense"), middle, width)?,
            norm: LayerNorm::new(&scope.at("output.LayerNorm"), width, EPSILON)?,
        })
    }

    /// `x`: the states of the tokens to compute; `all`: those of all tokens; `patches`: those of the image.
    fn forward(&self, x: &Tensor, all: &Tensor, patches: &Tensor) -> Result<Tensor> {
        let x = self.cross_attention.forward(&self.self_attention.forward(x, all)?, patches)?;
        let h = Activation::Gelu.apply(&self.middle.forward(&x)?)?;
        self.norm.forward(&residual(&self.output.forward(&h)?, &x)?)
    }
}

impl Attention {
    fn new(scope: &Scope<'_>, width: usize, context_width: usize) -> Result<Self> {
        let (own, output) = (scope.at("self"), scope.at("output"));
        Ok(Self {
            query: FrozenLinear::new(&own.at("query"), width, width)?,
            key: FrozenLinear::new(&own.at("key"), context_width, width)?,
            value: FrozenLinear::new(&own.at("value"), context_width, width)?,
            output: FrozenLinear::new(&output.at("dense"), width, width)?,
            norm: LayerNorm::new(&output.at("LayerNorm"), width, EPSILON)?,
        })
    }

    fn forward(&self, x: &Tensor, context: &Tensor) -> Result<Tensor> {
        let (q, k, v) = (self.query.forward(x)?, self.key.forward(context)?, self.value.forward(context)?);
        let shape = AttentionShape { heads: HEADS, causal: false };
        let h = self.output.forward(&attention(&q, &k, &v, shape)?)?;
        self.norm.forward(&residual(&h, x)?)
    }
}
