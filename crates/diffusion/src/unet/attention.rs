//! The spatial transformer, in which pixels attend to each other and to the text.

use crate::Result;
use crate::nn::{AttentionShape, GroupNorm, LayerNorm, Linear, attention, geglu, residual, transpose};
use crate::weights::Scope;
use candle_core::Tensor;

/// The sizes of a spatial transformer.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransformerShape {
    pub(super) channels: usize,
    pub(super) heads: usize,
    pub(super) text_width: usize,
    pub(super) layers: usize,
    pub(super) groups: usize,
    pub(super) linear_projection: bool,
}

impl TransformerShape {
    /// Width of the blocks: the largest multiple of the heads that is at most the channels, as in diffusers.
    fn width(&self) -> usize {
        self.channels / self.heads * self.heads
    }
}

/// Group norm, projection, transformer blocks, projection, and a residual connection around them.
#[derive(Debug)]
pub(super) struct SpatialTransformer {
    norm: GroupNorm,
    proj_in: Linear,
    blocks: Vec<TransformerBlock>,
    proj_out: Linear,
}

impl SpatialTransformer {
    pub(super) fn new(scope: &Scope<'_>, shape: TransformerShape) -> Result<Self> {
        let (channels, width) = (shape.channels, shape.width());
        // A 1 x 1 convolution and a linear layer are the same map; only the weight's shape differs.
        let project = |name: &str, inputs: usize, outputs: usize| {
            let scope = scope.at(name);
            if shape.linear_projection {
                Linear::new(&scope, inputs, outputs)
            } else {
                Linear::pointwise(&scope, inputs, outputs)
            }
        };
        Ok(Self {
            norm: GroupNorm::new(&scope.at("norm"), channels, shape.groups, 1e-6)?,
            proj_in: project("proj_in", channels, width)?,
            blocks: (0..shape.layers)
                .map(|i| TransformerBlock::new(&scope.at(format!("transformer_blocks.{i}")), shape))
                .collect::<Result<_>>()?,
            proj_out: project("proj_out", width, channels)?,
        })
    }

    /// `x`: (batch, channels, height, width); `text`: (batch, tokens, width).
    pub(super) fn forward(&self, x: &Tensor, text: &Tensor) -> Result<Tensor> {
        let (batch, channels, height, width) = x.dims4()?;
        // (batch, channels, pixels) -> (batch, pixels, channels)
        let h = transpose(&self.norm.forward(x)?.reshape((batch, channels, height * width))?)?;
        let mut h = self.proj_in.forward(&h)?;
        for block in &self.blocks {
            h = block.forward(&h, text)?;
        }
        let h = transpose(&self.proj_out.forward(&h)?)?;
        Ok(residual(x, &h.reshape((batch, channels, height, width))?)?)
    }
}

/// Self-attention, cross-attention to the text and a gated perceptron, each with a norm and a residual connection.
#[derive(Debug)]
struct TransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff_in: Linear,
    ff_out: Linear,
}

impl TransformerBlock {
    fn new(scope: &Scope<'_>, shape: TransformerShape) -> Result<Self> {
        let width = shape.width();
        let norm = |name: &str| LayerNorm::new(&scope.at(name), width, 1e-5);
        Ok(Self {
            norm1: norm("norm1")?,
            attn1: Attention::new(&scope.at("attn1"), width, width, shape.heads)?,
            norm2: norm("norm2")?,
            attn2: Attention::new(&scope.at("attn2"), width, shape.text_width, shape.heads)?,
            norm3: norm("norm3")?,
            ff_in: Linear::new(&scope.at("ff.net.0.proj"), width, 8 * width)?,
            ff_out: Linear::new(&scope.at("ff.net.2"), 4 * width, width)?,
        })
    }

    /// `x`: (batch, pixels, width); `text`: (batch, tokens, width).
    fn forward(&self, x: &Tensor, text: &Tensor) -> Result<Tensor> {
        let h = self.norm1.forward(x)?;
        let x = residual(x, &self.attn1.forward(&h, &h)?)?;
        let x = residual(&x, &self.attn2.forward(&self.norm2.forward(&x)?, text)?)?;
        let h = self.ff_in.forward(&self.norm3.forward(&x)?)?;
        Ok(residual(&x, &self.ff_out.forward(&geglu(&h)?)?)?)
    }
}

/// Multi-head attention with its projections.
#[derive(Debug)]
struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    shape: AttentionShape,
}

impl Attention {
    fn new(scope: &Scope<'_>, width: usize, source_width: usize, heads: usize) -> Result<Self> {
        Ok(Self {
            to_q: Linear::without_bias(&scope.at("to_q"), width, width)?,
            to_k: Linear::without_bias(&scope.at("to_k"), source_width, width)?,
            to_v: Linear::without_bias(&scope.at("to_v"), source_width, width)?,
            to_out: Linear::new(&scope.at("to_out.0"), width, width)?,
            shape: AttentionShape { heads, causal: false },
        })
    }

    /// Attends from `x` to `source`.
    fn forward(&self, x: &Tensor, source: &Tensor) -> Result<Tensor> {
        let (q, k, v) = (self.to_q.forward(x)?, self.to_k.forward(source)?, self.to_v.forward(source)?);
        self.to_out.forward(&attention(&q, &k, &v, self.shape)?)
    }
}
