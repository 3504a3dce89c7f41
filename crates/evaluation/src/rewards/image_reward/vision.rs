//! BLIP's image tower (`vit.py`): timm's vision transformer with timm's tensor names.

use crate::weights::Weights;
use candle_core::Tensor;
use diffusion::Result;
use diffusion::nn::{Activation, AttentionShape, Conv2d, FrozenLinear, LayerNorm, attention, residual};
use diffusion::weights::{Init, Scope};

/// Attention heads of ViT-L/16; the shapes in the file do not determine them.
const HEADS: usize = 16;
const EPSILON: f64 = 1e-6;

#[derive(Debug)]
pub(super) struct VisionTransformer {
    patches: Conv2d,
    class: Tensor,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    image_size: usize,
}

#[derive(Debug)]
struct Block {
    norm1: LayerNorm,
    query: FrozenLinear,
    key: FrozenLinear,
    value: FrozenLinear,
    proj: FrozenLinear,
    norm2: LayerNorm,
    fc1: FrozenLinear,
    fc2: FrozenLinear,
}

impl VisionTransformer {
    pub(super) fn new(scope: &Scope<'_>, weights: &Weights) -> Result<Self> {
        let name = |rest: &str| format!("blip.visual_encoder.{rest}");
        let [width, _, patch, _] = weights.shape(&name("patch_embed.proj.weight"))?;
        let [_, count, _] = weights.shape(&name("pos_embed"))?;
        let side = count.saturating_sub(1).isqrt();
        if side == 0 || side * side + 1 != count {
            let problem = format!("has {count} positions, but one more than a square number is expected");
            return Err(weights.error(&name("pos_embed"), problem));
        }
        if width == 0 || width % HEADS != 0 {
            let problem = format!("has width {width}, which is not a multiple of {HEADS} heads");
            return Err(weights.error(&name("patch_embed.proj.weight"), problem));
        }
        let [middle, _] = weights.shape(&name("blocks.0.mlp.fc1.weight"))?;
        let blocks = weights.count(&name("blocks."), ".norm1.weight");
        let blocks = (0..blocks).map(|i| Block::new(&scope.at(format!("blocks.{i}")), width, middle));
        Ok(Self {
            patches: Conv2d::new(&scope.at("patch_embed.proj"), 3, width, patch, patch, 0)?,
            class: scope.get("cls_token", &[1, 1, width], Init::Constant(0.0))?,
            positions: scope.get("pos_embed", &[1, count, width], Init::Constant(0.0))?,
            blocks: blocks.collect::<Result<_>>()?,
            norm: LayerNorm::new(&scope.at("norm"), width, EPSILON)?,
            image_size: side * patch,
        })
    }

    /// Side of the input images in pixels.
    pub(super) fn image_size(&self) -> usize {
        self.image_size
    }

    /// (batch, 3, side, side) to (batch, patches + 1, width).
    pub(super) fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let patches = self.patches.forward(pixels)?.flatten_from(2)?.transpose(1, 2)?;
        let (batch, _, width) = patches.dims3()?;
        let class = self.class.expand((batch, 1, width))?;
        let x = Tensor::cat(&[&class, &patches], 1)?.broadcast_add(&self.positions)?;
        let x = self.blocks.iter().try_fold(x, |x, block| block.forward(&x))?;
        self.norm.forward(&x)
    }
}

impl Block {
    fn new(scope: &Scope<'_>, width: usize, middle: usize) -> Result<Self> {
        let weight = scope.get("attn.qkv.weight", &[3 * width, width], Init::Constant(0.0))?;
        let bias = scope.get("attn.qkv.bias", &[3 * width], Init::Constant(0.0))?;
        let third = |i: usize| {
            FrozenLinear::of(&weight.narrow(0, i * width, width)?, &bias.narrow(0, i * width, width)?)
        };
        Ok(Self {
            norm1: LayerNorm::new(&scope.at("norm1"), width, EPSILON)?,
            query: third(0)?,
            key: third(1)?,
            value: third(2)?,
            proj: FrozenLinear::new(&scope.at("attn.proj"), width, width)?,
            norm2: LayerNorm::new(&scope.at("norm2"), width, EPSILON)?,
            fc1: FrozenLinear::new(&scope.at("mlp.fc1"), width, middle)?,
            fc2: FrozenLinear::new(&scope.at("mlp.fc2"), middle, width)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let h = self.norm1.forward(x)?;
        let (q, k, v) = (self.query.forward(&h)?, self.key.forward(&h)?, self.value.forward(&h)?);
        let shape = AttentionShape { heads: HEADS, causal: false };
        let x = residual(&self.proj.forward(&attention(&q, &k, &v, shape)?)?, x)?;
        let h = self.fc1.forward(&self.norm2.forward(&x)?)?;
        Ok(residual(&self.fc2.forward(&Activation::Gelu.apply(&h)?)?, &x)?)
    }
}
